import numpy as np
import pandas as pd
import pytest
import torch
from task_examples import blobs

from dvgs.filtering.curves import (
    CURVE_COLUMNS,
    STUDY_CURVE_COLUMNS,
    CurveSettings,
    curve_trainings,
    keep_mask,
    trace_curve,
    trace_study,
)
from dvgs.seeds import derive_seed
from dvgs.training.fit import fit, r2
from dvgs.training.models import make_autoencoder, reconstruction_loss
from dvgs.training.schedule import Schedule

MODEL = {"hidden": (8,), "latent": 3}
SCHEDULE = Schedule(epochs=3, batch_size=16, learning_rate=1e-2)


@pytest.fixture
def data(rng):
    programmes = rng.normal(size=(3, 12))
    x = rng.normal(size=(120, 3)) @ programmes + 0.3 * rng.normal(size=(120, 12))
    x[:30] += 4 * rng.normal(size=(30, 12))  # the bad ones
    source, validation, test = np.split(x.astype(np.float32), [80, 100])
    methods = pd.DataFrame({"dvgs": np.arange(80.0), "random": rng.random(80), "apc": rng.random(80)})
    methods.loc[rng.choice(80, 30, replace=False), "apc"] = np.nan
    return tuple(map(torch.from_numpy, (source, validation, test))), methods


def test_masks_are_the_published_ones():
    value = np.array([0.0, 1, 2, 3, 4])
    assert keep_mask(value, "low", 0.5).tolist() == [False, False, True, True, True]
    assert keep_mask(value, "high", 0.5).tolist() == [True, True, True, False, False]
    assert keep_mask(value, "low", 0).all() and keep_mask(value, "high", 0).all()


def test_budgets():
    published = Schedule(epochs=50, batch_size=1024, learning_rate=1e-3)
    assert CurveSettings([], published).n_steps(100, 710_216) == 50 * 694
    assert CurveSettings([], published, "fixed_epochs").n_steps(35_511, 710_216) == 50 * 35


@pytest.fixture
def curve(data):
    return trace_curve(*data, CurveSettings([0.0, 0.4], SCHEDULE), MODEL, replicate=2, seed=9)


def test_methods_are_compared_on_the_same_profiles(curve):
    assert list(curve.columns) == CURVE_COLUMNS and (curve["replicate"] == 2).all()
    n = curve.groupby("profiles")["n_train"].max()
    assert n.to_dict() == {"all": 80, "with_apc": 50}
    methods = curve.groupby("profiles")["method"].unique()
    assert set(methods["all"]) == {"dvgs", "random"} and set(methods["with_apc"]) == {"dvgs", "random", "apc"}
    for _, part in curve.groupby(["profiles", "quantile"]):
        assert part["n_train"].nunique() == 1 and part["steps"].nunique() == 1


def test_equal_steps_at_every_quantile_and_one_start(curve, data):
    assert curve.groupby("profiles")["steps"].unique().map(list).to_dict() == {"all": [15], "with_apc": [12]}
    undropped = curve[curve["quantile"] == 0]
    assert undropped.groupby("profiles")["r2"].nunique().eq(1).all()
    fixed = trace_curve(*data, CurveSettings([0.4], SCHEDULE, "fixed_epochs"), MODEL, replicate=0, seed=9)
    assert (fixed.query("profiles == 'all'")["steps"] == 9).all()  # 48 profiles, 3 batches, 3 epochs


def test_points_are_trainings_on_what_is_kept(curve, data):
    (source, validation, test), methods = data
    kept = np.flatnonzero(methods["dvgs"] >= methods["dvgs"].quantile(0.4))
    model = make_autoencoder(12, **MODEL, seed=9)
    fit(model, reconstruction_loss, (source[kept], source[kept]), SCHEDULE.with_steps(15), seed=9)
    row = curve.query("profiles == 'all' and method == 'dvgs' and drop == 'low' and quantile == 0.4").iloc[0]
    assert row["r2"] == pytest.approx(r2(model, test), abs=1e-6)
    assert row["r2_validation"] == pytest.approx(r2(model, validation), abs=1e-6)


def test_no_apc_at_all_leaves_the_other_methods():
    methods = pd.DataFrame({"dvgs": [1.0, 2, 3], "apc": np.nan})
    assert {profiles for profiles, *_ in curve_trainings(methods, [0.0])} == {"all"}


@pytest.mark.parametrize("together", [1, 4])
def test_curves_against_training_on_what_is_left(rng, monkeypatch, together):
    monkeypatch.setattr("dvgs.filtering.curves.group_size", lambda *_: together)
    task, test = blobs(rng, n_classes=0), blobs(rng, n_classes=0).target
    methods = pd.DataFrame({"one": rng.random(40), "two": rng.random(40)})
    schedule = Schedule(epochs=4, batch_size=16, learning_rate=0.01)
    found = trace_study(task, test, methods, CurveSettings([0.3], schedule))
    assert list(found.columns) == STUDY_CURVE_COLUMNS and len(found) == 24 and (found["steps"] == 12).all()
    for row in found.itertuples():
        parts = []
        if row.method != "target":
            value = methods[row.method].to_numpy()
            low = value >= np.quantile(value, row.quantile)
            keep = low if row.drop == "low" else value <= np.quantile(value, 1 - row.quantile)
            parts.append(task.source[0][torch.from_numpy(keep)])
        if row.method == "target" or row.with_target:
            parts.append(task.target[0])
        part = torch.cat(parts)
        model = fit(task.start(), task.loss, (part, part), schedule.with_steps(12), derive_seed(1, "curve"))
        assert row.n_train == len(part) and row.score == pytest.approx(task.score(model, *test), abs=1e-4)
