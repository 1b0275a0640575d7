"""Devices and their random states, numerical precision, and memory that is kept."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from dvgs.errors import InputError

PRECISIONS = ("float32", "tf32", "bf16")


def pick_device(name: str) -> torch.device:
    """The torch device for "auto" (CUDA if there is a device), "cpu" or "cuda".

    A job on a cluster may see GPUs that it was not given. "auto" is "cpu" in a job without a GPU of its own.
    Raises InputError for another name, and for "cuda" without a CUDA device.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise InputError("config", "device", f"{name} is not known", "say auto, cpu or cuda")
    if name == "auto":
        name = "cuda" if _given_gpu() and torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("config", "device", "torch finds no CUDA device here", "say auto or cpu, or give jobs a GPU")
    return torch.device(name)


def _given_gpu() -> bool:
    """Whether we may use a GPU: without SLURM any that is visible, in a SLURM job only those that SLURM names."""
    named = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
    return "SLURM_JOB_ID" not in os.environ or any(os.environ.get(name) for name in named)


def seed_device(device: torch.device, seed: int) -> None:
    """Seed the CPU and a device.

    Unlike torch.manual_seed this records no traceback, which would take as long as a small training step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """In the context, random numbers of the CPU come from `seed`. Afterwards all random states are as before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed GPUs as well
        yield


def fork_random(device: torch.device) -> AbstractContextManager[None]:
    """After the context the random states of the CPU and of a device are as before."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


@contextmanager
def in_precision(name: str, device: torch.device) -> Iterator[None]:
    """Compute products in one of PRECISIONS: float32, TF32 (only on CUDA), or bfloat16 by autocast."""
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = name == "tf32"
    try:
        # Autocast caches the cast parameters until the context ends, so parameters must not change in it.
        # Captured launches would read an outdated cache, so on CUDA there is none.
        with torch.autocast(device.type, torch.bfloat16, enabled=name == "bf16", cache_enabled=device.type == "cpu"):
            yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions


def keep_freed_memory() -> None:
    """Let glibc keep freed memory: every step frees and requests the same megabytes, and new pages cost time."""
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is None:  # another C library
            return
        for parameter in (-3, -1):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
            mallopt(parameter, 1 << 30)
