"""Correlate DVGS values with APC, overall and by stratum."""

import pandas as pd

from dvgs.evaluation.apc_correlations import correlate_strata
from dvgs.io.files import write_csv
from dvgs.io.h5ad import read_obs
from dvgs.seeds import generator
from dvgs.workflow.job import job


def main(input, output, target, similarity, bootstrap, seed):
    table = correlate_strata(
        pd.read_parquet(input.values),
        pd.read_parquet(input.apc),
        read_obs(input.signatures),
        similarity,
        bootstrap,
        generator(seed, "correlate", target),
    )
    write_csv(output.correlations, table)


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, snakemake.wildcards.target, **snakemake.params)
