import ctypes
from types import SimpleNamespace

import pytest
import torch

from dvgs.devices import fork_random, in_precision, keep_freed_memory, pick_device, seed_device, seeded
from dvgs.errors import InputError

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def unchanged_random_state():
    with torch.random.fork_rng(devices=[]):
        yield


@pytest.mark.parametrize(
    "given, device",
    [
        ({}, "cuda"),  # no cluster
        ({"SLURM_JOB_ID": "7"}, "cpu"),
        ({"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": ""}, "cpu"),
        ({"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "1"}, "cuda"),
    ],
)
def test_job_takes_no_gpu_that_it_was_not_given(monkeypatch, given, device):
    for name in ("SLURM_JOB_ID", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto").type == device
    assert pick_device("cpu").type == "cpu"


@pytest.mark.parametrize(
    "name, message", [("tpu", "config: device: tpu is not known"), ("cuda", "torch finds no CUDA device here")]
)
def test_impossible_device_is_an_error(monkeypatch, name, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=message):
        pick_device(name)
    assert pick_device("auto").type == "cpu"


def test_seed_of_a_device_is_that_of_torch():
    torch.manual_seed(7)
    expected = torch.rand(3)
    seed_device(CPU, 7)
    assert torch.equal(torch.rand(3), expected)


def test_seeded_numbers_change_nothing_outside():
    torch.manual_seed(7)
    expected = torch.rand(6)
    torch.manual_seed(7)
    before = torch.rand(3)
    with seeded(5):
        inside = torch.rand(3)
    assert torch.equal(torch.cat([before, torch.rand(3)]), expected)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), inside)


def test_random_state_is_as_before_after_a_fork():
    torch.manual_seed(7)
    with fork_random(CPU):
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), inside)


def products():
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("name, wanted", [("float32", ("highest", False)), ("tf32", ("high", True))])
def test_precision_of_products_lasts_as_long_as_the_context(name, wanted):
    before = products()
    with pytest.raises(RuntimeError), in_precision(name, CPU):
        assert products() == wanted
        raise RuntimeError
    assert products() == before


@pytest.mark.parametrize("name, dtype", [("float32", torch.float32), ("tf32", torch.float32), ("bf16", torch.bfloat16)])
def test_products_are_bfloat16_only_when_asked_for(name, dtype):
    x = torch.ones(2, 2)
    with in_precision(name, CPU):
        assert (x @ x).dtype == dtype
    assert (x @ x).dtype == torch.float32


@pytest.mark.parametrize("platform, expected", [("linux", [(-3, 1 << 30), (-1, 1 << 30)]), ("darwin", [])])
def test_freed_memory_is_kept_on_linux(monkeypatch, platform, expected):
    calls = []
    library = SimpleNamespace(mallopt=lambda *setting: calls.append(setting))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    monkeypatch.setattr("sys.platform", platform)
    keep_freed_memory()
    assert calls == expected


def test_a_library_without_mallopt_is_no_error(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    monkeypatch.setattr("sys.platform", "linux")
    keep_freed_memory()
