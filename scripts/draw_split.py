"""Draw target, validation, test and second target; fit the scaling of genes on the source."""

import numpy as np
import pandas as pd

from dvgs.compendium.profiles import fit_scaling
from dvgs.compendium.splits import draw_split
from dvgs.io.files import write_parquet
from dvgs.io.h5ad import read_obs
from dvgs.seeds import generator
from dvgs.workflow.job import job


def main(input, output, name, target, scale, seed):
    apc = pd.read_parquet(input.apc)["apc"].to_numpy()
    split = draw_split(read_obs(input.signatures), apc, target=name, rng=generator(seed, "split", name), **target)
    source = np.flatnonzero(split["role"] == "source")
    write_parquet(output.split, split)
    write_parquet(output.scaling, fit_scaling(input.signatures, source, scale))


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, snakemake.wildcards.target, **snakemake.params)
