import sys
from math import ceil
from pathlib import Path

HOME = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent.parent
sys.path.insert(0, str(HOME / "scripts"))

import h5py

from dvgs.errors import InputError
from dvgs.io.gctx import gctx_files
from dvgs.methods import registry
from dvgs.workflow import run_time
from dvgs.workflow.config import check_config
from dvgs.workflow.inputs import NEEDED, input_kind, input_paths, settle_selection
from dvgs.workflow.slurm import keep_asking, remedies, watch_queue

SIMULATED = "simulation" in config
try:
    settle_selection(config)
    check_config(config, HOME / "workflow/schemas/config.schema.yaml")
    INPUT = input_paths(config)
except InputError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(1)

KIND = input_kind(config)
RESULTS = f"results/{config['compendium']}"
LOGS = f"logs/{config['compendium']}"
BENCHMARKS = f"benchmarks/{config['compendium']}"
TARGETS = list(config["targets"])
METHODS = ["dvgs", *registry.BASELINES]
SHARDS = range(config["score"]["shards"])
# The replicates of each curve job. There are never more jobs than replicates.
CURVE_SHARDS = [
    list(range(config["curves"]["replicates"]))[shard :: config["curves"]["shards"]]
    for shard in range(min(config["curves"]["shards"], config["curves"]["replicates"]))
]
# The cutoff must be a point of the curves, because the report says what it did to R².
CUTOFF = config["clean"]["cutoff"]
QUANTILES = sorted(
    {
        0.0,
        *config["curves"]["quantiles"],
        *([] if isinstance(CUTOFF, str) else [CUTOFF]),
    }
)


wildcard_constraints:
    target="|".join(TARGETS),
    shard=r"\d+",


def memory(base, factor=1, of=None):
    """mem_mb: base (MB) plus factor times the size of the input or of its files `of`, times the attempt."""

    def mem_mb(wildcards, input, attempt):
        size = (
            input.size_mb
            if of is None
            else sum(Path(input[name]).stat().st_size for name in of) / 1e6
        )
        return int((base + factor * size) * attempt)

    return mem_mb


def minutes(base):
    """runtime: base (minutes), times the attempt."""
    return lambda wildcards, attempt: ceil(base * attempt)


def foreseen(stage):
    """runtime: 15 minutes plus twice what the model of the run time says of a stage, times the attempt."""

    def to_ask(wildcards, input, attempt, threads):
        read, gpu = input.size_mb / 1000, stage in run_time.ON_GPU and gets_gpu(stage)
        largest = run_time.largest_job(
            stage, config, *shape(input), read, wildcards.get("target")
        )
        seconds = run_time.seconds(
            run_time.read_rates(), stage, largest, threads=threads, gpu=gpu
        )
        return ceil(15 + 2 * seconds / 60) * attempt

    return to_ask


def shape(input):
    """Profiles and genes of the compendium, from a matrix among the inputs. Without one they have no effect."""
    for name in ("signatures", "latents"):
        if name in input.keys():
            path = input[name] if isinstance(input[name], str) else input[name][0]
            Path(
                path
            ).stat()  # Snakemake handles the error of stat, but not that of h5py
            with h5py.File(path, "r") as file:
                return file["X"].shape
    return 1, 1


def gets_gpu(rule):
    """Whether the profile or the command line gives a GPU to a rule."""
    given = workflow.resource_settings.overwrite_resources.get(rule, {})
    return any(
        str(resource.raw) != "0"
        for name, resource in given.items()
        if name in ("gpu", "gres")
    )
