"""The model of the run time: how long the stages of the workflow take.

Jobs ask for time by it, and large compendia are planned with it. The time of a job is that of its start and, for every
kind of work that its stage does, a rate times the amount. `make rates` measures the rates of one CPU thread on small
synthetic releases and writes them to rates.yaml. `make rehearse` shows measured times beside predicted ones. The speed
of a GPU is given below.
"""

from functools import cache
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

import yaml

from dvgs.limits import LAID_OUT, MOST_PRODUCTS, largest_chunk
from dvgs.methods.registry import BASELINES, METHODS

RATES = Path(__file__).with_name("rates.yaml")
PERTURBAGENS = 33_000 / 720_216  # per profile, in LINCS 2020
DRAWS = 2  # trajectories of a target
# Trainings of a filter curve at a quantile, and without dropping. Each method drops low and high values. All methods do
# so among the profiles that have an APC; methods that need no replicates do so among all profiles, too.
COMPARED = [METHODS["dvgs"], *(METHODS[name] for name in BASELINES)]
AT_QUANTILE, AT_NONE = 2 * sum(1 if "replicates" in method.needs else 2 for method in COMPARED), 2

# A large GPU: operations per second when scoring in float32 (less than tests/benchmarks/cuda_h200.txt shows). Assumed
# are the seconds in which the kernels of a training step are launched, and the bytes per second that Adam moves.
GPU_FLOPS, GPU_STEP, GPU_BYTES = 30e12, 2.5e-3, 1.5e12
FLOPS = 6  # operations of a gradient for every multiplication of the forward pass
UPDATE_BYTES = 28  # that Adam reads and writes for every parameter

STAGES = ("ingest", "compute_apc", "draw_split", "train_trajectory", "score_shard", "gather_values", "value_baselines",
          "trace_curve", "gather_curves", "compare_drug_targets", "correlate", "clean", "embed",
          "write_report")  # fmt: skip
ONCE = (
    "ingest",
    "compute_apc",
    "value_baselines",
    "embed",
    "write_report",
)  # the others: once for every target
ON_GPU = ("train_trajectory", "score_shard", "trace_curve", "compare_drug_targets", "clean")
DIVIDED = ("trained", "scored", "updated")  # kinds of work that are divided among threads, or that a GPU does
THREAD = 0.5  # share of the first thread's speed that each further thread adds: assumed, cautiously
PLENTY = 10**6  # cores, more than a run can use

Config = dict[str, Any]


def work(
    stage: str, config: Config, profiles: int, genes: int, gigabytes: float, target: str | None = None
) -> dict[str, float]:
    """What all jobs of a stage do, for a target or once for all targets: {kind of work: amount}, as in rates.yaml.

    config: complete, as check_config leaves it. profiles, genes: of the compendium. gigabytes: of the files that a job
    reads. target: a name in config["targets"], by default the first.
    """
    model, curves = config["model"], config["curves"]
    products = 2 * multiplications(genes, *model["hidden"], model["latent"])
    target = target or next(iter(config["targets"]))
    n_targets = len(config["targets"]) if stage in ONCE else 1
    read, counted = {"read": gigabytes}, {"profiles": n_targets * profiles / 1e6}
    if stage == "train_trajectory":
        return _trajectory_work(config, genes, products, target)
    if stage == "score_shard":
        return {"scored": profiles * trajectory_length(config, target)[2] * products / 1e12}
    if stage == "trace_curve":
        trainings = AT_NONE + AT_QUANTILE * n_quantiles(curves)
        found = _training_work(curves, trainings * curves["replicates"], profiles, products)
        return found | {"steps": found["steps"] / stacked(products, curves["batch_size"])}
    if stage == "compare_drug_targets":
        return _drug_target_work(config["drug_targets"], profiles, genes)
    if stage == "clean":
        return read | _training_work(curves, 1, profiles, products)
    if stage == "correlate":
        return counted | {"resampled": profiles * config["statistics"]["bootstrap"] / 1e9}
    if stage == "embed":
        return counted | {"laid_out": n_targets * min(profiles, LAID_OUT) / 1e6}
    if stage in ("gather_values", "write_report"):
        return counted
    if stage == "value_baselines":
        return {"read": n_targets * gigabytes}
    return {} if stage == "gather_curves" else read


def _training_work(settings: Config, trainings: int, profiles: int, products: int) -> dict[str, float]:
    """Some trainings on all profiles; products: multiplications of a profile's forward pass."""
    passes = trainings * settings["epochs"]
    steps = passes * ceil(profiles / settings["batch_size"])
    return {"trained": passes * profiles * products / 1e12, "steps": steps}


def _trajectory_work(config: Config, genes: int, products: int, target: str) -> dict[str, float]:
    """The trajectories of a target, with its natural gradient if the config asks for it."""
    model, batch_size = config["model"], config["trajectory"]["batch_size"]
    n_target, steps, rows = trajectory_length(config, target)
    trained = steps * min(n_target, batch_size) * products
    if config["trajectory"]["natural"]:
        trained += rows * 2 * curvature(n_target, genes, *model["hidden"], model["latent"])
        steps += rows * ceil(n_target / batch_size)
    return {"trained": DRAWS * trained / 1e12, "steps": DRAWS * steps, "written": DRAWS * rows * products * 8 / 1e9}


def _drug_target_work(settings: Config, profiles: int, genes: int) -> dict[str, float]:
    """The trainings that compare drug targets, and the updates of their embeddings."""
    trainings = 1 + len(settings["methods"]) * n_quantiles(settings)
    network = multiplications(2 * settings["embedding"] + 2, *settings["hidden"], genes)
    trained = _training_work(settings, trainings * settings["replicates"], profiles, network)
    embeddings = profiles * PERTURBAGENS * settings["embedding"]
    return trained | {"updated": trained["steps"] * embeddings / 1e12}


def multiplications(*widths: int) -> int:
    """Multiplications of one sample's forward pass through Linear layers of these widths."""
    return sum(a * b for a, b in pairwise(widths))


def curvature(n: int, *widths: int) -> float:
    """A third of the multiplications of a natural gradient over n samples, so that the rate of forward passes applies.

    (A gradient has three times the multiplications of its forward pass.) They are those of every sample, and those of
    two Cholesky decompositions and their solutions.
    """
    layers = pairwise(widths)
    return sum(n * (a * a + 3 * a * b + b * b) + (a**3 + b**3) / 6 + a * b * (a + b) for a, b in layers) / 3


def stacked(products: int, batch_size: int) -> float:
    """How many models of a filter curve a GPU trains together, as dvgs.training.stacked decides it."""
    return min(max(MOST_PRODUCTS["cuda"] // (max(batch_size, 128) * products), 1), 256)


def n_quantiles(settings: Config) -> int:
    """The number of shares to drop, without the share 0."""
    return len({*settings["quantiles"]} - {0})


def trajectory_length(config: Config, target: str) -> tuple[int, int, int]:
    """Profiles on which a trajectory is trained, and over all restarts its steps and its rows."""
    settings, trajectory = config["targets"][target], config["trajectory"]
    n = settings["target_size"] - round(settings["target_size"] * settings["validation_share"])
    steps = trajectory["epochs"] * ceil(n / trajectory["batch_size"])
    return n, trajectory["restarts"] * steps, trajectory["restarts"] * ceil(steps / trajectory["every"])


def largest_share(stage: str, config: Config, profiles: int) -> float:
    """The share of a stage's work, for one target, that the largest job does."""
    if stage == "score_shard":
        chunks = ceil(profiles / largest_chunk(profiles))
        return ceil(chunks / config["score"]["shards"]) / chunks
    if stage == "trace_curve":
        return ceil(config["curves"]["replicates"] / config["curves"]["shards"]) / config["curves"]["replicates"]
    return 1


def seconds(
    rates: dict, stage: str, work: dict[str, float], jobs: int = 1, threads: int = 1, gpu: bool = False
) -> float:
    """The time that some work takes on CPU threads or on a GPU, with the start of `jobs` jobs.

    rates: as read_rates returns them. work: as `work` or `largest_job` returns it.
    """
    total = jobs * rates[stage]["start"]
    for kind, rate in rates[stage].items():
        if kind in DIVIDED:
            total += 0 if gpu else rate * work[kind] / (1 + THREAD * (threads - 1))
        elif kind != "start":
            total += rate * work[kind]
    if gpu:
        products, updated = work.get("trained", 0) + work.get("scored", 0), work.get("updated", 0)
        total += 1e12 * (FLOPS * products / GPU_FLOPS + UPDATE_BYTES * updated / GPU_BYTES)
        total += GPU_STEP * work.get("steps", 0)
    return total


def largest_job(
    stage: str, config: Config, profiles: int, genes: int, gigabytes: float, target: str | None = None
) -> dict[str, float]:
    """What the job of a stage does that has most work; arguments and result as for `work`."""
    share = largest_share(stage, config, profiles)
    return {kind: amount * share for kind, amount in work(stage, config, profiles, genes, gigabytes, target).items()}


@cache
def read_rates() -> dict[str, dict[str, float]]:
    """{stage: {kind of work: seconds for an amount of 1, "start": seconds of a job without work}}."""
    return yaml.safe_load(RATES.read_text())


def plan(
    config: Config, profiles: int, genes: int, gigabytes: dict[str, float], gpus: int = 0, cores: int = PLENTY
) -> dict[str, float]:
    """The whole run: {stage: hours until all its jobs are done}.

    gigabytes: {stage: GB of input} of the stages that read a release, "" for all others. Stages follow one another.
    The jobs of a stage, for all targets, share the GPUs or cores. Without GPUs a job has as many threads as the config
    says, but no more than there are cores.
    """
    hours = {}
    threads = min(config["threads"], cores)
    for stage in STAGES:
        targets = [None] if stage in ONCE else list(config["targets"])
        gpu = gpus > 0 and stage in ON_GPU
        read = gigabytes.get(stage, gigabytes[""])
        jobs = [largest_job(stage, config, profiles, genes, read, target) for target in targets]
        longest = max(seconds(read_rates(), stage, job, threads=threads, gpu=gpu) for job in jobs)
        n_jobs = len(targets) * round(1 / largest_share(stage, config, profiles))
        rounds = max(1, ceil(n_jobs / (gpus if gpu else cores // threads)))
        hours[stage] = longest * rounds / 3600
    return hours
