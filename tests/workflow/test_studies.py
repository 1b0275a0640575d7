"""Corruption studies in the workflow, on a made-up ADULT in the official layout and on the small compendium."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from public_examples import write_adult

from .conftest import SMALL

BLOG = {"data": "blog", "corruption": {"labels": 0.2}, "methods": {"dvgs": {}}}
SETTINGS = {"source": 60, "target": 40, "test": 50, "hidden": [8], "latent": 4}
SETTINGS |= {"curves": {"quantiles": [0.3], "epochs": 4, "learning_rate": 0.01}}
STUDIES = {
    "presets": {"tiny": {"settings": SETTINGS}},
    "studies": {
        "adult_labels": {
            "data": "adult",
            "corruption": {"labels": 0.2},
            "scaling": "source",
            "replicates": 2,
            "methods": {
                "dvgs": {"epochs": 30, "restarts": 1},
                "data_shapley": {"steps": 2, "learning_rate": 0.01, "least": 6, "most": 6, "patience": 0},
            },
            "hyperparameters": {"batch_size": [40], "learning_rate": [0.01], "dropout": [0.5, 0.0], "epochs": 3},
            "scalability": {"source": [30, 60], "every": [1, 2], "epochs": 4, "replicates": 2},
        },
        "l1000_denoise": {
            "data": "l1000",
            "task": "denoise",
            "corruption": {"noise_sd": 3},
            "min_apc": -1,
            "replicates": 1,
            "methods": {"dvgs": {"epochs": 3, "restarts": 1}},
        },
    },
}


@pytest.fixture(scope="module")
def study(snakemake, small, tmp_path_factory):
    """Runs the studies beside a copy of the small compendium: study(config) -> folder, what became of the command."""
    folder = tmp_path_factory.mktemp("studies") / "run"
    shutil.copytree(small, folder)
    write_adult(folder / "data/adult", np.random.default_rng(5))

    def run(studies, *arguments, targets=("studies",), **others):
        (folder / "studies.yaml").write_text(yaml.safe_dump(studies, sort_keys=False))
        chosen = {"file": "studies.yaml", "preset": "tiny", "directory": "data"} | others
        return folder, snakemake(folder, SMALL | {"studies": chosen}, *arguments, "--", *targets)

    return run


@pytest.fixture(scope="module")
def done(study):
    folder, run = study(STUDIES)
    assert run.returncode == 0, run.stdout + run.stderr
    return folder / "results/studies/tiny"


def test_tables_of_a_study(done):
    detection = pd.read_csv(done / "adult_labels/detection.csv")
    assert list(detection["method"]) == ["dvgs"] * 2 + ["data_shapley"] * 2
    assert (detection["n_corrupted"] == 12).all() and detection["spearman_noise"].isna().all()
    differences = pd.read_csv(done / "adult_labels/comparisons.csv").set_index("measure")["mean"]
    auroc = detection.groupby("method")["auroc"].mean()
    assert differences["auroc"] == pytest.approx(auroc["dvgs"] - auroc["data_shapley"])
    summary = pd.read_csv(done / "adult_labels/summary.csv").set_index(["method", "measure"])
    assert summary.loc[("dvgs", "auroc"), "mean"] > 0.75 and summary["n"].max() == 2
    curves = pd.read_csv(done / "adult_labels/curves.csv")
    assert set(curves["method"]) == {"dvgs", "data_shapley", "random", "target"}  # the controls, asked for or not
    assert set(curves["quantile"]) == {0, 0.3} and curves["steps"].nunique() == 1
    whole = curves[(curves["quantile"] == 0) & (curves["method"] != "target")]
    assert whole.groupby(["replicate", "with_target"])["score"].nunique().eq(1).all()
    assert curves[curves["method"] == "target"].groupby("replicate")["score"].nunique().eq(1).all()
    points = ["method", "with_target", "drop", "quantile"]
    scores = pd.read_csv(done / "adult_labels/bands.csv").set_index(points)["mean"]
    gains = pd.read_csv(done / "adult_labels/curve_comparisons.csv").set_index(points)["mean"]
    point = (True, "low", 0.3)
    assert gains["random", *point] == pytest.approx(scores["dvgs", *point] - scores["random", *point])
    assert (pd.read_csv(done / "adult_labels/seconds.csv")["seconds"] > 0).all()
    assert (done / "adult_labels/curves.svg").read_text().startswith("<?xml")


def test_methods_see_the_same_faults_and_leave_nothing_behind(done):
    values = {path.stem: pd.read_parquet(path) for path in (done / "adult_labels/values").glob("*.parquet")}
    for replicate in "01":
        faults = [table["corrupted"] for name, table in values.items() if name.endswith(replicate)]
        assert len(faults) == 2 and faults[0].equals(faults[1])
    assert not values["dvgs-0"]["corrupted"].equals(values["dvgs-1"]["corrupted"])
    assert values["data_shapley-0"]["se"].notna().all()
    assert not list(done.rglob("*.work"))


def test_profiles_of_the_compendium(done):
    values = pd.read_parquet(done / "l1000_denoise/values/dvgs-0.parquet")
    assert len(values) == 60 and values["noise_sd"].between(0, 3).all()
    summary = pd.read_csv(done / "l1000_denoise/summary.csv").set_index("measure")
    assert -1 <= summary.loc["spearman_noise", "mean"] <= 1


def test_what_settings_size_and_time_do(study, done):
    _, run = study(STUDIES, targets=("hyperparameters", "scalability", "run_times"))
    assert run.returncode == 0, run.stdout + run.stderr
    settings = pd.read_csv(done / "adult_labels/hyperparameters.csv")
    assert len(settings) == 32 * 4 and settings["auroc"].between(0, 1).all()
    effects = pd.read_csv(done / "adult_labels/hyperparameter_effects.csv")
    assert (effects.groupby(["among", "factor"])["difference"].first() == 0).all()
    measured = pd.read_csv(done / "adult_labels/scalability.csv")
    assert len(measured) == 2 * 2 * 2 and (measured["seconds"] > 0).all()
    times = pd.read_csv(done / "run_times.csv").set_index(["study", "method"])
    assert set(times.index) == {("adult_labels", "dvgs"), ("adult_labels", "data_shapley"), ("l1000_denoise", "dvgs")}
    assert times.loc[("adult_labels", "dvgs"), "ratio"] == 1
    for picture in ("adult_labels/hyperparameters.svg", "adult_labels/scalability.svg", "run_times.svg"):
        assert (done / picture).read_text().startswith("<?xml")


def test_methods_of_the_studies_on_the_compendium(snakemake, done):
    folder = done.parents[2]
    files = {method: f"results/small/general/methods/{method}.parquet" for method in ("final_loss", "leave_one_out")}
    run = snakemake(folder, SMALL | {"most_hours": 1e-4}, "--keep-going", "--", *files.values())
    values = pd.read_parquet(folder / files["final_loss"])
    split = pd.read_parquet(folder / "results/small/general/split.parquet")
    assert values["profile_id"].tolist() == split["profile_id"][split["role"] == "source"].tolist()
    assert values["value"].notna().all() and (values["value"] < 0).all()
    assert run.returncode != 0 and not (folder / files["leave_one_out"]).exists()
    log = (folder / "logs/small/value_by_method-general-leave_one_out.log").read_text()
    assert "trainings would take about" in log and "allow more hours" in log and "Traceback" not in log


def test_impossible_study_ends_before_anything_runs(study):
    wrong = STUDIES["studies"]["adult_labels"] | {"corruption": {"labels": 1.5}}
    _, run = study({"presets": {"tiny": {}}, "studies": {"adult_labels": wrong}}, "--dry-run")
    assert run.returncode != 0 and "Traceback" not in run.stderr
    assert "studies.adult_labels.corruption.labels: 1.5 is greater than the maximum" in run.stderr


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"target": 2, "replicates": 9}, r"target: class [01] is absent among its 2 samples; ask for more"),
        ({"source": 40000}, r"source: 32561 samples for the source, 16281 for target and test; ask for fewer"),
    ],
)
def test_a_replicate_that_cannot_be_drawn_is_one_line(study, settings, said):
    wrong = {"presets": {"tiny": {}}, "studies": {"adult_labels": STUDIES["studies"]["adult_labels"] | settings}}
    folder, run = study(wrong, "--until", "draw_study")
    logs = [path.read_text() for path in (folder / "logs/studies/tiny").glob("draw_study-*.log")]
    assert run.returncode != 0 and any(re.search(f"error: studies: adult_labels.{said}", log) for log in logs)
    assert not any("Traceback" in log for log in logs)


@pytest.mark.parametrize("directory", ["data", "nowhere"])
def test_a_folder_without_the_data_is_one_line_and_no_download(study, directory):
    _, run = study({"presets": {"tiny": {}}, "studies": {"blog": BLOG}}, "--dry-run", directory=directory)
    said = f"error: {directory}/blog/BlogFeedback.zip: studies.directory: no such file; put it there, or leave"
    assert run.returncode != 0 and said in run.stderr and "Traceback" not in run.stderr
    _, run = study({"presets": {"tiny": {}}, "studies": {"blog": BLOG}}, "--dry-run", directory=None)
    assert run.returncode == 0 and "download_blog_0" in run.stdout


def test_cut_file_is_one_line(study, done):
    folder = done.parents[2]
    path = folder / "data/adult/adult.data"
    whole = path.read_text()
    path.write_text(whole[:3000])
    _, run = study(STUDIES, "--until", "draw_study")
    path.write_text(whole)
    assert run.returncode != 0
    log = (folder / "logs/studies/tiny/draw_study-adult_labels-0.log").read_text()
    assert "error: data/adult/adult.data: line " in log and "the file may be cut" in log and "Traceback" not in log
