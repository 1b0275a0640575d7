"""What needs a GPU: the same values as on the CPU, by launches that are captured or not, and no waiting."""

import copy
import logging

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import dvgs
from dvgs.gradients import GradientSimilarity
from dvgs.gradients.natural import natural_gradient
from dvgs.training import cuda_graphs as capture
from dvgs.training.fit import fit
from dvgs.training.models import make_autoencoder, make_conv_autoencoder, reconstruction_loss
from dvgs.training.schedule import Schedule
from dvgs.training.stacked import fit_together, predict_together
from dvgs.valuation import scoring
from dvgs.valuation.shards import Shard
from dvgs.valuation.trajectory import Trajectory, TrajectorySettings, record_trajectory
from unit.gradients.test_layers import LAYERS, LOSSES, check, networks

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here")


def values(model, x, loss=reconstruction_loss, **options):
    return dvgs.value(model, loss, (x, None), (x[:200], None), epochs=8, **options)


def image_loss(prediction, y):
    return (prediction - y).flatten(1).square().mean(1)


@pytest.fixture
def profiles(rng):
    return rng.normal(size=(20_000, 100)).astype(np.float32)


@pytest.mark.parametrize("name", LAYERS)
def test_rule(name):
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    x, target = torch.randn(6, *shape).double(), torch.randn(5, *shape).double()
    check(nn.Sequential(make()), x, target, device="cuda")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(network=networks(), n=st.integers(1, 5), loss=st.sampled_from(LOSSES), seed=st.integers(0, 10**6))
def test_random_networks(network, n, loss, seed):
    model, shape = network
    torch.manual_seed(seed)
    for p in model.parameters():
        nn.init.normal_(p, std=0.5)
    check(model, torch.randn(n, *shape).double(), torch.randn(3, *shape).double(), loss, device="cuda")


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_cuda_ranks_as_the_cpu_does(profiles, precision):
    model = make_autoencoder(100, (64,), 16, seed=1)
    cpu, cuda = values(model, profiles, device="cpu"), values(model, profiles, device="cuda", precision=precision)
    assert cpu["cosine"].corr(cuda["cosine"], method="spearman") > (0.9999 if precision != "bf16" else 0.999)
    if precision == "float32":
        for name in cpu:
            assert np.allclose(cpu[name], cuda[name], rtol=1e-3, atol=1e-4), name


def test_natural_gradient_is_that_of_the_cpu(profiles):
    x, found = torch.from_numpy(profiles[:500]), []
    for device in ("cpu", "cuda"):
        model = make_autoencoder(100, [20], 5, seed=3).to(device)
        engine = GradientSimilarity(model, reconstruction_loss)
        found.append(natural_gradient(engine, x.to(device), x.to(device), 200).values())
    for cpu, cuda in zip(*found, strict=True):
        assert (cpu - cuda.cpu()).norm() < 1e-3 * cpu.norm()


def test_captured_launches_give_what_launches_give(profiles, monkeypatch):
    replayed = []
    real = capture._Graph.__call__
    monkeypatch.setattr(capture._Graph, "__call__", lambda *a: replayed.append(1) or real(*a))
    model = make_autoencoder(100, (64,), 16, seed=1)
    captured = values(model, profiles, device="cuda")
    assert len(replayed) == 24  # three chunks in each step
    monkeypatch.setattr(capture.Captured, "_capture", lambda self, key, *a: self._engine(*a))
    launched = values(model, profiles, device="cuda")
    assert np.allclose(captured, launched, rtol=1e-5, atol=1e-6)


def test_models_are_drawn_without_touching_the_gpus_random_state():
    before = torch.cuda.get_rng_state()
    make_autoencoder(7, (4,), 2, seed=1)
    assert torch.equal(torch.cuda.get_rng_state(), before)


def test_same_bytes_twice(profiles):
    model = nn.Sequential(nn.Linear(100, 30), nn.Dropout(0.2), nn.Linear(30, 100))
    assert values(model, profiles, device="cuda").equals(values(model, profiles, device="cuda"))


def test_convolutions(rng):
    images = rng.normal(size=(600, 3, 32, 32)).astype(np.float32)
    model = make_conv_autoencoder(seed=1)
    cpu, cuda = (values(model, images, image_loss, device=device) for device in ("cpu", "cuda"))
    assert np.allclose(cpu["cosine"], cuda["cosine"], atol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_no_step_waits_for_the_gpu(profiles, precision, monkeypatch):
    """Once what is found out on the first step is known, the CPU runs ahead until the values are fetched."""
    at, table, waited = Trajectory.at, scoring._Sums.table, []

    def strict(self, row):
        torch.cuda.set_sync_debug_mode("error" if row >= 2 else "default")
        waited.append(row)
        return at(self, row)

    def fetched(self):
        torch.cuda.set_sync_debug_mode("default")
        return table(self)

    monkeypatch.setattr(Trajectory, "at", strict)
    monkeypatch.setattr(scoring._Sums, "table", fetched)
    try:
        values(make_autoencoder(100, (64,), 16, seed=1), profiles, device="cuda", precision=precision)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert waited == list(range(8))


def test_any_number_of_shards_gives_the_same_bytes(tmp_path, profiles, monkeypatch):
    monkeypatch.setattr(
        "dvgs.limits.LARGEST_CHUNK", 1024
    )  # so few that 20,000 profiles go in chunks of four times as many
    x, path = torch.from_numpy(profiles), tmp_path / "trajectory.h5"
    target, model = x[:200].cuda(), make_autoencoder(100, (64,), 16, seed=1).cuda()
    settings = TrajectorySettings(schedule=Schedule(epochs=5, batch_size=200, learning_rate=1e-3), seed=1)
    record_trajectory(path, model, reconstruction_loss, (target, target), settings)
    found = []
    with Trajectory(path, device="cuda") as trajectory:
        for n_shards in (1, 3):
            shards = [Shard.of(len(x), shard, n_shards) for shard in range(n_shards)]
            read = lambda start, stop: (x[start:stop],) * 2  # noqa: E731
            tables = [scoring.score(trajectory, reconstruction_loss, read, shard) for shard in shards]
            found.append(pd.concat(tables, ignore_index=True))
    assert found[0].equals(found[1])


def make_classifier():
    dropping = [nn.Dropout(0.5), nn.Mish(), nn.LayerNorm(30, elementwise_affine=False)]
    return nn.Sequential(nn.Linear(20, 30), *dropping, nn.Linear(30, 2)).double().cuda()


@pytest.fixture
def labelled(rng):
    x = torch.from_numpy(rng.normal(size=(300, 20))).cuda()
    return x, (x[:, 0] > 0).long()


def cross_entropy(prediction, y):
    return nn.functional.cross_entropy(prediction, y, reduction="none")


@pytest.mark.parametrize("batch_size", [300, 64], ids=["all at once", "batches"])
@pytest.mark.parametrize("seeds", [[1] * 4, [1, 2, 3, 1]], ids=["one seed", "seeds"])
def test_stacked_training_is_replayed_to_what_fit_gives(rng, labelled, batch_size, seeds, monkeypatch):
    replayed, real = [], torch.cuda.CUDAGraph.replay
    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", lambda self: replayed.append(1) or real(self))
    models = [make_classifier() for _ in range(4)]
    rows = [torch.from_numpy(rng.choice(300, n, replace=False)) for n in (200, 200, 200, 200)]
    schedule = Schedule(steps=30, batch_size=batch_size, learning_rate=1e-2)
    alone = [
        fit(copy.deepcopy(model), cross_entropy, labelled, schedule, seed, own)
        for model, seed, own in zip(models, seeds, rows, strict=True)
    ]
    assert not replayed
    fit_together(models, cross_entropy, labelled, rows, schedule, seeds)
    assert len(replayed) == 27
    for model, other in zip(models, alone, strict=True):
        for a, b in zip(model.parameters(), other.parameters(), strict=True):
            assert torch.allclose(a, b, rtol=1e-6, atol=1e-8)


def test_predictions_of_copies_trained_together(rng, labelled):
    x, y = labelled
    model, rows = make_classifier(), [torch.from_numpy(rng.choice(300, n, replace=False)) for n in (200, 200, 200)]
    schedule = Schedule(steps=20, batch_size=300, learning_rate=1e-2)
    found = predict_together(model, x[:50], cross_entropy, (x, y), rows, schedule, [1] * 3)
    for prediction, own in zip(found, rows, strict=True):
        alone = fit(copy.deepcopy(model), cross_entropy, (x, y), schedule, 1, own).eval()
        assert torch.allclose(prediction, alone(x[:50]), rtol=1e-6, atol=1e-8)


# The last two here: after a capture that failed, if only because memory was short, nothing is captured any more.
def test_out_of_memory_halves_the_chunk(rng, caplog):
    caplog.set_level(logging.WARNING)
    model, x = make_autoencoder(100, (2000,), 16, seed=1), rng.normal(size=(4000, 100)).astype(np.float32)
    expected = values(model, x, device="cuda")
    assert not caplog.records
    torch.cuda.empty_cache()
    most = torch.cuda.memory_reserved() + (48 << 20)
    torch.cuda.set_per_process_memory_fraction(most / torch.cuda.get_device_properties(0).total_memory)
    try:
        found = values(model, x, device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert any("out of memory with chunks" in record.message for record in caplog.records)
    for name in expected:
        assert np.allclose(found[name], expected[name], rtol=1e-3, atol=1e-4), name


def test_a_training_that_waits_is_not_captured_nor_is_the_next(labelled, monkeypatch):
    def waiting(prediction, y):
        assert prediction.isfinite().all().item()
        return cross_entropy(prediction, y)

    before = make_classifier()
    models = [copy.deepcopy(before) for _ in range(3)]
    schedule, seeds = Schedule(steps=20, batch_size=300, learning_rate=1e-2), [1] * 3
    fit_together(models, waiting, labelled, [torch.arange(300)] * 3, schedule, seeds)
    others, replayed, real = [copy.deepcopy(before) for _ in range(3)], [], torch.cuda.CUDAGraph.replay
    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", lambda self: replayed.append(1) or real(self))
    fit_together(others, cross_entropy, labelled, [torch.arange(300)] * 3, schedule, seeds)
    assert not replayed
    for a, b in zip(models[1].parameters(), others[1].parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-6, atol=1e-8)
