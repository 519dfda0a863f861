"""The device, its threads and its arithmetic."""

from __future__ import annotations

import ctypes
import platform
import time
from contextlib import AbstractContextManager, nullcontext

import torch

from pipeline.config import Run, Training
from pipeline.errors import UserError

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 2**31 - 1


def choose_device(run: Run) -> torch.device:
    """The device asked for, or the first there is of cuda, mps, cpu; sets up this process's threads and memory as well.

    Raises `UserError` for a device that this machine does not have.
    """
    if run.threads:
        torch.set_num_threads(run.threads)
    keep_freed_memory()
    # Where float32 is asked for it is float32: convolutions on CUDA round to TF32's 10 bits unless told not to.
    torch.backends.cudnn.allow_tf32 = False
    present = present_devices()
    if run.device != "auto" and run.device not in present:
        raise UserError(f"run.device: {run.device} is not available here; there is {', '.join(present)}")
    return torch.device(present[0] if run.device == "auto" else run.device)


def present_devices() -> list[str]:
    """The kinds of devices that this machine has, the one that is chosen of itself first."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return [name for name, present in there.items() if present]


def keep_freed_memory() -> None:
    """Have glibc keep what tensors free for those to come; without glibc, nothing.

    Left to itself it returns large blocks to the kernel, which zeroes every page when it is asked for them again a step
    later. What that costs, benchmarks/step.py measures.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_TRIM_THRESHOLD, LARGEST)
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST)


def clock(device: torch.device) -> float:
    """Seconds, once the device has done all that was asked of it."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()


def random_states(device: torch.device) -> list[torch.Tensor]:
    """Where the global generators are that networks draw from: the CPU's, and the device's own if it has one."""
    own = [] if device.type == "cpu" else [torch.get_device_module(device).get_rng_state()]
    return [torch.get_rng_state(), *own]


def restore_random(states: list[torch.Tensor], device: torch.device) -> None:
    """Put the global generators where they were."""
    torch.set_rng_state(states[0].cpu())
    for state in states[1:]:
        torch.get_device_module(device).set_rng_state(state.cpu())


def own_randomness(device: torch.device) -> AbstractContextManager[None]:
    """Global generators that are put back afterwards."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def device_name(device: torch.device) -> str:
    """The device in words, for records: "NVIDIA H100" or "cpu, 2 threads"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{device.type}, {threads} thread{'s' * (threads > 1)}"


def choose_precision(training: Training, device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware has it natively (an emulated one is slower than float32), or what was asked for."""
    if training.precision != "auto":
        return torch.float32 if training.precision == "float32" else torch.bfloat16
    return torch.bfloat16 if has_bfloat16(device) else torch.float32


def has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware computes in bfloat16 natively."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16"))


def arithmetic(precision: torch.dtype, device: torch.device) -> AbstractContextManager[object]:
    """Autocast to bfloat16 where that is the precision."""
    if precision is torch.float32:
        return nullcontext()
    return torch.autocast(device.type, precision)
