from dvgs.public_data import FILES
from dvgs.study_config import read_studies

# Corruption studies: a door of their own (snakemake studies), nothing of the compendium waits for them.
PRESET = config["studies"]["preset"]
DATA = config["studies"]["directory"]
STUDIED = f"results/studies/{PRESET}"
STUDY_LOGS = f"logs/studies/{PRESET}"
STUDY_BENCHMARKS = f"benchmarks/studies/{PRESET}"
try:
    STUDIES = read_studies(
        config["studies"]["file"] or HOME / "config/studies.yaml",
        PRESET,
        HOME / "workflow/schemas/studies.schema.yaml",
    )
except InputError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(1)


wildcard_constraints:
    study="|".join(STUDIES),
    replicate=r"\d+",
    method="[a-z_]+",


def study_of(wildcards):
    return STUDIES[wildcards.study]


def data_of(wildcards):
    """The files that a study is drawn from."""
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
