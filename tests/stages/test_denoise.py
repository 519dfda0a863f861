"""Images of any kind are denoised by what was trained, and what can't be is one line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from pipeline.__main__ import main
from pipeline.data.picture import Picture, read_picture
from pipeline.data.store import ImageStore
from pipeline.metrics.image import psnr
from pipeline.models import DENOISERS
from pipeline.models.classical import LinearFilter
from pipeline.stages.denoise import clean_of, nearest, noise_in_words, variance_seen
from pipeline.sweeps import identity
from pipeline.tracking import keys
from pipeline.tracking.registry import Version

VARIANCE = 0.01


def photograph() -> np.ndarray:
    """A part of a photograph that the demo tests on: (75, 110, 3) uint8."""
    return np.ascontiguousarray(data.chelsea()[80:155, 100:210])


def noisy(clean: np.ndarray, variance: float = VARIANCE) -> np.ndarray:
    noise = variance**0.5 * np.random.default_rng(0).standard_normal(clean.shape)
    return ((clean / 255 + noise).clip(0, 1) * 255).round().astype(np.uint8)


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """noisy/ with a colour, a grey and a transparent image, and clean/ with the same without noise."""
    clean = photograph()
    grey = np.asarray(Image.fromarray(clean).convert("L"))
    alpha = np.linspace(0, 255, clean[:, :, 0].size).astype(np.uint8).reshape(clean.shape[:2])
    for folder, change in {"clean": lambda image: image, "noisy": noisy}.items():
        save(tmp_path / folder / "colour.png", change(clean))
        save(tmp_path / folder / "grey.png", change(grey))
        save(tmp_path / folder / "deep" / "transparent.png", np.dstack([change(clean), alpha]))
    return tmp_path


def test_a_folder_is_denoised_measured_and_keeps_what_it_is(
    trained_home: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(photos / "noisy"), "--out", str(photos / "out"), "--variance", "0.01"]
    before = {path: path.read_bytes() for path in photos.rglob("*.png")}
    assert main(["denoise", *arguments, "--clean", str(photos / "clean"), f"--run.home={trained_home}"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("variance 0.01; autoencoder for 0.01 (models:/demo-patches-denoiser-0.01@champion)") == 2
    assert "grey.png: 110×75, grey; variance 0.01, being grey to colour networks as 0.03; conditional for" in printed
    assert "mean of 3 images: PSNR" in printed
    (figures,) = re.findall(r"colour\.png: 110×75, colour;.* PSNR ([\d.]+) → ([\d.]+) dB, SSIM ([\d.]+) → ", printed)
    assert float(figures[0]) == pytest.approx(20, abs=0.5), "noise of variance 0.01 is 20 dB"
    for path, content in before.items():
        assert path.read_bytes() == content, "inputs are only read"

    from skimage.metrics import peak_signal_noise_ratio

    result = np.asarray(Image.open(photos / "out" / "colour.png"))
    assert float(figures[1]) == pytest.approx(peak_signal_noise_ratio(photograph(), result), abs=0.01)
    assert np.asarray(Image.open(photos / "out" / "grey.png")).shape == (75, 110)
    transparent = np.asarray(Image.open(photos / "out" / "deep" / "transparent.png"))
    source = np.asarray(Image.open(photos / "noisy" / "deep" / "transparent.png"))
    assert np.array_equal(transparent[:, :, 3], source[:, :, 3])
    assert np.array_equal(transparent[:, :, :3], result)


def test_noise_in_a_grey_image_is_to_a_colour_network_what_three_times_its_variance_is(patches: ImageStore) -> None:
    colour = torch.from_numpy(patches.images[:400]).float() / 255
    grey = torch.from_numpy(patches.images[400:440]).float().mean(dim=1, keepdim=True) / 255
    draw = torch.Generator().manual_seed(0)
    noisy = (grey + VARIANCE**0.5 * torch.randn(grey.shape, generator=draw)).expand(-1, 3, -1, -1)
    quality = {}
    for variance in (VARIANCE, variance_seen(noisy[0], VARIANCE, 3)):
        linear = LinearFilter(channels=3, size=5)
        linear.fit(colour + variance**0.5 * torch.randn(colour.shape, generator=draw), colour)
        quality[variance] = psnr(linear(noisy).mean(dim=1, keepdim=True).clamp(0, 1), grey).mean().item()
    assert quality[3 * VARIANCE] > quality[VARIANCE] + 0.1
    assert variance_seen(colour[0], VARIANCE, 3) == VARIANCE
    assert variance_seen(grey[0], VARIANCE, 1) == VARIANCE


def test_an_image_of_16_bits_is_denoised_with_16_bits(trained_home: Path, tmp_path: Path) -> None:
    pixels = (photograph() / np.float32(255) + 1 / 1024).clip(0, 1).transpose(2, 0, 1)
    (tmp_path / "deep.png").write_bytes(Picture(pixels, None, 16, None).encoded())
    arguments = [str(tmp_path / "deep.png"), f"--out={tmp_path / 'out'}", "--variance=0.01"]
    assert main(["denoise", *arguments, f"--run.home={trained_home}"]) == 0
    result = read_picture(tmp_path / "out" / "deep.png")
    assert result.bits == 16
    values = np.rint(result.pixels * 65535)
    assert (values % 257 != 0).mean() > 0.5, "more than 8 bits are used"


def test_blind_estimates_the_noise_and_uses_the_network_for_all(
    trained_home: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(photos / "noisy" / "colour.png"), f"--out={photos / 'out'}", f"--run.home={trained_home}"]
    assert main(["denoise", *arguments]) == 0
    printed = capsys.readouterr().out
    (found,) = re.findall(r"variance ([\d.]+) estimated; conditional for 0\.0025 to 0\.25 \(", printed)
    assert float(found) == pytest.approx(VARIANCE, rel=0.3)

    assert main(["denoise", *arguments, "--model=autoencoder"]) == 0
    assert f"variance {found} estimated; autoencoder for 0.01" in capsys.readouterr().out
    assert main(["denoise", *arguments, "--model=demo-patches-denoiser-0.1@champion"]) == 0
    assert f"variance {found} estimated; autoencoder for 0.1, the nearest: expect blur, " in capsys.readouterr().out


def test_a_network_whose_code_has_changed_since_is_used_as_it_was_exported(
    trained_home: Path, photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [str(photos / "noisy" / "colour.png"), f"--out={photos / 'out'}", f"--run.home={trained_home}"]
    assert main(["denoise", *arguments]) == 0
    assert "changed since" not in capsys.readouterr().out
    before = read_picture(photos / "out" / "colour.png").pixels
    digest = identity.module_digest
    monkeypatch.setattr(
        identity, "module_digest", lambda file: "0" * 64 if file.name == "residual.py" else digest(file)
    )
    assert main(["denoise", *arguments]) == 0
    notice = capsys.readouterr().out.splitlines()[0]
    assert notice.startswith("denoise   models.residual changed since models:/demo-patches-denoiser@champion")
    assert notice.endswith(" was trained: it is used as exported then, and goes by its own estimate of the noise")
    # Told nothing, it goes by its own estimate, and computes in float32.
    assert np.abs(read_picture(photos / "out" / "colour.png").pixels - before).max() < 0.1

    monkeypatch.setattr(identity, "module_digest", digest)
    one = [*arguments, "--model=autoencoder", "--variance=0.01"]
    assert main(["denoise", *one]) == 0
    before = read_picture(photos / "out" / "colour.png").pixels
    monkeypatch.delitem(DENOISERS, "autoencoder")
    capsys.readouterr()
    assert main(["denoise", *one]) == 0
    assert capsys.readouterr().out.startswith("denoise   the code changed since models:/demo-patches-denoiser-0.01@")
    assert np.abs(read_picture(photos / "out" / "colour.png").pixels - before).max() < 0.02


def test_what_can_not_be_read_does_not_keep_the_others_from_being_denoised(
    trained_home: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "noisy" / "broken.png").write_bytes(b"no image")
    assert main(["denoise", str(photos / "noisy"), f"--out={photos / 'out'}", f"--run.home={trained_home}"]) == 2
    printed = capsys.readouterr()
    assert "broken.png: not an image" in printed.err
    assert "1 of 4 images could not be denoised; what is wrong is said above" in printed.err
    assert len(list((photos / "out").rglob("*.png"))) == 3
    assert "denoise   3 images written to" in printed.out


def test_of_several_images_in_a_file_the_first_is_denoised_and_that_is_said(
    trained_home: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = [Image.fromarray(photograph()) for _ in range(4)]
    pages[0].save(photos / "pages.tif", save_all=True, append_images=pages[1:])
    arguments = [str(photos / "pages.tif"), f"--out={photos / 'out'}", "--variance=0.01", f"--run.home={trained_home}"]
    assert main(["denoise", *arguments]) == 0
    assert "pages.tif: 110×75, colour, the first of 4 in the file; " in capsys.readouterr().out


def test_a_clean_image_is_found_beside_other_files_of_its_name(tmp_path: Path) -> None:
    for name in ("photo.aae", "photo.jpg"):
        (tmp_path / name).touch()
    assert clean_of(Path("photo.png"), tmp_path, single=True) == tmp_path / "photo.jpg"


def test_without_a_model_for_ones_own_images_the_command_for_these_is_named(
    trained_home: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = photos / "clean"
    arguments = [str(photos / "noisy" / "colour.png"), f"--out={photos / 'out'}", f"--run.home={trained_home}"]
    assert main(["denoise", *arguments, f"--data.images.folder={images}"]) == 2
    assert f"make sweep IMAGES={images} trains one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to denoise; name images or folders"),
        (["noisy"], "say which folder the denoised images go into: OUT=folder"),
        (["nowhere.png", "--out=out"], "nowhere.png: no such file or folder"),
        (["clean/grey.png", "--out=clean"], "would be written over; give another folder"),
        (["noisy", "--out=clean", "--clean=clean"], "would be written over; give another folder"),
        (["noisy", "clean", "--out=out"], "would both be written to"),
        (["noisy", "--out=out", "--clean=clean/grey.png"], "one clean image for several noisy ones"),
        (["noisy/colour.png", "--out=out", "--clean=clean/deep"], "no colour.png in it, nor with .png .jpg"),
        (["noisy/colour.png", "--out=out", "--clean=clean/grey.png"], "a clean image is of the same size and kind"),
        (["noisy", "--out=out.png"], "OUT=out.png: give a folder; the denoised images get the names of theirs"),
        (["noisy", "--out=out", "--variance=25"], "pixels run from 0 to 1"),
        (["noisy", "--out=out", "--variance=much"], "expected number or 'blind', found much"),
        (
            ["noisy", "--out=out", "--model=autoencodr"],
            "no trained model called 'autoencodr'; did you mean autoencoder",
        ),
        (["noisy", "--out=out", "--model=demo-digits-classifier"], "no trained model called"),
        (["text.png", "--out=out"], "text.png: not an image"),
        (["noisy/colour.png", "--out=text.png/out"], "can't be written: Not a directory"),
    ],
)
def test_wrong_input_is_one_line(
    arguments: list[str],
    message: str,
    trained_home: Path,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(photos)
    Path("text.png").write_text("no image")
    assert main(["denoise", *arguments, f"--run.home={trained_home}"]) == 2
    complaint = capsys.readouterr().err
    assert message in complaint
    assert len(complaint.splitlines()) == 1
    assert not Path("out").exists(), "nothing was written"


def test_what_is_no_earlier_result_is_not_written_over(
    trained_home: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(noisy(photograph())).save(photos / "colour.jpg")
    out, arguments = photos / "out", [str(photos / "colour.jpg"), "--variance=0.01", f"--run.home={trained_home}"]
    foreign = save(out / "colour.png", photograph()).read_bytes()
    assert main(["denoise", *arguments, f"--out={out}"]) == 2
    complaint = capsys.readouterr().err
    assert f"{out / 'colour.png'} is there and no result of denoise; move it away or give another folder" in complaint
    assert len(complaint.splitlines()) == 1
    assert (out / "colour.png").read_bytes() == foreign

    (out / "colour.png").unlink()
    assert main(["denoise", *arguments, f"--out={out}"]) == 0
    first = (out / "colour.png").read_bytes()
    assert main(["denoise", *arguments, f"--out={out}", "--variance=0.1"]) == 0
    assert (out / "colour.png").read_bytes() != first, "an earlier result is replaced"


def test_without_a_trained_model_the_command_that_trains_one_is_named(
    home: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["denoise", str(photos / "noisy"), f"--out={photos / 'out'}", f"--run.home={home}"]) == 2
    assert (
        "error: no denoiser has been trained on cifar10 or demo-patches yet; make sweep trains one"
        in capsys.readouterr().err
    )


def version(least: float, greatest: float, clip: bool = False) -> Version:
    tags = {keys.LEAST_VARIANCE: str(least), keys.GREATEST_VARIANCE: str(greatest), keys.CLIP: str(clip)}
    return Version(f"{least} {greatest}{' clipped' * clip}", "1", "run", ("champion",), tags)


@pytest.mark.parametrize(
    ("variance", "blind", "expected"),
    [
        (0.05, False, "0.05 0.05"),
        (0.052, False, "0.05 0.05"),
        (0.05, True, "0.001 0.2"),  # an estimate may be wrong
        (0.03, False, "0.001 0.2"),
        (0.5, False, "0.4 0.4 clipped"),  # files are clipped
        (0.0001, False, "0.001 0.2"),
    ],
)
def test_the_nearest_model_is_used(variance: float, blind: bool, expected: str) -> None:
    versions = [version(0.05, 0.05), version(0.001, 0.2), version(0.4, 0.4), version(0.4, 0.4, clip=True)]
    assert nearest(versions, variance, blind).name == expected


def test_what_to_expect_is_said_where_the_noise_is_another_or_the_network_is_of_no_use() -> None:
    useful, useless = version(0.01, 0.01), version(0.01, 0.01)
    for one, gain in ((useful, "8.1"), (useless, "-10.5")):
        one.tags.update({keys.NETWORK: "autoencoder", keys.GAIN: gain})
    near, far = (noise_in_words(0.01, seen, "blind", useful) for seen in (0.0091, 0.004))
    assert "expect" not in near
    assert "expect blur" in far
    assert "no better" not in near
    assert "no better than the noisy image on its validation images" in noise_in_words(0.01, 0.01, "blind", useless)


def test_a_name_with_spaces_needs_no_more_than_makes_quotes(
    trained_home: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = save(photos / "my photo 1.png", noisy(photograph()))
    words = str(image).split()
    assert main(["denoise", *words, f"--out={photos / 'out'}", "--variance=0.01", f"--run.home={trained_home}"]) == 0
    assert (photos / "out" / "my photo 1.png").exists()
