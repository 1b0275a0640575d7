from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import value_by_method
import value_study
from dvgs.errors import InputError
from dvgs.studies.experiment import draw, generator_of, make_task, value_task
from dvgs.valuation.trajectory import Trajectory

SIZES = {"source": 40, "target": 20, "test_size": 30}


@pytest.fixture
def data(rng):
    """Training and test part of two classes, each sample with its own number in column 2, and a constant column."""

    def part(n, first):
        y = np.arange(n) % 2
        x = np.column_stack([rng.normal(size=n) + 3 * y, rng.normal(size=n), first + np.arange(n), np.ones(n)])
        return x.astype(np.float32), y

    return part(60, 0), part(70, 1000)


def drawn(data, seed=0, corruption=None, scaling=None, task="classify", **sizes):
    rng = np.random.default_rng(seed)
    options = {"corruption": corruption or {"labels": 0.2}, "scaling": scaling, "task": task}
    return draw(*data, **(SIZES | sizes), **options, rng=rng)


def test_source_of_the_training_part_target_and_test_of_the_other(data):
    found = drawn(data)
    ids = {who: found[f"{who}_x"][:, 2].astype(int) for who in ("source", "target", "test")}
    assert {who: len(own) for who, own in ids.items()} == {"source": 40, "target": 20, "test": 30}
    assert ids["source"].max() < 60 and min(ids["target"].min(), ids["test"].min()) >= 1000
    assert len(set(np.concatenate(list(ids.values())))) == 90
    clean = ids["source"] % 2
    assert np.array_equal(found["source_y"] != clean, found["corrupted"]) and found["corrupted"].sum() == 8
    assert np.array_equal(found["target_y"], ids["target"] % 2) and int(found["n_classes"]) == 2


def test_one_part_alone_is_split_three_ways(data):
    found = drawn((data[0], None), target=10, test_size=None)
    ids = np.concatenate([found[f"{who}_x"][:, 2] for who in ("source", "target", "test")])
    assert sorted(ids) == list(range(60)) and len(found["test_x"]) == 10


def test_scaling_is_fitted_on_the_source_alone_or_on_all(data):
    plain, own, joint = (drawn(data, scaling=scaling) for scaling in (None, "source", "joint"))
    low, high = plain["source_x"].min(0), plain["source_x"].max(0)
    expected = np.clip((plain["test_x"] - low) / np.maximum(high - low, 1e-9), 0, 1)
    assert np.allclose(own["test_x"][:, :3], expected[:, :3], atol=1e-6)
    assert (own["test_x"][:, 2] == 1).all()  # beyond all that was fitted on
    assert not own["target_x"][:, 3].any()  # constant in the source
    assert joint["test_x"][:, 2].max() <= 1 and (joint["test_x"][:, 2] > 0.9).sum() > 3
    assert joint["source_x"][:, 2].max() < 0.1


def test_ranks_are_shares_of_the_source_with_less_minus_those_with_more(data):
    plain, ranked = (drawn(data, scaling=scaling) for scaling in (None, "ranks"))
    source = plain["source_x"]
    for who in ("source_x", "target_x", "test_x"):
        expected = [
            [np.mean(source[:, k] < v) - np.mean(source[:, k] > v) for k, v in enumerate(x)] for x in plain[who]
        ]
        assert np.allclose(ranked[who], expected, rtol=0, atol=1e-7)
    assert np.abs(ranked["source_x"].mean(0)).max() < 1e-7
    images = tuple((x.repeat(3 * 4, 1).reshape(-1, 3, 4, 4), y) for x, y in data)
    assert drawn(images, scaling="ranks")["test_x"].shape == (30, 3, 4, 4)


def test_noise_comes_after_scaling_and_is_the_same_for_the_published_target(data):
    noise = {"noise_sd": 3.0}
    label = drawn(data, corruption=noise, scaling="source")
    clean = drawn(data, corruption={"noise_sd": 0.0}, scaling="source")
    assert (label["source_x"] - clean["source_x"]).std() > 0.5 and np.array_equal(label["target_x"], clean["target_x"])
    assert np.array_equal(label["corrupted"], label["noise_sd"] > 1.5)
    published, denoise = (drawn(data, corruption=noise, scaling="source", task=t) for t in ("reconstruct", "denoise"))
    assert np.array_equal(published["source_x"], published["source_y"])
    assert np.array_equal(denoise["source_x"], label["source_x"])
    assert np.array_equal(denoise["source_y"], clean["source_x"])
    assert int(denoise["n_classes"]) == 0 and np.array_equal(denoise["target_x"], denoise["target_y"])


def test_replicates_differ_and_one_is_always_the_same():
    first, again, other, elsewhere = (
        generator_of(1, study, k).random() for study, k in (("a", 0), ("a", 0), ("a", 1), ("b", 0))
    )
    assert first == again and len({first, other, elsewhere}) == 3


@pytest.mark.parametrize("sizes", [{"source": 61}, {"target": 71}, {"target": 70}])
def test_too_few_samples(data, sizes):
    with pytest.raises(InputError, match="ask for fewer"):
        drawn(data, **sizes)


@pytest.mark.parametrize("shape", [(4,), (3, 32, 32)])
@pytest.mark.parametrize("task", ["classify", "reconstruct", "denoise"])
def test_tasks_of_all_kinds_are_valued(rng, shape, task):
    part = rng.normal(size=(50, *shape)).astype(np.float32), np.arange(50) % 3
    found = drawn((part, None), corruption={"noise_sd": 2.0}, task=task, source=12, target=8, test_size=5)
    made = make_task(found, hidden=[6], latent=2, seed=1, device=torch.device("cpu"))
    assert made.n_classes == (3 if task == "classify" else 0)
    values, _ = value_task(made, "dvgs", {"epochs": 2, "restarts": 1})
    assert np.isfinite(values["value"]).all() and np.isfinite(made.score(made.start(), *made.target))


def test_dvgs_of_the_last_layers_against_the_natural_gradient(data, tmp_path):
    task = make_task(drawn(data), hidden=[6, 5], seed=1, device=torch.device("cpu"), work=tmp_path)
    value_task(task, "dvgs_natural", {"epochs": 2, "restarts": 1, "natural": True, "layers": 2})
    named = dict(task.start().named_parameters())
    assert list(named) == ["0.weight", "0.bias", "4.weight", "4.bias", "8.weight", "8.bias"]
    with Trajectory(tmp_path / "trajectory.h5", task.start()) as trajectory:
        gradient = dict(zip(named, trajectory.at(0), strict=True))
    assert [name for name, g in gradient.items() if g.any()] == ["4.weight", "4.bias", "8.weight", "8.bias"]


def test_seconds_of_a_run_that_was_killed_are_not_known(data, tmp_path):
    np.savez(tmp_path / "drawn.npz", **drawn(data))
    output = SimpleNamespace(values=tmp_path / "values.parquet", seconds=tmp_path / "seconds.csv")
    wildcards = SimpleNamespace(study="a", replicate="0", method="profile_norm")
    settings = {"model": {"hidden": [4]}, "settings": {}, "most_hours": 1, "seed": 1, "device": "cpu"}
    for killed in (False, True):
        if killed:
            (tmp_path / "values.work").mkdir()
            (tmp_path / "values.work" / "state.pt").write_bytes(b"")
        value_study.main(SimpleNamespace(drawn=tmp_path / "drawn.npz"), output, wildcards, **settings)
        assert pd.read_csv(output.seconds)["seconds"].isna().tolist() == [killed]
        assert not (tmp_path / "values.work").exists() and len(pd.read_parquet(output.values)) == 40


@pytest.mark.parametrize("method", ["leave_one", "apc", "dvgs_raw"])
def test_a_method_that_is_none(method):
    wildcards = SimpleNamespace(method=method, target="general")
    with pytest.raises(InputError, match=f"methods: {method}: no such method; known here: dvgs, random"):
        value_by_method.main(None, None, wildcards, model={}, most_hours=1, device="cpu", seed=1)


def test_published_models():
    adult = {"source_x": np.zeros((2, 108), np.float32), "source_y": np.array([0, 1]), "n_classes": np.array(2)}
    adult |= {"target_x": adult["source_x"], "target_y": adult["source_y"]}
    model = make_task(adult, hidden=[100, 100], seed=1, device=torch.device("cpu")).start()
    kinds = [type(layer).__name__ for layer in model]
    assert kinds == ["Linear", "Dropout", "Mish", "LayerNorm"] * 2 + ["Linear"]
    assert model[1].p == 0.5 and model[4].weight.shape == (100, 100)
    plain = make_task(adult, hidden=[100, 100], norm=False, seed=1, device=torch.device("cpu")).start()
    assert [type(layer).__name__ for layer in plain] == ["Linear", "Dropout", "Mish"] * 2 + ["Linear"]
    assert torch.equal(plain[0].weight, model[0].weight)
    images = {name: np.zeros((2, 3, 32, 32), np.float32) for name in ("source_x", "source_y", "target_x", "target_y")}
    task = make_task(images | {"n_classes": np.array(0)}, hidden=[], seed=1, device=torch.device("cpu"))
    assert sum(p.numel() for p in task.start().parameters()) == 46221


def test_the_classifier_of_images_is_the_published_one_on_patches(rng):
    images = {name: rng.random((10, 3, 32, 32)).astype(np.float32) for name in ("source_x", "target_x")}
    images |= {"source_y": np.arange(10), "target_y": np.arange(10), "n_classes": np.array(10)}
    state = torch.get_rng_state()
    task = make_task(images, hidden=[100, 100], seed=1, device=torch.device("cpu"))
    model, again = task.start().eval(), task.start().eval()
    assert torch.equal(torch.get_rng_state(), state)
    assert model[-1][0].weight.shape == (100, 2048) and model[-1][1].p == 0.5
    x = torch.from_numpy(images["source_x"])
    assert model(x).shape == (10, 10) and torch.equal(model(x), again(x))
    features = model[:-1](x).reshape(10, 32, 8, 8)
    patch = (x[1, :, 4:8, 8:12] * model[0].weight[5]).sum() + model[0].bias[5]  # what makes number 5 of patch 1, 2
    own = model[0](x)[1]
    expected = torch.nn.functional.mish((patch - own.mean()) / (own.var(correction=0) + 1e-5).sqrt())
    torch.testing.assert_close(features[1, 5, 1, 2], expected)
