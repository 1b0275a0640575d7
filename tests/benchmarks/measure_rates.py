"""Measures the rates of dvgs.workflow.run_time on small synthetic releases and writes them beside it, to rates.yaml."""

import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import rehearse
from scipy.optimize import nnls

from dvgs.workflow import run_time
from dvgs.workflow.config import check_config

# Shares of the full number of profiles, and settings. They differ so that the fit can separate the kinds of work.
RUNS = (  # scale, epochs of trajectory, curves and drug targets, width of embeddings, resamples
    (0.01, 3, 1, 1, 256, 20),
    (0.02, 40, 2, 4, 256, 400),
    (0.04, 10, 1, 1, 4096, 50),
    (0.08, 5, 1, 1, 256, 20),
)
SHARED = ("trained", "scored")
HEAD = """\
# Seconds of CPU that a stage takes in one thread, made by `make rates`: of a job's start, and for
#   read, written       a GB
#   trained, scored     10^12 multiplications of forward passes
#   updated             10^12 numbers of embeddings, in every step
#   resampled           10^9 profiles, in every resample
#   profiles, laid_out  10^6 profiles
"""


def measure(folder, scale, trajectory, curves, drugs, embedding, bootstrap):
    """Run a small release; returns the seconds of every stage and its work."""
    n, release = round(rehearse.N_SIGNATURES * scale), folder / "release"
    rehearse.write_release(release, n, round(rehearse.N_REPLICATES * scale))
    settings = {
        "trajectory": {"epochs": trajectory},
        "curves": {"quantiles": [0.5], "replicates": 1, "epochs": curves},
        "drug_targets": {"quantiles": [0.5], "replicates": 1, "epochs": drugs, "embedding": embedding},
        "statistics": {"bootstrap": bootstrap},
        "score": {"shards": 1},
    }
    config = rehearse.make_config(release, n, settings)
    config["targets"]["general"] = {"target_size": min(5000, n // 4), "test_size": n // 10}
    rehearse.run(folder, config, 1)
    stages = rehearse.measure(folder)
    check_config(config, rehearse.ROOT / "workflow/schemas/config.schema.yaml")
    stages["work"] = [
        run_time.work(stage, config, n, rehearse.N_GENES, rehearse.gigabytes(stage, release, n))
        for stage in stages.index
    ]
    return stages


def kinds(work):
    """The kinds of work that take time on a CPU; steps count only on a GPU."""
    return [kind for kind in work if kind != "steps"]


def fit(runs):
    """{stage: {kind of work: rate}} by least squares of relative errors, none below zero, all stages at once.

    Training and scoring have one rate each for all stages, because their products are the same everywhere.
    """
    rows = [
        {(stage, "start"): 1.0}
        | {("" if kind in SHARED else stage, kind): row["work"][kind] for kind in kinds(row["work"])}
        for stages in runs
        for stage, row in stages.iterrows()
    ]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    amounts = np.array([[row.get(column, 0.0) for column in columns] for row in rows])
    measured = np.concatenate([stages["cpu"] for stages in runs])
    rates = dict(zip(columns, nnls(amounts / measured[:, None], np.ones(len(measured)))[0], strict=True))
    return {
        stage: {"start": rates[stage, "start"]}
        | {kind: rates["" if kind in SHARED else stage, kind] for kind in kinds(work)}
        for stage, work in runs[0]["work"].items()
    }


def main():
    folder, runs = Path(tempfile.mkdtemp(dir=rehearse.ROOT)), []
    try:
        for settings in RUNS:
            runs.append(measure(folder / str(settings[0]), *settings))
            shutil.rmtree(folder / str(settings[0]))
    finally:
        shutil.rmtree(folder)
    found = fit(runs)
    lines = [f"# {time.strftime('%Y-%m-%d')}, {rehearse.machine()}"]
    for stage in run_time.STAGES:
        rates = ", ".join(f"{kind}: {rate:.4g}" for kind, rate in found[stage].items())
        seconds = ", ".join(f"{stages.loc[stage, 'cpu']:.1f}" for stages in runs)
        lines.append(f"{stage}: {{{rates}}} # from {seconds}")
    text = HEAD + "\n".join(lines) + "\n"
    run_time.RATES.write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
