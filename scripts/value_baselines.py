"""Value every profile by every baseline, for all targets."""

import numpy as np
import pandas as pd
import torch

from dvgs.baselines import METHODS, Evidence
from dvgs.compendium.profiles import Profiles
from dvgs.compendium.splits import valued_rows
from dvgs.io.files import write_parquet
from dvgs.jobs import job
from dvgs.seeds import generator
from dvgs.training.fit import predict
from dvgs.valuation.trajectory import Trajectory


def trained(path):
    """The model at the end of a trajectory."""
    with Trajectory(path) as trajectory:
        trajectory.at(len(trajectory) - 1)
        return trajectory.model


def value(target, signatures, apc, split, scaling, first, second, seed):
    """A DataFrame `profile_id` and a column for each of METHODS."""
    profiles = Profiles(signatures, scaling)
    models = [(valued_rows(split, draw), trained(path)) for draw, path in (("first", first), ("second", second))]

    def reconstruction(rows, x):
        found = np.empty_like(x)
        for own, model in models:
            inside = np.isin(rows, own)
            found[inside] = predict(model, torch.from_numpy(x[inside])).numpy()
        return found

    table = {"profile_id": split["profile_id"]}
    for name, method in METHODS.items():
        table[name] = method(Evidence(apc, profiles.blocks, reconstruction, generator(seed, "baseline", name, target)))
    return pd.DataFrame(table)


def main(input, output, targets, seed):
    apc = pd.read_parquet(input.apc)["apc"].to_numpy()
    paths = input.splits, input.scalings, input.firsts, input.seconds, output.baselines
    for target, split, scaling, first, second, path in zip(targets, *paths, strict=True):
        tables = pd.read_parquet(split), pd.read_parquet(scaling)
        write_parquet(path, value(target, input.signatures, apc, *tables, first, second, seed))


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, **snakemake.params)
