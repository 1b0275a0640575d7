"""What needs a GPU: the same values as on the CPU, by launches that are captured or not."""

import numpy as np
import pytest
import torch
from torch import nn

import dvgs
from dvgs import capture
from dvgs.models import make_autoencoder, make_conv_autoencoder, reconstruction_loss

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here")


def values(model, x, loss=reconstruction_loss, **options):
    return dvgs.value(model, loss, (x, None), (x[:200], None), epochs=8, **options)


def image_loss(prediction, y):
    return (prediction - y).flatten(1).square().mean(1)


@pytest.fixture
def profiles(rng):
    return rng.normal(size=(20_000, 100)).astype(np.float32)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_cuda_ranks_as_the_cpu_does(profiles, precision):
    model = make_autoencoder(100, (64,), 16, seed=1)
    cpu, cuda = values(model, profiles, device="cpu"), values(model, profiles, device="cuda", precision=precision)
    assert cpu["cosine"].corr(cuda["cosine"], method="spearman") > (0.9999 if precision != "bf16" else 0.999)
    if precision == "float32":
        for name in cpu:
            assert np.allclose(cpu[name], cuda[name], rtol=1e-3, atol=1e-4), name


def test_captured_launches_give_what_launches_give(profiles, monkeypatch):
    replayed = []
    real = capture._Graph.__call__
    monkeypatch.setattr(capture._Graph, "__call__", lambda *a: replayed.append(1) or real(*a))
    model = make_autoencoder(100, (64,), 16, seed=1)
    captured = values(model, profiles, device="cuda")
    assert len(replayed) > 10
    monkeypatch.setattr(capture.Captured, "_capture", lambda self, key, *a: self._engine(*a))
    launched = values(model, profiles, device="cuda")
    assert np.allclose(captured, launched, rtol=1e-5, atol=1e-6)


def test_same_bytes_twice(profiles):
    model = nn.Sequential(nn.Linear(100, 30), nn.Dropout(0.2), nn.Linear(30, 100))
    assert values(model, profiles, device="cuda").equals(values(model, profiles, device="cuda"))


def test_convolutions(rng):
    images = rng.normal(size=(600, 3, 32, 32)).astype(np.float32)
    model = make_conv_autoencoder(seed=1)
    cpu, cuda = (values(model, images, image_loss, device=device) for device in ("cpu", "cuda"))
    assert np.allclose(cpu["cosine"], cuda["cosine"], atol=1e-4)
