"""A real SLURM of three nodes on this machine, and the workflow on it as its users run it."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from conftest import ROOT
from workflow.conftest import SMALL

HERE = Path(__file__).parent
COMMAND = ["snakemake", "--cores", "8", "--profile", "slurm"]
TINY = SMALL | {
    "compendium": "tiny",
    "targets": {"general": SMALL["targets"]["general"]},
    "curves": SMALL["curves"] | {"replicates": 1, "shards": 1},
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
    started = subprocess.run([HERE / "start.sh", folder, *options], capture_output=True, text=True)
    try:
        if started.returncode == 3:
            pytest.skip(started.stderr.strip())
        assert started.returncode == 0, started.stderr
        yield folder
    finally:
        if started.returncode != 3:
            subprocess.run([HERE / "stop.sh", folder], check=True)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The folder of a SLURM without accounting."""
    with slurm(tmp_path_factory.mktemp("slurm")) as folder:
        yield folder


def checkout(folder, defaults=(), rules=(), **settings):
    """A fresh checkout of the project with TINY as its config; changes to its profile, as a user would make them.

    defaults: default resources. rules: resources of rules, {rule: {resource: value}}. settings: anything else.
    """
    for name in ("workflow", "scripts", "config", "envs", "slurm"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", folder)
    (folder / "config/config.yaml").write_text(yaml.safe_dump(TINY, sort_keys=False))
    change_profile(folder, defaults, rules, **settings)
    return folder


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
    with open(folder / "out.txt", "w") as out:
        return subprocess.Popen([*COMMAND, *arguments], cwd=folder, env=ENVIRONMENT, stdout=out, stderr=out)


def end(run, folder, seconds=300):
    """Its exit status and what it printed."""
    return run.wait(seconds), (folder / "out.txt").read_text()


def run(folder, *arguments):
    return end(start(folder, *arguments), folder)


def ask(*command):
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout


def running(rule):
    """{shard or target: node} of the jobs of a rule that run now."""
    lines = ask("squeue", "-h", "-t", "running", "-o", "%k %N").splitlines()
    found = (re.fullmatch(rf"rule_{rule}(?:_wildcards_(\S+))? (\S+)", line) for line in lines)
    return {match[1]: match[2] for match in found if match}


def submitted(out):
    """The rules of the jobs that were submitted to SLURM, one for each submission, sorted."""
    return sorted(re.findall(r"has been submitted with SLURM jobid \d+ \(log: \S+/rule_(\w+)/", out))


def place(folder, job):
    """SLURM's job id, node and GPUs as the log of a job tells them."""
    return re.search(r"SLURM job (\d+) on node (\w+), GPU (\S+)", (folder / LOGS / f"{job}.log").read_text()).groups()


def wait_for(look, seconds=120):
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
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
