import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.utils import parameters_to_vector

from dvgs.models import make_autoencoder, reconstruction_loss
from dvgs.training import _batches, fit, r2
from dvgs.trajectory import Trajectory, record_trajectory
from dvgs.valuation import CHUNK, plan_shard, score, standard_error
from dvgs.values import MEASURES, gather

SIZES = {"hidden": (12,), "latent": 4}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    path = tmp_path_factory.mktemp("trajectory") / "trajectory.h5"
    x = torch.randn(50, 20, generator=torch.Generator().manual_seed(1))
    model = record_trajectory(path, x, **SIZES, epochs=6, batch_size=20, learning_rate=1e-2, seed=5)
    return path, x, model


def test_trajectory_is_the_training_step_by_step(recorded):
    path, x, model = recorded
    again = make_autoencoder(20, **SIZES, seed=5)
    seen = []
    fit(
        again, reconstruction_loss, x, x, steps=18, batch_size=20, learning_rate=1e-2, seed=5,
        before_step=lambda step, loss: seen.append(
            (parameters_to_vector(again.parameters()).detach().clone(),
             parameters_to_vector(p.grad for p in again.parameters()).clone(), loss.item())
        ),
    )  # fmt: skip
    with h5py.File(path) as file:
        assert file["parameters"].shape == (18, sum(p.numel() for p in model.parameters()))
        for t, (parameters, gradient, loss) in enumerate(seen):
            assert np.array_equal(file["parameters"][t], parameters.numpy())
            assert np.array_equal(file["gradients"][t], gradient.numpy())
            assert file["loss"][t] == np.float32(loss)
    assert torch.equal(parameters_to_vector(again.parameters()), parameters_to_vector(model.parameters()))


def test_target_gradient_is_the_gradient_at_those_parameters(recorded):
    path, x, _ = recorded
    rows = torch.randperm(50, generator=torch.Generator().manual_seed(5))[:20]  # the first batch
    with Trajectory(path) as trajectory:
        gradient = trajectory.at(0)
        batch = x[rows]
        expected = torch.autograd.grad(
            reconstruction_loss(trajectory.model(batch), batch).mean(), list(trajectory.model.parameters())
        )
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(gradient, expected, strict=True))


def test_values_are_means_over_all_steps(recorded, rng):
    """Against per-sample gradients formed one by one in float64."""
    path, _, _ = recorded
    source = rng.normal(size=(9, 20)).astype(np.float32)
    with Trajectory(path) as trajectory:
        found = score(trajectory, lambda a, b: source[a:b], 9)
        cosine, norm = np.zeros((len(trajectory), 9)), np.zeros((len(trajectory), 9))
        for t in range(len(trajectory)):
            target = torch.cat([g.flatten() for g in trajectory.at(t)]).double()
            model = make_autoencoder(20, **SIZES, seed=0)
            model.load_state_dict(trajectory.model.state_dict())
            model.double()
            for i, row in enumerate(torch.from_numpy(source).double()):
                loss = reconstruction_loss(model(row[None]), row[None]).sum()
                g = torch.cat([p.flatten() for p in torch.autograd.grad(loss, list(model.parameters()))])
                cosine[t, i], norm[t, i] = g @ target / g.norm() / target.norm(), g.norm()
    assert np.allclose(found["cosine"], cosine.mean(axis=0), atol=1e-5)
    assert np.allclose(found["gradient_norm"], norm.mean(axis=0), rtol=1e-5)
    assert np.allclose(found["cosine_se"], standard_error(cosine), atol=1e-5)


@pytest.mark.parametrize("n_shards", [2, 3, 7, 40])
def test_any_number_of_shards_gives_the_same_bytes(recorded, rng, n_shards):
    n = 5 * CHUNK + 17
    source = rng.normal(size=(n, 20)).astype(np.float32)
    ids = pd.Series([f"p{i}" for i in range(n)])
    tables = {}
    with Trajectory(recorded[0]) as trajectory:
        for shards in (1, n_shards):
            parts, stops = [], [0]
            for shard in range(shards):
                start, stop = plan_shard(n, shard, shards)
                assert start == stops[-1]
                stops.append(stop)
                values = score(trajectory, lambda a, b, start=start: source[start + a : start + b], stop - start)
                named = values.assign(profile_id=ids[start:stop].to_numpy(), role="source")
                parts.append(named)
            assert stops[-1] == n
            tables[shards], _ = gather(parts, ids)
    assert tables[1].equals(tables[n_shards])
    assert not tables[1][list(MEASURES)].isna().any().any()


def test_gather_wants_every_profile_once():
    shard = pd.DataFrame({"profile_id": ["a", "b"]} | {c: [1.0, 2.0] for c in (*MEASURES, "cosine_se")})
    shard["role"] = ["source", "test"]
    again = shard[:1].assign(role="calibration", cosine=5.0)  # the same profile along the second trajectory
    values, calibration = gather([shard, again], pd.Series(["b", "a"]))
    assert values["cosine"].tolist() == [2, 1] and calibration["cosine"].tolist() == [5]
    for shards, ids in (([shard, shard], ["a", "b"]), ([shard], ["a", "b", "c"]), ([shard], ["a"])):
        with pytest.raises(ValueError, match="exactly once"):
            gather(shards, pd.Series(ids))


def test_every_batch_is_whole_and_every_profile_comes_once_an_epoch():
    batches = _batches(21, 5, seed=1)
    rows = [next(batches) for _ in range(21)]  # five epochs
    assert all(len(r) == 5 for r in rows)
    assert torch.bincount(torch.cat(rows)).tolist() == [5] * 21


def test_standard_error_covers_correlated_series(rng):
    """AR(1) series of known mean: the interval of ±2 holds it about as often as it should; the naive one does not."""
    noise = rng.normal(size=(3600, 400))
    series = np.zeros_like(noise)
    for t in range(1, len(noise)):
        series[t] = 0.8 * series[t - 1] + noise[t]
    covered = np.abs(series.mean(axis=0)) < 2 * standard_error(series)
    naive = np.abs(series.mean(axis=0)) < 2 * series.std(axis=0) / np.sqrt(len(series))
    assert covered.mean() > 0.88 and naive.mean() < 0.7
    assert np.isnan(standard_error(series[:3])).all()


def test_r2_is_that_of_scikit_learn(rng):
    from sklearn.metrics import r2_score

    x = (rng.normal(size=(300, 20)) + 1000 * rng.normal(size=20)).astype(np.float32)
    model = make_autoencoder(20, **SIZES, seed=2)
    expected = r2_score(x, model(torch.from_numpy(x)).detach().numpy(), multioutput="uniform_average")
    assert r2(model, torch.from_numpy(x)) == pytest.approx(expected, rel=1e-6)


def test_r2_of_a_constant_gene_and_in_blocks(rng, monkeypatch):
    x = torch.from_numpy(rng.normal(size=(30, 3)).astype(np.float32))
    x[:, 1] = 5
    half = torch.nn.Linear(3, 3, bias=False)
    torch.nn.init.eye_(half.weight)
    assert r2(half, x) == pytest.approx(1)
    with torch.no_grad():
        half.weight.mul_(0.5)
    whole = r2(half, x)
    monkeypatch.setattr("dvgs.training.BLOCK", 7)
    assert r2(half, x) == pytest.approx(whole, rel=1e-12)
    assert whole < 0.55  # two genes at most .75 each, the constant one 0
