"""The whole workflow on a small made-up release: what it promises about its outputs."""

import contextlib
import filecmp
import json
import re
import shutil
import subprocess
import sys
import time
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import psutil
import pytest
import scanpy as sc
import torch
import yaml
from cmapPy.pandasGEXpress.parse import parse
from conftest import ROOT, readme_example

from dvgs.evaluation.drug_targets import PAIR_COLUMNS
from dvgs.io.gctx import GctxFile
from dvgs.io.tables import read_siginfo
from dvgs.training.models import make_autoencoder

from .conftest import SMALL

TARGETS = ["general", "high_apc"]


@pytest.fixture
def results(small):
    return small / "results/small"


def test_in_is_kept_and_left_out(small, results):
    siginfo = read_siginfo(small / "resources/small/siginfo_beta.txt")
    with GctxFile(small / "resources/small/level5_beta.gctx") as level5:
        every = set(level5.profile_ids) | set(siginfo.index)
        assert level5.shape[1] > 978
    data = ad.read_h5ad(results / "signatures.h5ad")
    ledger = pd.read_csv(results / "ledger.tsv", sep="\t")
    assert list(ledger.columns) == ["profile_id", "reason"] and not ledger["profile_id"].duplicated().any()
    assert set(ledger["profile_id"]) | set(data.obs_names) == every and len(ledger) + data.n_obs == len(every)
    assert data.n_vars == 978 and data.X.dtype == np.float32
    assert set(ledger["reason"]) == {"qc_pass is not 1", "pert_type not selected"}


def test_apc_of_every_signature(results):
    apc = pd.read_parquet(results / "apc.parquet")
    assert list(apc.columns) == ["sig_id", "n_replicates", "apc", "apc_null_p", "apc_fdr", "reason", "spearman_q75"]
    assert apc["sig_id"].tolist() == ad.read_h5ad(results / "signatures.h5ad").obs_names.tolist()
    assert ((apc["reason"] == "") == apc["apc"].notna()).all()
    lost = pd.read_csv(results / "replicate_ledger.tsv", sep="\t")
    assert set(lost["reason"]) == {"replicate missing from the file"}


@pytest.mark.parametrize("target", TARGETS)
def test_every_profile_has_a_value_and_a_role(results, target):
    values = pd.read_parquet(results / target / "values.parquet")
    assert list(values.columns) == (
        ["profile_id", "cosine", "cosine_se", "dot", "projection", "l2", "gradient_norm", "loss", "role"]
    )
    assert values["profile_id"].tolist() == ad.read_h5ad(results / "signatures.h5ad").obs_names.tolist()
    assert not values.isna().any().any() and (values["cosine_se"] > 0).all()
    settings = SMALL["targets"][target]
    n = values["role"].value_counts()
    assert n["target"] + n["validation"] == settings["target_size"] and n["test"] == settings["test_size"]


@pytest.mark.parametrize("target", TARGETS)
def test_tables_have_their_columns(results, target):
    curves = pd.read_csv(results / target / "curves.csv")
    assert list(curves.columns) == (
        ["profiles", "method", "drop", "quantile", "replicate", "n_train", "steps", "r2", "r2_validation"]
    )
    methods = curves.groupby("profiles")["method"].unique().map(set)
    everywhere = {"dvgs", "random", "profile_norm", "reconstruction_error"}
    assert methods.to_dict() == {"all": everywhere, "with_apc": everywhere | {"apc"}}
    assert curves["replicate"].unique().tolist() == [0, 1] and set(curves["quantile"]) == {0, 0.3}
    correlations = pd.read_csv(results / target / "correlations.csv")
    assert set(correlations["by"]) == {"overall", "role", "cell_iname", "pert_type", "dose", "n_replicates"}
    assert set(correlations["similarity"]) == {"cosine", "dot", "projection", "l2"}


def test_drug_targets_are_compared(results):
    for target in TARGETS:
        table = pd.read_csv(results / target / "drug_targets.csv")
        assert list(table.columns) == PAIR_COLUMNS and table["reason"].isna().all()
        assert set(table["replicate"]) == {"0", "1", "all"} and set(table["quantile"]) == {0, 0.3}
        assert set(table["method"]) == {"dvgs", "random", "profile_norm"} and table["n_pairs"].nunique() == 1
        values = pd.read_parquet(results / target / "values.parquet")
        assert table["n_profiles"].max() == (values["role"] == "source").sum()
    assert "Compounds that share a drug target" in (results / "report.html").read_text()


@pytest.mark.parametrize("target", TARGETS)
def test_cleaned_compendium_opens_in_cmappy_and_scanpy(results, target):
    cleaned = sc.read_h5ad(results / target / "cleaned.h5ad")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        gctx = parse(str(results / target / "cleaned.gctx"))
    assert np.array_equal(gctx.data_df.T.to_numpy(), cleaned.X)
    assert gctx.data_df.columns.tolist() == cleaned.obs_names.tolist()
    assert gctx.data_df.index.tolist() == cleaned.var_names.tolist()
    assert np.allclose(gctx.col_metadata_df["cosine"].astype(float), cleaned.obs["cosine"])
    source = ad.read_h5ad(results / "signatures.h5ad")
    assert np.array_equal(source[cleaned.obs_names].X, cleaned.X)
    assert {"cosine", "cosine_se", "apc", "role", "cell_iname", "pert_id"} <= set(cleaned.obs.columns)
    assert cleaned.obsm["X_latent"].shape == (cleaned.n_obs, 4) and cleaned.obsm["X_umap"].shape[1] == 2

    dropped = pd.read_csv(results / target / "dropped.tsv", sep="\t")
    assert set(dropped["profile_id"]) | set(cleaned.obs_names) == set(source.obs_names)
    assert len(dropped) + cleaned.n_obs == source.n_obs and dropped["reason"].str.contains("below").all()
    decision = json.loads((results / target / "cleaning.json").read_text())
    assert (decision["n_kept"], decision["n_dropped"]) == (cleaned.n_obs, len(dropped))
    second = cleaned.obs["role"] != "source"
    assert (cleaned.obs["cosine"][~second] >= decision["threshold"]).all()
    assert (cleaned.obs["cosine"][second] >= decision["threshold_second"]).all()
    calibration = pd.read_parquet(results / target / "calibration.parquet")
    assert len(calibration) > 100 and 0 < decision["stability"] < 1


def test_weights_are_those_behind_the_latent_space(results):
    cleaned = ad.read_h5ad(results / "general/cleaned.h5ad")
    model = make_autoencoder(978, [16], 4, seed=0)
    model.load_state_dict(torch.load(results / "general/autoencoder.pt", weights_only=True))
    with torch.no_grad():
        assert np.allclose(model.encoder(torch.from_numpy(cleaned.X)), cleaned.obsm["X_latent"], atol=1e-5)


def test_page_is_self_contained_and_summary_short(results):
    page = (results / "report.html").read_text()
    assert "<svg" in page or "data:image/svg+xml" in page
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page) and "@import" not in page
    lines = (results / "summary.txt").read_text().splitlines()
    assert 0 < len(lines) <= 10 and "profiles in" in lines[0]


def test_readme_example_on_anndata(results):
    names = {}
    example = readme_example("signatures.h5ad").replace("results/demo", str(results)).replace("> 0.25", "> 0.1")
    exec(example, names)
    data, trusted = names["data"], names["trusted"]
    assert data.obs["dvgs"].notna().to_numpy().tolist() == (~trusted).tolist() and 0 < trusted.sum() < len(trusted)
    assert (data.obs.loc[~trusted, "dvgs_se"] > 0).all()


def test_convergence_is_told(results):
    for target in TARGETS:
        found = pd.read_csv(results / target / "convergence.csv")
        assert found["steps"].tolist() == ["eighth", "quarter", "half", "alternate"]
        assert found["spearman"].between(-1, 1).all() and (found["n_steps"] == 16).all()


def test_second_run_finds_nothing_to_do(snakemake, small):
    done = snakemake(small, SMALL)
    assert done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr


def test_nothing_before_evaluation_reads_the_truth(snakemake, small):
    plan = snakemake(small, SMALL, "--dry-run", "--forceall").stdout
    jobs = re.findall(r"rule (\w+):\n    input: (.*)", plan)
    readers = {rule for rule, inputs in jobs if "resources/small/truth" in inputs}
    assert len(jobs) > 15 and readers == {"evaluate_truth"}


def test_snakemakes_own_report(snakemake, small):
    done = snakemake(small, SMALL, "--report", "snakemake_report.html")
    assert done.returncode == 0, done.stderr
    assert (small / "snakemake_report.html").stat().st_size > 100_000


def test_every_job_leaves_log_and_benchmark(small):
    for rule in (
        "ingest",
        "compute_apc",
        "draw_split-general",
        "score_shard-general-0",
        "clean-general",
        "write_report",
    ):
        assert "done in" in (small / f"logs/small/{rule}.log").read_text()
        assert (small / f"benchmarks/small/{rule}.tsv").exists()


def test_same_config_same_bytes(snakemake, small, tmp_path):
    done = snakemake(tmp_path, SMALL)
    assert done.returncode == 0, done.stderr
    files = [p.relative_to(small) for p in (small / "results").rglob("*") if p.is_file()]
    assert len(files) > 25
    _, different, missing = filecmp.cmpfiles(small, tmp_path, files, shallow=False)
    assert not missing and not different


def test_jobs_killed_give_the_same_bytes_when_the_command_is_given_again(small, tmp_path):
    """kill -9 of one training and one scoring job, each sooner than it can end on a fast machine."""
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(SMALL, sort_keys=False))
    shutil.copytree(small / "resources", tmp_path / "resources")
    values = "results/small/general/values.parquet"
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path)]
    command += ["--cores", "2", "--scheduler", "greedy", "--configfile", str(tmp_path / "config.yaml"), "--", values]
    for job, delay in (("train_trajectory", 2.0), ("score_shard", 1.2)):
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        script = wait_for(lambda job=job, run=run: script_of(run, job), seconds=120)
        time.sleep(delay)
        script.kill()
        assert run.wait(120) != 0
        assert not (tmp_path / values).exists()
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert filecmp.cmp(small / values, tmp_path / values, shallow=False)
    assert not list((tmp_path / "results").rglob(".*"))


def script_of(run, job):
    """The process that a snakemake runs for the script of a job, or None."""
    for child in psutil.Process(run.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any(part.endswith(f"{job}.py") for part in child.cmdline()):
                return child
    return None


def wait_for(look, seconds):
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_shards_do_not_change_values(snakemake, small, tmp_path):
    shutil.copytree(small / "resources", tmp_path / "resources")
    config = SMALL | {"score": {"shards": 1}, "curves": SMALL["curves"] | {"shards": 1}}
    done = snakemake(tmp_path, config, "--until", "gather_curves")
    assert done.returncode == 0, done.stderr
    for target in TARGETS:
        for name in ("values.parquet", "curves.csv"):
            path = f"results/small/{target}/{name}"
            assert (small / path).read_bytes() == (tmp_path / path).read_bytes()


def test_conda_environment_has_the_locked_versions():
    lock = (ROOT / "envs/requirements.lock").read_text().lower().splitlines()
    pins = re.findall(r"- (\S+==\S+)", (ROOT / "envs/dvgs.yaml").read_text().lower())
    assert len(pins) > 10 and set(pins) <= set(lock)
    assert "torch==2.13.0" in lock


def test_time_asked_for_follows_what_is_to_be_done(small, snakemake):
    def asked(*arguments, **settings):
        done = snakemake(small, SMALL | settings, "--dry-run", "--forceall", *arguments)
        assert done.returncode == 0, done.stderr
        found = re.findall(r"rule score_shard:.*?runtime=(\d+)", done.stdout + done.stderr, re.DOTALL)
        return max(map(int, found))

    long = {"trajectory": {"epochs": 10**7}}
    assert asked() < 20 and asked(**long) > 60
    assert asked(**long, score={"shards": 1}) == asked(**long)  # few profiles are one block, whatever the shards
    assert asked("--set-threads", "score_shard=2", **long) < asked(**long)
    assert asked("--set-resources", "score_shard:gpu=0", **long) == asked(**long)
    assert asked("--set-resources", "score_shard:gpu=1", **long) != asked(**long)
