"""How long the stages of the workflow take: the model by which jobs ask for time and large compendia are planned.

A job takes the time of its start and, for every kind of work that its stage does, a rate times the amount. The rates,
of one CPU thread, are measured by `make rates` on small synthetic releases and stand in rates.yaml; `make rehearse`
shows beside what it measures what they foretold. What a GPU does stands below.
"""

from functools import cache
from itertools import pairwise
from math import ceil
from pathlib import Path

import yaml

from dvgs.limits import LAID_OUT, largest_chunk
from dvgs.methods.registry import BASELINES, METHODS

RATES = Path(__file__).with_name("rates.yaml")
PERTURBAGENS = 33_000 / 720_216  # a profile, in LINCS 2020
DRAWS = 2  # trajectories of a target
# Trainings of a filter curve at a quantile, and without dropping: all methods drop low and high of the profiles that
# have an APC, and of all profiles those that need no replicates.
COMPARED = [METHODS["dvgs"], *(METHODS[name] for name in BASELINES)]
AT_QUANTILE, AT_NONE = 2 * sum(1 if "replicates" in method.needs else 2 for method in COMPARED), 2

# Of a large GPU: operations in a second of scoring in float32 (less than tests/benchmarks/cuda_h200.txt shows); and
# assumed, the time in which the kernels of a training step are launched, and bytes of memory in a second of Adam.
GPU_FLOPS, GPU_STEP, GPU_BYTES = 30e12, 2.5e-3, 1.5e12
FLOPS = 6  # of a gradient, for every multiplication of the forward pass
UPDATE_BYTES = 28  # that Adam reads and writes for a number

STAGES = ("ingest", "compute_apc", "draw_split", "train_trajectory", "score_shard", "gather_values", "value_baselines",
          "trace_curve", "gather_curves", "compare_drug_targets", "correlate", "clean", "embed",
          "write_report")  # fmt: skip
ONCE = ("ingest", "compute_apc", "value_baselines", "embed", "write_report")  # all other stages once for every target
ON_GPU = ("train_trajectory", "score_shard", "trace_curve", "compare_drug_targets", "clean")
DIVIDED = ("trained", "scored", "updated")  # kinds of work that threads share, or that a GPU does
THREAD = 0.5  # of the first thread's speed each further one is taken to add: assumed, and cautious
PLENTY = 10**6  # cores, more than a run makes use of


def work(stage, config, profiles, genes, gigabytes, target=None):
    """What the jobs of a stage do for a target, or once for all: dict of amounts by kind, in the units of rates.yaml.

    config: complete, as check_config leaves it. profiles, genes: of the compendium. gigabytes: of what a job reads.
    target: a name in config["targets"], by default the first.
    """
    model, curves, drugs = config["model"], config["curves"], config["drug_targets"]
    products = 2 * multiplications(genes, *model["hidden"], model["latent"])
    n_target, steps, rows = trajectory_length(config, target or next(iter(config["targets"])))
    n_targets = len(config["targets"]) if stage in ONCE else 1
    read, counted = {"read": gigabytes}, {"profiles": n_targets * profiles / 1e6}

    def training(passes, products, batch_size):
        n_steps = passes * ceil(profiles / batch_size)
        return {"trained": passes * profiles * products / 1e12, "steps": n_steps}

    if stage == "train_trajectory":
        trained = steps * min(n_target, config["trajectory"]["batch_size"]) * products
        if config["trajectory"]["natural"]:
            trained += rows * 2 * curvature(n_target, genes, *model["hidden"], model["latent"])
            steps += rows * ceil(n_target / config["trajectory"]["batch_size"])
        return {"trained": DRAWS * trained / 1e12, "steps": DRAWS * steps, "written": DRAWS * rows * products * 8 / 1e9}
    if stage == "score_shard":
        return {"scored": profiles * rows * products / 1e12}
    if stage == "trace_curve":
        trainings = AT_NONE + AT_QUANTILE * n_quantiles(curves)
        found = training(trainings * curves["replicates"] * curves["epochs"], products, curves["batch_size"])
        return found | {"steps": found["steps"] / stacked(products, curves["batch_size"])}
    if stage == "compare_drug_targets":
        trainings = 1 + len(drugs["methods"]) * n_quantiles(drugs)
        network = multiplications(2 * drugs["embedding"] + 2, *drugs["hidden"], genes)
        trained = training(trainings * drugs["replicates"] * drugs["epochs"], network, drugs["batch_size"])
        embeddings = profiles * PERTURBAGENS * drugs["embedding"]
        return trained | {"updated": trained["steps"] * embeddings / 1e12}
    if stage == "clean":
        return read | training(curves["epochs"], products, curves["batch_size"])
    if stage == "correlate":
        return counted | {"resampled": profiles * config["statistics"]["bootstrap"] / 1e9}
    if stage == "embed":
        return counted | {"laid_out": n_targets * min(profiles, LAID_OUT) / 1e6}
    if stage in ("gather_values", "write_report"):
        return counted
    if stage == "value_baselines":
        return {"read": n_targets * gigabytes}
    return {} if stage == "gather_curves" else read


def multiplications(*widths):
    """Of one sample's way through Linear layers of these widths."""
    return sum(a * b for a, b in pairwise(widths))


def curvature(n, *widths):
    """Multiplications of a natural gradient over n samples, a third of them, as a gradient has three of a forward pass.

    Those of every sample, and those of two Cholesky decompositions and their solutions.
    """
    layers = pairwise(widths)
    return sum(n * (a * a + 3 * a * b + b * b) + (a**3 + b**3) / 6 + a * b * (a + b) for a, b in layers) / 3


def stacked(products, batch_size):
    """Models of a filter curve that a GPU trains in one step, as dvgs.training.stacked has it."""
    return min(max(20e9 // (max(batch_size, 128) * products), 1), 256)


def n_quantiles(settings):
    return len({*settings["quantiles"]} - {0})


def trajectory_length(config, target):
    """Profiles that a trajectory is trained on, its steps and its rows, over all restarts."""
    settings, trajectory = config["targets"][target], config["trajectory"]
    n = settings["target_size"] - round(settings["target_size"] * settings["validation_share"])
    steps = trajectory["epochs"] * ceil(n / trajectory["batch_size"])
    return n, trajectory["restarts"] * steps, trajectory["restarts"] * ceil(steps / trajectory["every"])


def largest_share(stage, config, profiles):
    """The share of a stage's work for a target that falls to the job that has most of it."""
    if stage == "score_shard":
        blocks = ceil(profiles / largest_chunk(profiles))
        return ceil(blocks / config["score"]["shards"]) / blocks
    if stage == "trace_curve":
        return ceil(config["curves"]["replicates"] / config["curves"]["shards"]) / config["curves"]["replicates"]
    return 1


def seconds(rates, stage, work, jobs=1, threads=1, gpu=False):
    """What the jobs of a stage take together for some work, on CPU threads or each on a GPU."""
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


def job_seconds(stage, config, profiles, genes, gigabytes, target=None, threads=1, gpu=False):
    """What the longest job of a stage takes; arguments as for `work` and `seconds`."""
    share = largest_share(stage, config, profiles)
    amounts = work(stage, config, profiles, genes, gigabytes, target)
    amounts = {kind: amount * share for kind, amount in amounts.items()}
    return seconds(read_rates(), stage, amounts, threads=threads, gpu=gpu)


@cache
def read_rates():
    """{stage: {kind of work: seconds for an amount of 1, "start": seconds of a job without any}}."""
    return yaml.safe_load(RATES.read_text())


def plan(config, profiles, genes, gigabytes, gpus=0, cores=PLENTY):
    """The whole run: {stage: hours until all its jobs are done}.

    gigabytes: {stage: GB of input} of the stages that read a release, "" for all others. Stages follow one another.
    The jobs of a stage, over all targets, share the GPUs or cores; without GPUs a job has the threads that the config
    says, no more than there are cores.
    """
    hours = {}
    threads = min(config["threads"], cores)
    for stage in STAGES:
        targets = [None] if stage in ONCE else list(config["targets"])
        gpu = gpus > 0 and stage in ON_GPU
        read = gigabytes.get(stage, gigabytes[""])
        lengths = [job_seconds(stage, config, profiles, genes, read, target, threads, gpu) for target in targets]
        n_jobs = len(targets) * round(1 / largest_share(stage, config, profiles))
        rounds = max(1, ceil(n_jobs / (gpus if gpu else cores // threads)))
        hours[stage] = max(lengths) * rounds / 3600
    return hours
