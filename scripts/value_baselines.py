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


def trained(path):
    """The model at the end of a trajectory."""
    with Trajectory(path) as trajectory:
        trajectory.at(len(trajectory) - 1)
        return trajectory.model


def main(input, output, target, seed):
    split = pd.read_parquet(input.split)
    profiles = Profiles(input.signatures, pd.read_parquet(input.scaling))
    models = [
        (valued_rows(split, draw), trained(path)) for draw, path in (("first", input.first), ("second", input.second))
    ]

    def reconstruction(rows, x):
        found = np.empty_like(x)
        for own, model in models:
            inside = np.isin(rows, own)
            found[inside] = reconstruct(model, x[inside])
        return found

    apc = pd.read_parquet(input.apc)["apc"].to_numpy()
    table = {"profile_id": split["profile_id"]}
    for name, value in METHODS.items():
        table[name] = value(Evidence(apc, profiles.blocks, reconstruction, generator(seed, "baseline", name, target)))
    write_parquet(output.baselines, pd.DataFrame(table))


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, snakemake.wildcards.target, **snakemake.params)
