import os
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT

from dvgs.simulation.simulator import simulate_release

FILES = {"level5": "level5.gctx", "level4": "level4.gctx", "siginfo": "siginfo.txt", "geneinfo": "geneinfo.txt"}
SMALL = {
    "compendium": "small",
    "simulation": {"n_signatures": 240},
    "apc": {"null_groups": 50},
    "targets": {
        "general": {"target_size": 40, "test_size": 30},
        "high_apc": {"min_apc": 0.1, "target_size": 10, "test_size": 8},
    },
    "model": {"hidden": [16], "latent": 4},
    "trajectory": {"epochs": 16},
    "score": {"shards": 2},
    "curves": {"quantiles": [0.3], "replicates": 2, "shards": 2, "epochs": 2, "batch_size": 32},
    "drug_targets": {
        "quantiles": [0.3],
        "replicates": 2,
        "min_profiles": 1,
        "embedding": 4,
        "hidden": [16],
        "epochs": 2,
        "batch_size": 32,
    },
    "statistics": {"bootstrap": 50},
}

WITHOUT_SIMULATION = {key: value for key, value in SMALL.items() if key != "simulation"}


def write_release(folder):
    """Write a small release to a folder, with FILES among its files."""
    others = {
        name: folder / f"{name}.txt" for name in ("instinfo", "compoundinfo", "truth_signatures", "truth_profiles")
    }
    simulate_release(**{key: folder / name for key, name in FILES.items()}, **others, n_signatures=60)


@pytest.fixture(scope="session")
def snakemake():
    """Runs the workflow with its results in a folder: snakemake(folder, config, *arguments) -> CompletedProcess."""

    def run(folder, config, *arguments):
        (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        command = [
            sys.executable,
            "-m",
            "snakemake",
            "--snakefile",
            str(ROOT / "Snakefile"),
            "--directory",
            str(folder),
        ]
        command += ["--cores", "2", "--scheduler", "greedy", "--configfile", str(folder / "config.yaml"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"NO_COLOR": "1"})

    return run


@pytest.fixture(scope="session")
def small(snakemake, tmp_path_factory):
    """The whole workflow, run once on a small made-up release; the folder of its results."""
    folder = tmp_path_factory.mktemp("small")
    done = snakemake(folder, SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder
