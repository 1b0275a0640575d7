"""Value every profile by every baseline, for all targets."""

import pandas as pd

from dvgs.compendium.profiles import Profiles
from dvgs.compendium.splits import valued_rows
from dvgs.io.files import write_parquet
from dvgs.methods.evidence import trained, value
from dvgs.seeds import generator
from dvgs.workflow.job import job


def main(input, output, targets, seed):
    apc = pd.read_parquet(input.apc)["apc"].to_numpy()
    paths = input.splits, input.scalings, input.firsts, input.seconds, output.baselines
    for target, split, scaling, first, second, path in zip(targets, *paths, strict=True):
        split = pd.read_parquet(split)
        profiles = Profiles(input.signatures, pd.read_parquet(scaling))
        models = [(valued_rows(split, draw), trained(path)) for draw, path in (("first", first), ("second", second))]
        table = value(profiles, apc, models, lambda name, target=target: generator(seed, "baseline", name, target))
        table.insert(0, "profile_id", split["profile_id"])
        write_parquet(path, table)


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, **snakemake.params)
