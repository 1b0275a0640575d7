"""Join the shards: one row per profile, in the order of the compendium, and a table of how sure the ranking is."""

import pandas as pd

from dvgs.io.files import write_csv, write_parquet
from dvgs.valuation.values import gather
from dvgs.workflow.job import job


def main(input, output):
    shards = [pd.read_parquet(path) for path in input.shards]
    values, calibration, convergence = gather(shards, pd.read_parquet(input.split)["profile_id"])
    write_parquet(output.values, values)
    write_parquet(output.calibration, calibration)
    write_csv(output.convergence, convergence)


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output)
