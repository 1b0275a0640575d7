"""Value every profile by every baseline."""

import numpy as np
import pandas as pd

from dvgs.baselines import METHODS, Evidence
from dvgs.files import write_parquet
from dvgs.jobs import job
from dvgs.profiles import Profiles
from dvgs.seeds import generator
from dvgs.splits import valued_rows
from dvgs.training import reconstruct
from dvgs.trajectory import Trajectory


def main(input, output, target, seed):
    split = pd.read_parquet(input.split)
    with Profiles(input.signatures, pd.read_parquet(input.scaling)) as file:
        profiles = file.rows(np.arange(len(file)))

    def reconstruction():
        found = np.empty_like(profiles)
        for draw, path in (("first", input.first), ("second", input.second)):
            rows = valued_rows(split, draw)
            with Trajectory(path) as trajectory:
                trajectory.at(len(trajectory) - 1)
                found[rows] = reconstruct(trajectory.model, profiles[rows])
        return found

    apc = pd.read_parquet(input.apc)["apc"].to_numpy()
    table = {"profile_id": split["profile_id"]}
    for name, value in METHODS.items():
        table[name] = value(Evidence(profiles, apc, reconstruction, generator(seed, "baseline", name, target)))
    write_parquet(output.baselines, pd.DataFrame(table))


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, snakemake.wildcards.target, **snakemake.params)
