"""Value the source of a study by a shard of the grid of settings of DVGS."""

import numpy as np

from dvgs.devices import pick_device
from dvgs.io.files import write_csv
from dvgs.studies.experiment import make_task, seed_of
from dvgs.studies.sensitivity import find_by_grid, trainings
from dvgs.workflow.job import job


def main(input, output, wildcards, grid, hidden, n_shards, seed, device):
    drawn = np.load(input.drawn)
    seed = seed_of(seed, wildcards.study, 0)
    task = make_task(drawn, hidden=hidden, seed=seed, device=pick_device(device))
    chosen = trainings(grid)[int(wildcards.shard) :: n_shards]
    write_csv(output.found, find_by_grid(task, drawn["corrupted"], chosen, hidden[0], grid["epochs"]))


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, snakemake.wildcards, **snakemake.params)
