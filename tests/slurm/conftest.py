"""A real SLURM of three nodes on this machine, and the workflow on it as its users run it."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import psutil
import pytest
import yaml
from conftest import ROOT

HERE = Path(__file__).parent
COMMAND = ["snakemake", "--cores", "8", "--profile", "slurm"]
N_PROFILES = 17_000  # three blocks of scoring, so that two shards have one and two
TINY = {
    "compendium": "tiny",
    "input": {"profiles": "profiles.h5ad", "columns": {"replicate": "group"}},
    "apc": {"null_groups": 50},
    "targets": {"general": {"target_size": 200, "test_size": 100}},
    "model": {"hidden": [16], "latent": 4},
    "trajectory": {"epochs": 100},
    "score": {"shards": 2},
    "curves": {"quantiles": [0.3], "replicates": 1, "shards": 1, "epochs": 1},
    "statistics": {"bootstrap": 50},
}
RESULTS, LOGS = Path("results/tiny/general"), Path("logs/tiny")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")} | {
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin",
    "NO_COLOR": "1",
}


@contextlib.contextmanager
def slurm(folder, *options):
    """SLURM while the block runs; a skip with the reason where there can be none."""
    missing = [name for name in ("slurmctld", "munged") if not shutil.which(name, path=ENVIRONMENT["PATH"])]
    if options:
        missing += [name for name in ("slurmdbd", "mariadbd") if not shutil.which(name, path=ENVIRONMENT["PATH"])]
    if missing:
        pytest.skip(f"no SLURM here: {' and '.join(missing)} not found (tests/slurm/start.sh names Debian's packages)")
    if os.geteuid():
        pytest.skip("tests/slurm/start.sh needs root")
    started = None
    try:
        started = subprocess.run([HERE / "start.sh", folder, *options], capture_output=True, text=True)
        if started.returncode == 3:
            pytest.skip(started.stderr.strip())
        assert started.returncode == 0, started.stderr
        yield folder
    finally:
        if started is None or started.returncode != 3:  # None: interrupted
            subprocess.run([HERE / "stop.sh", folder], check=True)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The folder of a SLURM without accounting."""
    with slurm(tmp_path_factory.mktemp("slurm")) as folder:
        yield folder


def checkout(folder, defaults=(), rules=(), **settings):
    """A fresh checkout of the project with TINY as its config and its profiles; changes to its profile, as by a user.

    defaults: default resources. rules: resources of rules, {rule: {resource: value}}. settings: anything else.
    """
    copy_project(folder)
    (folder / "config/config.yaml").write_text(yaml.safe_dump(TINY, sort_keys=False))
    write_profiles(folder / TINY["input"]["profiles"])
    change_profile(folder, defaults, rules, **settings)
    return folder


def copy_project(folder):
    for name in ("workflow", "scripts", "config", "envs", "slurm"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", folder)


def write_profiles(path):
    """Profiles of 12 genes, in groups of about four replicates."""
    rng = np.random.default_rng(1)
    group = rng.integers(N_PROFILES // 4, size=N_PROFILES)
    x = rng.normal(size=(N_PROFILES // 4, 12))[group] + rng.normal(size=(N_PROFILES, 12))
    obs = pd.DataFrame({"group": [f"g{k}" for k in group]}, index=[f"p{i}" for i in range(N_PROFILES)])
    ad.AnnData(x.astype(np.float32), obs).write_h5ad(path)


def change_profile(folder, defaults=(), rules=(), **settings):
    path = folder / "slurm/config.yaml"
    profile = yaml.safe_load(path.read_text())
    profile["slurm-init-seconds-before-status-checks"] = 1
    profile["latency-wait"] = 5
    profile |= settings
    profile["default-resources"] |= dict(defaults)
    profile["set-resources"] = {rule: dict(said) for rule, said in profile["set-resources"].items()} | dict(rules)
    path.write_text(yaml.safe_dump(profile, sort_keys=False))


def start(folder, *arguments):
    """The user's command, begun; what it prints goes to out.txt."""

    def hear():  # a shell that runs the tests in the background has had them ignore Ctrl-C
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with open(folder / "out.txt", "w") as out:
        return subprocess.Popen(
            [*COMMAND, *arguments], cwd=folder, env=ENVIRONMENT, stdout=out, stderr=out, preexec_fn=hear
        )


def end(command, folder, seconds=600):
    """Its exit status and what it printed; prints what happened, for the log of `make test-slurm`."""
    status, out = command.wait(seconds), (folder / "out.txt").read_text()
    print("$", *command.args)
    for line in out.splitlines():
        if sent := re.search(r"has been submitted with SLURM jobid (\d+) \(log: \S+/rule_(\w+)/(\w+)", line):
            print(f"SLURM job {sent[1]}: {sent[2]} {sent[3]}")
        elif re.match(r"Finished jobid|SLURM-job|error: ", line.strip()):
            print(line.strip().replace(str(folder), "<the checkout>"))
    print(f"exit status {status}")
    return status, out


def run(folder, *arguments):
    return end(start(folder, *arguments), folder)


def ask(*command):
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout


def running(rule):
    """What squeue says of the jobs of a rule that run now: job, state, time, node, rule and wildcards."""
    lines = ask("squeue", "-h", "-t", "running", "-o", "%i %T %M %N %k").splitlines()
    return [line for line in lines if f" rule_{rule}_" in line]


def submitted(out):
    """The rules of the jobs that were submitted to SLURM, one for each submission, sorted."""
    return sorted(re.findall(r"has been submitted with SLURM jobid \d+ \(log: \S+/rule_(\w+)/", out))


def place(folder, job):
    """SLURM's job id, node and GPUs as the log of a job tells them."""
    log = (folder / LOGS / f"{job}.log").read_text()
    found = re.search(r"SLURM job (\d+) on node (\w+), GPU (\S+)", log)
    print(f"{job}.log: {found[0]}")
    return found.groups()


def wait_for(look, seconds=300):
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def hold(folder, script, number=1):
    """Stop processes of a rule's script as soon as there are so many; SLURM takes their jobs for running ones."""

    def look():
        held = []
        for process in psutil.process_iter(["cmdline"]):
            with contextlib.suppress(psutil.Error):
                command = process.info["cmdline"] or []
                if any(part.endswith(f"{script}.py") for part in command) and process.cwd() == str(folder):
                    held += [process] if process.environ().get("SLURM_JOB_ID") else []
        return held if len(held) >= number else None

    held = wait_for(look)
    for process in held:
        process.suspend()
    return held
