"""Where to compute, and how exactly."""

import ctypes
import os
import sys
from contextlib import contextmanager

import torch

from dvgs.errors import InputError

PRECISIONS = ("float32", "tf32", "bf16")


def pick_device(name):
    """The torch device for "auto" (CUDA where there is one), "cpu" or "cuda".

    A job on a cluster takes the GPU that it was given, even where it sees more, so "auto" is "cpu" in one given none.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise InputError("config", "device", f"{name} is not known", "say auto, cpu or cuda")
    if name == "auto":
        name = "cuda" if _given_gpu() and torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("config", "device", "torch finds no CUDA device here", "say auto or cpu, or give jobs a GPU")
    return torch.device(name)


def _given_gpu():
    """Whether GPUs in sight are ours: outside of SLURM any, within it those that it names."""
    named = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
    return "SLURM_JOB_ID" not in os.environ or any(os.environ.get(name) for name in named)


def seed_device(device, seed):
    """Seed the CPU and a device. torch.manual_seed records a traceback at every call, as long as a small step."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)


@contextmanager
def seeded(seed):
    """What is drawn on the CPU within is by `seed`, and leaves all random states as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed GPUs as well
        yield


def fork_random(device):
    """What is drawn within leaves the random state of the CPU and of a device as it was."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


@contextmanager
def in_precision(name, device):
    """Compute products in float32, in TF32 (CUDA alone knows it), or by autocast in bfloat16."""
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = name == "tf32"
    try:
        # Casts of parameters are kept until the end, so they must not change within; in captured launches
        # what is kept would go stale.
        with torch.autocast(device.type, torch.bfloat16, enabled=name == "bf16", cache_enabled=device.type == "cpu"):
            yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions


def keep_freed_memory():
    """Let glibc keep what is freed, as every step frees and asks for the same megabytes, and new pages cost time."""
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
        for parameter in (-3, -1) if mallopt else ():  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
            mallopt(parameter, 1 << 30)
