"""Measure one replicate of how the time of DVGS grows with the source and falls with `every`."""

from pathlib import Path

from dvgs.devices import pick_device
from dvgs.io.files import write_csv
from dvgs.studies.datasets.catalogue import read_public_data
from dvgs.studies.experiment import draw, generator_of, make_task, seed_of
from dvgs.studies.scalability import measure
from dvgs.workflow.job import job


def main(input, output, wildcards, study, seed, device):
    data = read_public_data(study["data"], Path(input[0]).parent)
    options = {key: study[key] for key in ("target", "corruption", "scaling", "task")} | {"test_size": study["test"]}
    device = pick_device(device)

    def make(size):
        """Each size has its own split, faults and start: along one trajectory all sizes would have the same errors."""
        own = seed, wildcards.study, f"{wildcards.replicate}-{size}"
        drawn = draw(data.train, data.test, source=size, **options, rng=generator_of(*own))
        task = make_task(drawn, hidden=study["hidden"], norm=study["norm"], seed=seed_of(*own), device=device)
        return task, drawn["corrupted"]

    scale = study["scalability"]
    training = {"epochs": scale["epochs"], "batch_size": study["target"], "lr": scale["learning_rate"]}
    table = measure(make, scale["source"], scale["every"], training)
    write_csv(output.measured, table.assign(replicate=int(wildcards.replicate)))


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, snakemake.wildcards, **snakemake.params)
