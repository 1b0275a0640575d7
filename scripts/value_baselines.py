"""Value every profile by every baseline."""

import numpy as np
import pandas as pd
import torch

from dvgs.baselines import METHODS, Evidence
from dvgs.files import write_parquet
from dvgs.jobs import job
from dvgs.profiles import Profiles
from dvgs.seeds import generator
from dvgs.splits import valued_rows
from dvgs.training import predict
from dvgs.trajectory import Trajectory


def trained(path):
    """The model at the end of a trajectory."""
    with Trajectory(path) as trajectory:
        trajectory.at(len(trajectory) - 1)
        return trajectory.model


def main(input, output, wildcards, seed):
    apc, split = pd.read_parquet(input.apc)["apc"].to_numpy(), pd.read_parquet(input.split)
    profiles = Profiles(input.signatures, pd.read_parquet(input.scaling))
    models = [(valued_rows(split, draw), trained(input[draw])) for draw in ("first", "second")]

    def reconstruction(rows, x):
        found = np.empty_like(x)
        for own, model in models:
            inside = np.isin(rows, own)
            found[inside] = predict(model, torch.from_numpy(x[inside])).numpy()
        return found

    table = {"profile_id": split["profile_id"]}
    for name, method in METHODS.items():
        rng = generator(seed, "baseline", name, wildcards.target)
        table[name] = method(Evidence(apc, profiles.blocks, reconstruction, rng))
    write_parquet(output.baselines, pd.DataFrame(table))


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, snakemake.wildcards, **snakemake.params)
