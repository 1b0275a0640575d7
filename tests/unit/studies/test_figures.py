import re
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from task_examples import blobs
from torch import nn

from dvgs.columns import SIMILARITIES
from dvgs.plotting import to_svg
from dvgs.studies.figures import run_time_figure
from dvgs.studies.scalability import measure, quality, slopes
from dvgs.studies.sensitivity import FACTORS, effects, find_by_grid, summary, trainings
from dvgs.studies.summaries import compare
from dvgs.training.models import make_classifier
from dvgs.workflow.study_config import read_studies

GRID = {
    "class_balance": [True, False],
    "dropout": [0.5, 0.0],
    "batch_size": [20],
    "learning_rate": [0.01, 0.001],
    "norm": [True],
    "layers": [1, 2],
    "activation": ["relu"],
}


def table_of(area):
    """A table of the whole grid, each row with area(setting, similarity)."""
    rows = [
        setting | {"similarity": similarity, "auroc": area(setting, similarity)}
        for setting, similarity in product(trainings(GRID), SIMILARITIES)
    ]
    return pd.DataFrame(rows)


def test_published_grid_has_576_trainings():
    studies = read_studies(ROOT / "config/studies.yaml", "full", ROOT / "workflow/schemas/studies.schema.yaml")
    grid = studies["adult_labels"]["hyperparameters"]
    chosen = trainings(grid)
    assert len(chosen) * len(SIMILARITIES) == 2304 and len({tuple(s.values()) for s in chosen}) == 576
    published = {"class_balance": True, "dropout": 0.5, "batch_size": 400, "learning_rate": 0.001}
    assert chosen[0] == published | {"norm": True, "layers": 2, "activation": "mish"}


def test_classifiers_of_the_grid():
    model = make_classifier(5, [7], 2, 0, dropout=0, norm=False, activation=nn.ReLU)
    assert [type(layer) for layer in model] == [nn.Linear, nn.ReLU, nn.Linear]


def test_settings_change_what_is_found_and_nothing_else_does(rng):
    task, corrupted = blobs(rng, wrong=8), np.arange(40) < 8
    found = find_by_grid(task, corrupted, trainings(GRID), 8, 10)
    assert list(found.columns) == [*FACTORS, "similarity", "auroc"] and len(found) == 16 * 4
    assert found["auroc"].between(0, 1).all() and found["auroc"].nunique() > 16
    assert found.loc[found["similarity"] == "cosine", "auroc"].max() > 0.8
    alone = find_by_grid(task, corrupted, trainings(GRID)[3:4], 8, 10)
    pd.testing.assert_frame_equal(alone, found[12:16].reset_index(drop=True))


def test_effects_are_differences_at_equal_settings(rng):
    def area(setting, similarity):
        return 0.7 + 0.1 * (setting["learning_rate"] == 0.001) + 0.05 * (similarity == "dot") - 0.02 * setting["layers"]

    found = effects(table_of(area), GRID, 50, rng).set_index(["among", "factor", "level"])
    rate = found.loc[("all", "learning_rate", "0.001")]
    assert rate["n"] == 32 and rate["difference"] == pytest.approx(0.1)
    assert rate["difference_low"] == pytest.approx(0.1) == rate["difference_high"]
    assert rate["low"] < rate["mean"] < rate["high"] and rate["highest"] == pytest.approx(0.83)
    assert found.loc[("cosine", "layers", "2"), "difference"] == pytest.approx(-0.02)
    assert found.loc[("all", "similarity", "dot"), "difference"] == pytest.approx(0.05)
    assert found.loc[("all", "dropout", "0.0"), "difference"] == pytest.approx(0)
    layers = found.loc[("cosine at 0.01", "layers", "2")]
    assert layers[["n", "mean"]].tolist() == [4, pytest.approx(0.66)] and layers["difference"] == pytest.approx(-0.02)
    assert ("cosine at 0.01", "learning_rate", "0.01") not in found.index
    assert not any(factor == "similarity" for among, factor, _ in found.index if among != "all")


def test_intervals_of_effects_widen_with_what_differs_between_trainings(rng):
    noise = iter(rng.normal(scale=0.05, size=16).repeat(4))  # the same for the four similarities of one training
    found = effects(table_of(lambda *_: 0.8 + next(noise)), GRID, 2000, rng).set_index(["among", "factor", "level"])
    balance = found.loc[("all", "class_balance", "False")]
    wide = balance["difference_high"] - balance["difference_low"]
    # Were the similarities counted as draws of their own, it would be half of that.
    assert 2 * 0.05 * np.sqrt(2 / 8) < wide < 6 * 0.05 * np.sqrt(2 / 8)


def test_summary_counts_what_is_near_the_best():
    found = summary(table_of(lambda s, sim: 0.9 if sim == "cosine" else 0.7 if s["layers"] == 1 else 0.5), GRID)
    found = found.set_index("among")
    assert found.loc["all", ["n", "highest", "lowest"]].tolist() == [64, 0.9, 0.5]
    assert found.loc["all", "within_10"] == 0.25 and found.loc["all", "within_25"] == 0.625
    assert found.loc["cosine", "within_10"] == 1 and found.loc["l2", "first"] == 0.7
    assert found.loc["cosine at 0.01", ["n", "within_10", "first"]].tolist() == [8, 1, 0.9]


def test_time_grows_with_the_source_and_falls_with_every(rng):
    task, corrupted = blobs(rng, wrong=8), np.arange(40) < 8

    def make(size):
        return replace(task, source=tuple(part[:size] for part in task.source)), corrupted[:size]

    found = measure(make, [20, 40], [1, 3], {"epochs": 7, "batch_size": 50, "lr": 0.01})
    assert list(zip(found["source"], found["every"], strict=True)) == [(20, 1), (20, 3), (40, 1), (40, 3)]
    assert (found["seconds"] > 0).all() and found["auroc"].between(0, 1).all()


def test_slopes_and_quality_by_hand():
    rows = [
        {"replicate": r, "source": n, "every": t, "seconds": n**1.5 / t, "auroc": 0.9 - 0.01 * t + 0.1 * r}
        for r, n, t in product((0, 1), (100, 200, 400), (1, 2))
    ]
    found = slopes(pd.DataFrame(rows))
    assert found["slope"].tolist() == pytest.approx([1.5, 1.5]) == found["slope_large"].tolist()
    assert found["speedup"].tolist() == pytest.approx([1, 2]) and found["seconds"][0] == pytest.approx(8000)
    table = quality(pd.DataFrame(rows)).set_index(["every", "measure"])
    assert table.loc[(2, "auroc"), "mean"] == pytest.approx(0.93) and table.loc[(2, "auroc"), "n"] == 2
    assert table.loc[(2, "difference"), ["mean", "sd"]].tolist() == pytest.approx([-0.01, 0])


def test_a_picture_of_more_methods_than_colours():
    found = pd.DataFrame({"method": [f"m{k}" for k in range(15)], "study": "a", "seconds": 1.0, "auroc": 0.6})
    text = to_svg(run_time_figure(found.assign(auroc_low=0.5, auroc_high=0.7)))
    assert len(set(re.findall(r"fill: (#\w+)", text))) >= 12


def test_run_times_by_hand():
    runs = [("dvgs", 0, 2.0, 0.9), ("dvgs", 1, 8.0, 0.8), ("dvrl", 0, 8.0, 0.7), ("dvrl", 1, 128.0, 0.7)]
    table = pd.DataFrame(runs, columns=["method", "replicate", "seconds", "auroc"]).assign(study="a")
    found = compare(table.drop(columns="seconds"), table.drop(columns="auroc")).set_index("method")
    assert found["seconds"].tolist() == pytest.approx([4, 32]) and found["n"].tolist() == [2, 2]
    table.loc[len(table) - 1, "seconds"] = np.nan  # of a run that was killed and went on
    missing = compare(table.drop(columns="seconds"), table.drop(columns="auroc")).set_index("method")
    assert missing["seconds"].tolist() == pytest.approx([4, 8]) and missing["ratio"].tolist() == pytest.approx([1, 4])
    assert missing["n"].tolist() == [2, 2] and missing["n_seconds"].tolist() == [2, 1]
    assert found["ratio"].tolist() == pytest.approx([1, 8]) and found["auroc"].tolist() == pytest.approx([0.85, 0.7])
    assert found.loc["dvrl", "ratio_low"] < 8 < found.loc["dvrl", "ratio_high"]
    untimed = table.iloc[:-1].drop(columns="auroc")  # it was not timed at all
    assert compare(table.drop(columns="seconds"), untimed).set_index("method").equals(missing)
    without = table[table["method"] == "dvrl"]
    assert compare(without, without)["ratio"].isna().all()
