"""Compare values with the planted truth; no other rule reads it."""

import pandas as pd

from dvgs.columns import SIMILARITIES
from dvgs.evaluation.detection import detect_faults, name_faults
from dvgs.io.files import write_csv
from dvgs.io.h5ad import read_obs
from dvgs.methods.registry import BASELINES
from dvgs.seeds import generator
from dvgs.workflow.job import job


def main(input, output, target, bootstrap, seed):
    values, baselines = pd.read_parquet(input.values), pd.read_parquet(input.baselines)
    truth = pd.read_csv(input.truth, sep="\t", index_col=0, keep_default_na=False)
    truth = name_faults(truth.loc[read_obs(input.signatures).index])
    methods = pd.concat([values[list(SIMILARITIES)].add_prefix("dvgs_"), baselines[BASELINES]], axis=1)
    rng = generator(seed, "truth", target)
    table = detect_faults(methods, truth, baselines["apc"].notna().to_numpy(), bootstrap, rng)
    write_csv(output.truth, table)


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, snakemake.wildcards.target, **snakemake.params)
