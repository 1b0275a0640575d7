import shutil
import sys
from pathlib import Path

HOME = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent.parent
sys.path.insert(0, str(HOME / "scripts"))

from dvgs.cluster import remedies, watch_queue
from dvgs.configuration import (
    NEEDED,
    check_config,
    input_kind,
    input_paths,
    settle_selection,
)
from dvgs.errors import InputError

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
METHODS = ["dvgs", "random", "apc", "profile_norm", "reconstruction_error"]
SHARDS = range(config["score"]["shards"])
# The replicates that each curve job traces; never more jobs than replicates.
CURVE_SHARDS = [
    list(range(config["curves"]["replicates"]))[shard :: config["curves"]["shards"]]
    for shard in range(min(config["curves"]["shards"], config["curves"]["replicates"]))
]
# The cutoff must be a point of the curves, for the report says what it did to R².
CUTOFF = config["clean"]["cutoff"]
QUANTILES = sorted(
    {0.0, *config["curves"]["quantiles"], *([] if CUTOFF == "auto" else [CUTOFF])}
)


wildcard_constraints:
    target="|".join(TARGETS),
    shard=r"\d+",


def memory(base, factor=1, of=None):
    """mem_mb: a base and a multiple of the size of the input, or of one of its files, more with every attempt."""

    def mem_mb(wildcards, input, attempt):
        size = Path(input[of]).stat().st_size / 1e6 if of else input.size_mb
        return int((base + factor * size) * attempt)

    return mem_mb


def minutes(base, per_gb=0):
    """runtime: a base and a share for each GB of input, more with every attempt."""
    return lambda wildcards, input, attempt: int(
        (base + per_gb * input.size_mb / 1000) * attempt
    )
