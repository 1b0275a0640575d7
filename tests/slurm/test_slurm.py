"""The user's command on a cluster without accounting: where jobs run, what they give, what is said of a bad profile."""

import filecmp
import re
import shutil
import subprocess
import time

import pandas as pd
import pytest
import yaml
from conftest import ROOT

from dvgs.workflow import run_time
from dvgs.workflow.config import check_config

from .conftest import ENVIRONMENT, RESULTS, change_profile, checkout, end, place, run, running, start, submitted

VALUES = str(RESULTS / "values.parquet")
GPU = {"gpu": 1, "slurm_partition": "gpu"}


@pytest.fixture(scope="module")
def finished(cluster, tmp_path_factory):
    """The folder of a whole run with GPUs for training; side_by_side has what squeue said while most shards ran."""
    rules = {"train_trajectory": GPU, "trace_curve": GPU, "score_shard": {"mem_mb": 9000}}  # of 16,000: one on a node
    folder = checkout(tmp_path_factory.mktemp("cluster"), rules=rules)
    command, side_by_side = start(folder), []
    while command.poll() is None:
        side_by_side = max(side_by_side, running("score_shard"), key=len)
        time.sleep(0.1)
    status, out = end(command, folder)
    assert status == 0, out
    (folder / "side_by_side.txt").write_text("\n".join(side_by_side))
    return folder


def test_several_shards_on_several_nodes_at_once(finished):
    squeue = (finished / "side_by_side.txt").read_text()
    print("$ squeue", squeue, sep="\n")
    assert sorted(line.split()[3] for line in squeue.splitlines()) == ["n1", "n2"]
    shards = [pd.read_parquet(finished / RESULTS / f"shards/{shard}.parquet") for shard in (0, 1)]
    assert all(len(shard) > 8000 for shard in shards)


def test_gpu_jobs_are_on_the_gpu_node_and_see_the_gpu_given(finished):
    for job in ("train_trajectory-general", "trace_curve-general-0"):
        _, node, gpu = place(finished, job)
        assert node == "g1" and gpu in ("0", "1")
    for job in ("ingest", "score_shard-general-0", "clean-general"):
        _, node, gpu = place(finished, job)
        assert node in ("n1", "n2") and gpu == "none"


def test_values_are_those_of_a_local_run(finished, tmp_path):
    checkout(tmp_path)
    command = ["snakemake", "--cores", "2", "--scheduler", "greedy", "--until", "clean"]
    local = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert local.returncode == 0, local.stderr
    files = [path.relative_to(tmp_path) for path in (tmp_path / "results").rglob("*") if path.is_file()]
    files = [path for path in files if path.name != "latent.h5ad"]  # the whole run has taken it away
    assert len(files) > 15 and RESULTS / "values.parquet" in files
    _, different, missing = filecmp.cmpfiles(finished, tmp_path, files, shallow=False)
    assert not different and not missing


def test_every_job_is_submitted_once_and_a_second_run_has_none(finished):
    jobs = submitted((finished / "out.txt").read_text())
    assert len(jobs) == 10 and jobs.count("score_shard") == 2 and len(set(jobs)) == 9
    assert not {"draw_split", "gather_values", "gather_curves", "write_report", "default"} & set(jobs)
    status, out = run(finished)
    assert status == 0 and "Nothing to be done" in out


@pytest.fixture
def again(finished, tmp_path):
    """A copy of the finished run without the shards and what follows from them."""
    folder = tmp_path / "again"
    shutil.copytree(finished, folder, symlinks=True)
    shutil.rmtree(folder / RESULTS / "shards")
    (folder / RESULTS / "values.parquet").unlink()
    return folder


NODES = "slurm/config.yaml: set-resources: no node of the partition has the GPUs, CPUs or memory"
BAD = {
    "partition": (
        {"defaults": {"slurm_partition": "nope"}},
        "slurm/config.yaml: slurm_partition: SLURM knows no such partition;",
    ),
    "gpu": ({"rules": {"score_shard": {"gpu": 1}}}, NODES),
    "memory": ({"rules": {"score_shard": {"mem_mb": 10**8}}}, NODES),
    "cpus": ({"set-threads": {"score_shard": 8}}, NODES),  # of 4
    "time": (
        {"rules": {"score_shard": {"runtime": 3000}}, "retries": 0},  # of 1440; SLURM takes the job and lets it wait
        "slurm/config.yaml: set-resources: a job asks for more time than its partition gives;",
    ),
}


@pytest.mark.parametrize("case", [*list(BAD)[:-1], pytest.param("time", marks=pytest.mark.slow)])
def test_what_slurm_refuses_is_told_with_the_setting_to_change(again, case):
    changes, message = BAD[case]
    change_profile(again, **changes)
    status, out = run(again, VALUES)
    errors = [line for line in out.splitlines() if line.startswith("error: ")]
    assert status == 1 and len(errors) == 1 and message in errors[0], out


def test_lincs_is_a_few_hundred_jobs_at_most(tmp_path):
    """As a plan, for which no SLURM is needed."""
    command = ["snakemake", "--profile", "slurm", "--executor", "local", "--cores", "8", "--dry-run"]
    command += ["--configfile", "config/lincs2020.yaml", "--directory", str(tmp_path)]
    plan = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert plan.returncode == 0, plan.stderr
    assert 20 < int(re.search(r"total +(\d+)", plan.stdout + plan.stderr)[1]) < 300


def test_no_job_of_lincs_is_much_shorter_than_a_minute():
    """By the model of the run time, those that go to SLURM."""
    config = yaml.safe_load((ROOT / "config/lincs2020.yaml").read_text())
    check_config(config, ROOT / "workflow/schemas/config.schema.yaml")
    local = re.search(r"localrules:\n((?: +\w+,\n)+)", (ROOT / "workflow/Snakefile").read_text())[1]
    sent = set(run_time.STAGES) - {name.strip(" ,") for name in local.splitlines()}
    assert len(sent) == len(run_time.STAGES) - 4
    hours = run_time.plan(config, 720_216, 978, {"ingest": 35.5, "compute_apc": 89, "": 2.8})  # all jobs side by side
    assert min(hours[stage] for stage in sent) > 45 / 3600
