import inspect

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import ROOT
from scipy import stats
from task_examples import blobs

from dvgs.errors import InputError
from dvgs.evaluation.detection import DETECTION_MEASURES, detect_corrupted
from dvgs.filtering import curves
from dvgs.filtering.curves import trace_study
from dvgs.methods.registry import BASELINES, METHODS, OF_TASKS
from dvgs.studies.summaries import areas, compare_with_dvgs, over_replicates
from dvgs.training.fit import fit
from dvgs.training.schedule import Schedule
from dvgs.workflow.study_config import read_studies

SCHEMA = ROOT / "workflow/schemas/studies.schema.yaml"


def test_detection_by_hand():
    value = np.arange(10.0)
    corrupted = np.isin(value, [0, 1, 5])
    found = detect_corrupted(value, corrupted, 10 - value)
    assert found["n"] == 10 and found["n_corrupted"] == 3 and found["spearman_noise"] == pytest.approx(-1)
    assert found["auroc"] == pytest.approx((7 + 7 + 4) / 21)
    assert found["average_precision"] == pytest.approx((1 + 1 + 3 / 6) / 3)
    assert [found[f"found_at_{k}0"] for k in range(1, 6)] == pytest.approx([1 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3])


def test_samples_without_a_value_are_left_out():
    value, corrupted = np.array([np.nan, 0, 1, 2]), np.array([True, True, False, False])
    found = detect_corrupted(value, corrupted, np.zeros(4))
    assert found["n"] == 3 and found["auroc"] == 1 and np.isnan(found["spearman_noise"])
    assert found.keys() == {"n", "n_corrupted", *DETECTION_MEASURES}


def test_differences_are_taken_within_replicates(rng):
    runs = [(method, replicate) for method in ("random", "dvgs", "dvgs_raw") for replicate in (2, 0, 1)]
    detection = pd.DataFrame(runs, columns=["method", "replicate"]).assign(
        **{m: rng.random(9) for m in DETECTION_MEASURES}
    )
    found = compare_with_dvgs(detection.sample(frac=1, random_state=0), DETECTION_MEASURES)
    assert len(found) == 4 * len(DETECTION_MEASURES)
    found = found.set_index(["dvgs", "method", "measure"])
    for name, sign in (("auroc", 1), ("spearman_noise", -1)):  # noise lowers a good value
        values = dict(zip(("random", "dvgs", "dvgs_raw"), detection[name].to_numpy().reshape(3, 3), strict=True))
        for pair in (("dvgs", "random"), ("dvgs", "dvgs_raw"), ("dvgs_raw", "random"), ("dvgs_raw", "dvgs")):
            difference = sign * (values[pair[0]] - values[pair[1]])
            low, high = stats.t.interval(0.95, 2, difference.mean(), stats.sem(difference))
            row = found.loc[(*pair, name)]
            assert row[["mean", "low", "high"]].tolist() == pytest.approx([difference.mean(), low, high])
            assert row[["better", "worse"]].tolist() == [low > 0, high < 0]
    assert compare_with_dvgs(detection[detection["method"] == "random"], DETECTION_MEASURES).empty


def test_differences_of_curves_are_taken_at_their_points(rng):
    points = [(m, q, r) for m in ("dvgs", "random") for q in (0.2, 0.1) for r in (0, 1)]
    curves = pd.DataFrame(points, columns=["method", "quantile", "replicate"]).assign(score=rng.random(8))
    found = compare_with_dvgs(curves, ["score"], ["quantile"])
    expected = curves["score"].to_numpy().reshape(2, 2, 2)
    assert found["quantile"].tolist() == [0.2, 0.1] and set(found["method"]) == {"random"}
    assert found["mean"].tolist() == pytest.approx((expected[0] - expected[1]).mean(axis=1))


def test_areas_by_hand():
    rows = [("a", w, d, q) for w in (True, False) for d in ("high", "low") for q in (0.4, 0.0, 0.1)]
    curves = pd.DataFrame(rows, columns=["method", "with_target", "drop", "quantile"]).assign(replicate=2)
    curves["score"] = [0.3, 0.7, 0.6, 0.9, 0.7, 0.8, 0.6, 0.7, 0.6, 0.5, 0.7, 0.8]
    (found,) = areas(curves).to_dict("records")
    assert found == {
        "method": "a",
        "replicate": 2,
        "area": pytest.approx(0.1 * (0 + 0.2) / 2 + 0.3 * (0.2 - 0.1) / 2),
        "area_with_target": pytest.approx(0.1 * (0 + 0.2) / 2 + 0.3 * (0.2 + 0.6) / 2),
    }


def test_bands_over_replicates():
    table = pd.DataFrame({"method": ["b", "b", "b", "a"], "score": [1.0, 2, 4, 7]})
    found = over_replicates(table, ["method"], ["score"])
    assert found["method"].tolist() == ["b", "a"]
    low, high = stats.t.interval(0.95, 2, np.mean([1, 2, 4]), stats.sem([1, 2, 4]))
    assert found.loc[0, ["n", "low", "high"]].tolist() == pytest.approx([3, low, high])
    assert found.loc[1, "mean"] == 7 and found.loc[1, ["sd", "low", "high"]].isna().all()


@pytest.mark.parametrize("together", [1, 4])
def test_curves_against_training_on_what_is_left(rng, monkeypatch, together):
    from dvgs.seeds import derive_seed

    monkeypatch.setattr(curves, "group_size", lambda *_: together)
    task, test = blobs(rng, n_classes=0), blobs(rng, n_classes=0).target
    methods = pd.DataFrame({"one": rng.random(40), "two": rng.random(40)})
    schedule = Schedule(epochs=4, batch_size=16, learning_rate=0.01)
    found = trace_study(task, test, methods, curves.CurveSettings([0.3], schedule))
    assert list(found.columns) == curves.STUDY_CURVE_COLUMNS and len(found) == 24 and (found["steps"] == 12).all()
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


def test_schema_knows_the_settings_of_every_method():
    schema = yaml.safe_load(SCHEMA.read_text())
    methods = schema["properties"]["studies"]["additionalProperties"]["properties"]["methods"]
    known = methods["properties"]
    assert set(known) == set(OF_TASKS)
    for name in OF_TASKS:
        parameters = inspect.signature(METHODS[name].load()).parameters.values()
        assert set(known[name].get("properties", {})) == {p.name for p in parameters if p.kind == p.KEYWORD_ONLY}
    varied = {f"^{name}_[a-z_]+\\Z" for name, method in METHODS.items() if method.variants}
    assert set(methods["patternProperties"]) == varied


def test_schema_of_drug_targets_knows_the_methods_of_a_compendium():
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    known = schema["properties"]["drug_targets"]["properties"]["methods"]["items"]["enum"]
    assert set(known) == {"dvgs", *BASELINES}


def test_presets():
    file = ROOT / "config/studies.yaml"
    presets = {name: read_studies(file, name, SCHEMA) for name in yaml.safe_load(file.read_text())["presets"]}
    for name, studies in presets.items():
        assert {study["replicates"] for study in studies.values()} == {2 if name == "quick" else 5}
        assert all({"dvgs", "random"} <= study["methods"].keys() for study in studies.values())
    quick, full, l1000, ranks = (presets[name] for name in ("quick", "full", "l1000", "ranks"))
    assert "cifar10_autoencoder" not in quick
    assert (full["blog_labels"]["source"], full["blog_labels"]["target"]) == (1000, 400)
    assert l1000["l1000_denoise"]["task"] == "denoise"
    assert not {study["data"] for study in [*quick.values(), *full.values()]} & {"l1000"}  # the demo has too few
    labels, noise = (full[name]["methods"] for name in ("adult_labels", "adult_noise"))
    ten = {name: labels[name] | {"restarts": 10} for name in labels if name.startswith(("dvgs", "final_loss"))}
    assert noise == labels | ten  # a comparison of methods is not one of starts
    for study in (full["cifar10_autoencoder"], *l1000.values()):  # nor one of the length of trainings
        rivals = (study["methods"][name] for name in ("dvgs", "final_loss", "gradient_norm"))
        assert len({(own.get("epochs", 100), own["batch_size"]) for own in rivals}) == 1
    for name, study in ranks.items():  # the same draws and settings, except for the ranks
        assert study["scaling"] == "ranks" and study["methods"].items() <= full[name]["methods"].items()


NOISE = {"corruption": {"noise_sd": 1}}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"corruption": {"labels": 1.5}}, "studies.x.corruption.labels: 1.5 is greater than the maximum"),
        ({"corruption": {"labels": 0.1, "noise_sd": 1}}, "studies.x.corruption"),
        ({"methods": {"dvgs": {"epoch": 3}}}, "unknown key; did you mean 'epochs'?"),
        ({"methods": {"dvsg": {}}}, "unknown key; did you mean 'dvgs'?"),
        ({"methods": {"dvgs_raw": {"epoch": 3}}}, "studies.x.methods.dvgs_raw"),
        (
            {"methods": {"dvgs_raw": {}, "leave_one": {}}},
            "studies.x.methods.leave_one: unknown key; did you mean 'leave_",
        ),
        ({"methods": {"dvgs_a\n": {}}}, "studies.x.methods.dvgs_a : unknown key"),
        ({"task": "denoise"}, "studies.x.corruption: there are no labels"),
        ({"features": "auto"}, "studies.x.features: no images with classes"),
        ({"data": "cifar10", "task": "denoise", "features": "auto", **NOISE}, "studies.x.features: no images"),
        (
            {"data": "cifar10", "features": "auto", "scaling": "ranks"},
            "studies.x.scaling: an embedding wants images as",
        ),
        ({"task": "denoise", "methods": {"data_oob": {}}, **NOISE}, "studies.x.methods.data_oob: there are no classes"),
        ({"task": "denoise", "norm": False, **NOISE}, "studies.x.norm: autoencoders have none"),
        ({"hidden": [], "hyperparameters": {}}, "studies.x.hidden: the grid needs a width"),
        ({"data": "l1000"}, "studies.x.task: L1000 has no classes"),
        ({"data": "cifar10", "scalability": {}}, "studies.x.scalability: no vectors with classes"),
        ({"hyperparameters": {"dropout": [1]}}, "studies.x.hyperparameters.dropout.0: 1 is"),
    ],
)
def test_impossible_studies(tmp_path, change, message):
    study = {"data": "adult", "corruption": {"labels": 0.2}, "methods": {"random": None}} | change
    (tmp_path / "studies.yaml").write_text(yaml.safe_dump({"presets": {"a": {}}, "studies": {"x": study}}))
    with pytest.raises(InputError) as error:
        read_studies(tmp_path / "studies.yaml", "a", SCHEMA)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "text, message",
    [
        ("presets: {a: {studies: [x]}}\nstudies: {}", "presets.a.studies: no study x"),
        ("presets: {}\nstudies: {}", "a is not known"),
        ("presets: [", "not YAML"),
        (b"# \xe9".decode("latin-1"), "not YAML"),
        ("presets: {a: {}}\nstudies: {1: {data: adult, corruption: {labels: 0.1}, methods: {random: {}}}}", "no text"),
    ],
)
def test_configs_that_cannot_be(tmp_path, text, message):
    (tmp_path / "studies.yaml").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=message):
        read_studies(tmp_path / "studies.yaml", "a", SCHEMA)
    with pytest.raises(InputError, match="there is no"):
        read_studies(tmp_path / "no.yaml", "a", SCHEMA)
