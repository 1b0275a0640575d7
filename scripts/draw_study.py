"""Draw one replicate of a study: source, target and test, with their faults."""

from pathlib import Path

from dvgs.devices import pick_device
from dvgs.errors import InputError
from dvgs.io.files import write_npz
from dvgs.studies.datasets.catalogue import read_public_data
from dvgs.studies.datasets.inception import embed, find_inception
from dvgs.studies.experiment import draw, generator_of, read_profiles
from dvgs.workflow.job import job


def main(input, output, study, name, replicate, seed, device):
    if study["data"] == "l1000":
        train, test = read_profiles(input.signatures, input.apc, study["min_apc"])
    else:
        data = read_public_data(study["data"], Path(input[0]).parent)
        train, test = data.train, data.test
    try:
        drawn = draw(
            train,
            test,
            **{key: study[key] for key in ("source", "target", "corruption", "scaling", "task")},
            test_size=study["test"],
            rng=generator_of(seed, name, replicate),
        )
    except InputError as error:
        raise InputError("studies", f"{name}.{error.field}", error.problem, error.remedy) from None
    if study["features"] == "auto" and (inception := find_inception()):
        for who in ("source_x", "target_x", "test_x"):
            drawn[who] = embed(inception, drawn[who], pick_device(device))
    write_npz(output.drawn, drawn)


if __name__ == "__main__":
    with job(snakemake):
        wildcards = snakemake.wildcards
        main(snakemake.input, snakemake.output, name=wildcards.study, replicate=wildcards.replicate, **snakemake.params)
