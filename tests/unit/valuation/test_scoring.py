import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from dvgs.columns import MEASURES
from dvgs.limits import LARGEST_CHUNK
from dvgs.training.models import make_autoencoder, reconstruction_loss
from dvgs.training.schedule import Schedule
from dvgs.valuation import scoring as module
from dvgs.valuation.scoring import ScoreSettings, score, standard_error
from dvgs.valuation.shards import Shard
from dvgs.valuation.trajectory import Trajectory, TrajectorySettings, record_trajectory
from dvgs.valuation.values import gather

SIZES = {"hidden": (12,), "latent": 4}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    path = tmp_path_factory.mktemp("trajectory") / "trajectory.h5"
    x = torch.randn(50, 20, generator=torch.Generator().manual_seed(1))
    schedule = Schedule(epochs=6, batch_size=20, learning_rate=1e-2)
    settings = TrajectorySettings(schedule=schedule, seed=5, restarts=2)
    record_trajectory(path, make_autoencoder(20, **SIZES, seed=5), reconstruction_loss, (x, x), settings)
    return path


def score_rows(trajectory, source, start=0, stop=None, work=None, **settings):
    def read(first, last):
        x = torch.from_numpy(source[first:last])
        return x, x

    stop = len(source) if stop is None else stop
    shard = Shard(start, stop, stop)
    return score(trajectory, reconstruction_loss, read, shard, ScoreSettings(**settings), work)


def test_values_are_means_over_all_steps_of_all_restarts(recorded, rng):
    """Against per-sample gradients formed one by one in float64."""
    source = rng.normal(size=(9, 20)).astype(np.float32)
    with Trajectory(recorded) as trajectory:
        found = score_rows(trajectory, source)
        assert len(trajectory) == 36 and trajectory.restarts == 2
        steps = np.zeros((36, len(MEASURES), 9))
        for t in range(36):
            target = torch.cat([g.flatten() for g in trajectory.at(t)]).double()
            model = make_autoencoder(20, **SIZES, seed=0)
            model.load_state_dict(trajectory.model.state_dict())
            model.double()
            for i, row in enumerate(torch.from_numpy(source).double()):
                loss = reconstruction_loss(model(row[None]), row[None]).sum()
                g = torch.cat([p.flatten() for p in torch.autograd.grad(loss, list(model.parameters()))])
                dot, norm = g @ target, g.norm()
                steps[t, :, i] = (
                    dot / norm / target.norm(), dot, dot / target.norm(), -(g - target).norm(), norm, loss.detach(),
                )  # fmt: skip
    for k, name in enumerate(MEASURES):
        assert np.allclose(found[name], steps[:, k].mean(axis=0), atol=1e-5, rtol=1e-5), name
    cosine = steps[:, 0].reshape(2, 18, 9)
    batches = cosine[:, 2:].reshape(2, 4, 4, 9).mean(axis=2)  # √18 batches; the first two steps are left over
    assert np.allclose(found["cosine_se"], standard_error(batches), atol=1e-5)
    assert np.allclose(found["cosine_even"], batches[0].mean(axis=0), atol=1e-5)
    assert np.allclose(found["cosine_odd"], batches[1].mean(axis=0), atol=1e-5)
    for name, steps in (("cosine_eighth", 2), ("cosine_quarter", 4), ("cosine_half", 9)):
        assert np.allclose(found[name], cosine[:, :steps].mean(axis=(0, 1)), atol=1e-5), name


@pytest.mark.parametrize("n_shards", [2, 3, 7])
def test_any_number_of_shards_gives_the_same_bytes(recorded, rng, n_shards, monkeypatch):
    monkeypatch.setattr("dvgs.limits.LARGEST_CHUNK", 512)
    n = 5 * 512 + 17
    source = rng.normal(size=(n, 20)).astype(np.float32)
    ids = pd.Series([f"p{i}" for i in range(n)])
    tables = {}
    with Trajectory(recorded) as trajectory:
        for shards in (1, n_shards):
            scored = []
            for shard in (Shard.of(n, shard, shards) for shard in range(shards)):
                values = score_rows(trajectory, source, shard.start, shard.stop)
                scored.append(values.assign(profile_id=ids[shard.start : shard.stop].to_numpy(), role="source"))
            tables[shards], _, _ = gather(scored, ids)
    assert tables[1].equals(tables[n_shards])
    assert not tables[1][list(MEASURES)].isna().any().any()


def test_an_empty_shard_has_the_same_columns(recorded, rng):
    source = rng.normal(size=(5, 20)).astype(np.float32)
    with Trajectory(recorded) as trajectory:
        whole, empty = score_rows(trajectory, source), score_rows(trajectory, source, 5, 5)
    assert len(empty) == 0 and empty.dtypes.equals(whole.dtypes)


def test_masks_of_dropout_depend_on_seed_step_and_place_alone(tmp_path, rng):
    path, x = tmp_path / "trajectory.h5", torch.randn(30, 6)
    network = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 6))
    schedule = Schedule(epochs=3, batch_size=30, learning_rate=0.01)
    record_trajectory(path, network, reconstruction_loss, (x, x), TrajectorySettings(schedule=schedule, seed=1))
    source = rng.normal(size=(LARGEST_CHUNK + 50, 6)).astype(np.float32)
    with Trajectory(path, network) as trajectory:
        state = torch.get_rng_state()
        whole = score_rows(trajectory, source)
        assert torch.equal(state, torch.get_rng_state())
        torch.rand(7)
        last = score_rows(trajectory, source, LARGEST_CHUNK)
        other = score_rows(trajectory, source, seed=2)
    assert whole[LARGEST_CHUNK:].reset_index(drop=True).equals(last)
    assert not np.allclose(whole["cosine"], other["cosine"], atol=1e-3)


def test_finished_blocks_are_found_again_but_not_those_of_other_data(recorded, rng, tmp_path, monkeypatch):
    monkeypatch.setattr("dvgs.limits.LARGEST_CHUNK", 512)
    source = rng.normal(size=(1300, 20)).astype(np.float32)
    with Trajectory(recorded) as trajectory:
        expected = score_rows(trajectory, source)
        assert score_rows(trajectory, source, work=tmp_path).equals(expected)
        assert len(list(tmp_path.iterdir())) == 3
        computed = []
        real = module._Sums.table
        monkeypatch.setattr(module._Sums, "table", lambda self: computed.append(1) or real(self))
        assert score_rows(trajectory, source, work=tmp_path).equals(expected) and not computed
        source[600] += 1
        changed = score_rows(trajectory, source, work=tmp_path)
        assert len(computed) == 1 and changed.equals(score_rows(trajectory, source))


def test_out_of_memory_halves_the_chunk_and_says_so(recorded, rng, monkeypatch, caplog):
    source = rng.normal(size=(1100, 20)).astype(np.float32)
    real = module.GradientSimilarity.__call__
    sizes = []
    monkeypatch.setattr("dvgs.limits.LARGEST_CHUNK", 512)

    def small(self, x, *arguments):
        if len(x) > 200:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 9 bytes")
        sizes.append(len(x))
        return real(self, x, *arguments)

    with Trajectory(recorded) as trajectory:
        expected = score_rows(trajectory, source)
        monkeypatch.setattr(module.GradientSimilarity, "__call__", small)
        found = score_rows(trajectory, source)
        assert [r.message for r in caplog.records] == [
            "out of memory with chunks of 512 samples; going on with half of that",
            "out of memory with chunks of 256 samples; going on with half of that",
        ]
        assert set(sizes) == {1, 128, 1100 % 128}
        for name in MEASURES:
            assert np.allclose(found[name], expected[name], atol=1e-5)

        def never(self, *arguments):
            raise torch.OutOfMemoryError("CUDA out of memory")

        monkeypatch.setattr(module.GradientSimilarity, "__call__", never)
        with pytest.raises(torch.OutOfMemoryError):
            score_rows(trajectory, source)


def test_bfloat16_ranks_alike(recorded, rng):
    source = rng.normal(size=(300, 20)).astype(np.float32)
    with Trajectory(recorded) as trajectory:
        exact, coarse = score_rows(trajectory, source), score_rows(trajectory, source, precision="bf16")
    assert exact["cosine"].corr(coarse["cosine"], method="spearman") > 0.995
    assert not exact["cosine"].equals(coarse["cosine"])


def autoregressive(rng, shape, memory=0.8):
    noise = rng.normal(size=shape)
    series = np.zeros(shape)
    for t in range(1, shape[1]):
        series[:, t] = memory * series[:, t - 1] + noise[:, t]
    return series


def batch_means(series):
    n_batches = math.isqrt(series.shape[1])
    return series.reshape(len(series), n_batches, -1, series.shape[2]).mean(axis=2)


def test_standard_error_covers_correlated_series(rng):
    """AR(1) series of known mean: the interval of ±2 holds it about as often as it should; the naive one does not."""
    series = autoregressive(rng, (1, 3600, 400))
    covered = np.abs(series.mean(axis=(0, 1))) < 2 * standard_error(batch_means(series))
    naive = np.abs(series.mean(axis=(0, 1))) < 2 * series.std(axis=1)[0] / np.sqrt(3600)
    assert covered.mean() > 0.88 and naive.mean() < 0.7


def test_standard_error_counts_what_restarts_differ(rng):
    """Every restart has a level of its own: batches within restarts alone would promise too much."""
    series = autoregressive(rng, (5, 400, 400), memory=0.3) + rng.normal(size=(5, 1, 400))
    covered = np.abs(series.mean(axis=(0, 1))) < 2 * standard_error(batch_means(series))
    alone = np.array([standard_error(batch_means(run[None])) for run in series])  # as if all runs had one level
    within = np.abs(series.mean(axis=(0, 1))) < 2 * np.sqrt((alone**2).sum(axis=0)) / 5
    assert covered.mean() > 0.83 and within.mean() < 0.5
    quiet = autoregressive(rng, (5, 400, 400), memory=0.3)  # restarts that do not differ by more than chance
    assert (np.abs(quiet.mean(axis=(0, 1))) < 2 * standard_error(batch_means(quiet))).mean() > 0.93


def test_standard_error_of_too_little_is_nan():
    assert np.isnan(standard_error(np.ones((1, 1, 3)))).all()
    assert standard_error(np.array([[[1.0]], [[3.0]]])) == pytest.approx(1)
