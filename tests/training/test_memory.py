"""What malloc is told."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import torch
from pipeline.training.device import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(2_500_000)
        torch.ones(10_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

left_to_itself = faults()
keep_freed_memory()
faults()
print(left_to_itself, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc is told anything")
def test_memory_that_tensors_free_is_not_asked_of_the_kernel_again() -> None:
    told = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True).stdout
    left_to_itself, kept = (int(word) for word in told.split())
    assert left_to_itself > 10_000  # pages: 50 MB twenty times
    assert kept < left_to_itself / 50
