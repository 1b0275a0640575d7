from math import prod

from dvgs.studies.datasets.catalogue import FILES, check_files
from dvgs.workflow.study_config import read_studies

# Corruption studies have a target of their own (snakemake studies). No rule of the compendium depends on them.
PRESET = config["studies"]["preset"]
DATA = config["studies"]["directory"] or "resources/data"
STUDIED = f"results/studies/{PRESET}"
STUDY_LOGS = f"logs/studies/{PRESET}"
STUDY_BENCHMARKS = f"benchmarks/studies/{PRESET}"
GRID_SHARD = 72  # trainings per job, which take some minutes
try:
    STUDIES = read_studies(
        config["studies"]["file"] or HOME / "config/studies.yaml",
        PRESET,
        HOME / "workflow/schemas/studies.schema.yaml",
    )
    if config["studies"]["directory"]:
        for name in sorted({study["data"] for study in STUDIES.values()} & {*FILES}):
            check_files(name, Path(DATA, name))
except InputError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(1)


wildcard_constraints:
    study="|".join(STUDIES),
    replicate=r"\d+",
    method="[a-z_]+",


def study_of(wildcards):
    """The settings of a study."""
    return STUDIES[wildcards.study]


def model_of(wildcards):
    """The settings of a study's models."""
    return {key: study_of(wildcards)[key] for key in ("hidden", "latent", "norm")}


def data_of(wildcards):
    """The files from which a study is drawn."""
    name = study_of(wildcards)["data"]
    if name == "l1000":
        return {
            "signatures": rules.ingest.output.signatures,
            "apc": rules.compute_apc.output.apc,
        }
    return {f"file{k}": f"{DATA}/{name}/{file}" for k, file in enumerate(FILES[name])}


def runs_of(path):
    """A file for every method and replicate of a study, methods first."""
    return lambda wildcards: expand(
        path,
        study=wildcards.study,
        method=study_of(wildcards)["methods"],
        replicate=range(study_of(wildcards)["replicates"]),
    )


def studies_with(key):
    """The studies that have an optional key."""
    return [name for name, study in STUDIES.items() if key in study]


def grid_shards(wildcards):
    """The jobs among which the trainings of a grid are divided."""
    factors = study_of(wildcards)["hyperparameters"].values()
    n = prod(len(levels) for levels in factors if isinstance(levels, list))
    return range(-(-n // GRID_SHARD))


def finished(path):
    """The file of every study that is finished."""
    return lambda wildcards: [
        file for file in expand(path, study=STUDIES) if Path(file).exists()
    ]
