"""Preparing MNIST from CSV beside a bare read by pandas, polars and pyarrow: seconds, memory, and opening the result.

    .venv/bin/python -m benchmarks.csv_prepare folder/mnist_train.csv.gz

"Prepare" is all that `make prepare` does to the file: find its form, parse, check every value, write the store, and the
sha256 of both. The bare reads only read. Memory is the peak above the interpreter's with its imports, in a process of
its own, also for a file of ten times the rows.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.machine import machine, ratio, seconds_of, spread
from pipeline.data.compressed import open_bytes
from pipeline.data.files import state_of
from pipeline.data.mnist_csv import DigitsCsv
from pipeline.data.sources import DIGIT_NAMES
from pipeline.data.store import ImageStore, write_store

COLUMNS = 785
MEMORY = """
import sys
from pathlib import Path
from benchmarks.csv_prepare import prepare, peak, resident
import pandas, polars, pyarrow.csv
before = resident()
{statement}
print((peak() - before) / 1e6)
"""


def prepare(csv: Path, store: Path) -> ImageStore:
    """Make a store of one CSV."""
    return write_store(
        store,
        title="MNIST",
        classes=DIGIT_NAMES,
        splits={"train": DigitsCsv(csv).blocks()},
        sources={csv: state_of(csv)},
        notes=[],
        options={},
        code="",
    )


def peers(csv: Path) -> dict[str, Callable[[], object]]:
    """Bare reads of the same file."""
    import pandas
    import polars
    import pyarrow
    import pyarrow.csv

    names = [str(column) for column in range(COLUMNS)]
    options = {
        "read_options": pyarrow.csv.ReadOptions(column_names=names),
        "convert_options": pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pyarrow.uint8())),
    }
    return {
        "pandas.read_csv(header=None)": lambda: pandas.read_csv(csv, header=None),
        "polars.read_csv, schema of UInt8": lambda: polars.read_csv(
            csv, has_header=False, schema=dict.fromkeys(names, polars.UInt8)
        ),
        "pyarrow.csv.read_csv, uint8": lambda: pyarrow.csv.read_csv(csv, **options),
    }


def status(field: str) -> float:
    """A figure of this process's memory from Linux, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * float(next(line.split()[1] for line in lines if line.startswith(field)))


def resident() -> float:
    """Memory in use now."""
    return status("VmRSS")


def peak() -> float:
    """The most that was in use so far."""
    return status("VmHWM")


def memory(statement: str) -> float:
    """Peak memory of a statement in a new process, in MB above what the imports take."""
    done = subprocess.run([sys.executable, "-c", MEMORY.format(statement=statement)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return float(done.stdout)


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("csv", type=Path, help="mnist_train.csv, plain or compressed")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()

    print(machine("polars", "pandas", "pyarrow", "numpy"))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        csv, store = place / "mnist_train.csv", place / "store"
        with open_bytes(arguments.csv) as (source, _), csv.open("wb") as target:
            shutil.copyfileobj(source, target)
        print(f"{csv.name}: {csv.stat().st_size:,} bytes\n")

        seconds = seconds_of({"prepare": lambda: prepare(csv, store), **peers(csv)}, arguments.repeats)
        for name, values in seconds.items():
            beside = "" if name == "prepare" else f"   prepare takes {ratio(seconds['prepare'], values):.2f}× as long"
            print(f"{name:34} {spread(values):34}{beside}")

        opening = seconds_of({"open": lambda: ImageStore.open(store)}, 50)["open"]
        print(f"\nopening the store: {spread(opening, 'ms', 1000)}\n")

        packed, large, large_packed = place / "x.csv.gz", place / "large.csv", place / "large.csv.gz"
        content = csv.read_bytes()
        packed.write_bytes(gzip.compress(content, 6))
        for one, whole in ((packed.read_bytes(), large_packed), (content, large)):
            with whole.open("wb") as file:
                file.writelines([one] * 10)  # ten gzip members in one file are a gzip file
        del content
        rows = len(ImageStore.open(store).labels)
        for name, path, count in (
            ("prepare", csv, rows),
            ("prepare", large, 10 * rows),
            ("prepare, gzip", packed, rows),
            ("prepare, gzip", large_packed, 10 * rows),
        ):
            used = memory(f"prepare(Path({str(path)!r}), Path({str(place / 'other')!r}))")
            print(f"peak memory of {name}: {used:.0f} MB for {count:,} rows")
        used = memory(f"pandas.read_csv({str(csv)!r}, header=None)")
        print(f"peak memory of pandas.read_csv: {used:.0f} MB for {rows:,} rows")


if __name__ == "__main__":
    main()
