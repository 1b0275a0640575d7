"""Value every profile by every baseline, for all targets."""

import pandas as pd

from dvgs.io.files import write_parquet
from dvgs.methods.evidence import value
from dvgs.workflow.job import job


def main(input, output, targets, seed):
    apc = pd.read_parquet(input.apc)["apc"].to_numpy()
    paths = input.splits, input.scalings, input.firsts, input.seconds, output.baselines
    for target, split, scaling, first, second, path in zip(targets, *paths, strict=True):
        tables = pd.read_parquet(split), pd.read_parquet(scaling)
        write_parquet(path, value(target, input.signatures, apc, *tables, first, second, seed))


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, **snakemake.params)
