"""Compare values with the planted truth; the only rule that reads it."""

import pandas as pd

from dvgs.baselines import METHODS
from dvgs.detection import detect_faults
from dvgs.files import write_csv
from dvgs.jobs import job
from dvgs.seeds import generator
from dvgs.values import SIMILARITIES


def main(input, output, target, bootstrap, seed):
    values, baselines = pd.read_parquet(input.values), pd.read_parquet(input.baselines)
    truth = pd.read_csv(input.truth, sep="\t").set_index("sig_id").loc[values["profile_id"]]
    methods = pd.concat([values[list(SIMILARITIES)].add_prefix("dvgs_"), baselines[list(METHODS)]], axis=1)
    rng = generator(seed, "truth", target)
    table = detect_faults(methods, truth, baselines["apc"].notna().to_numpy(), bootstrap, rng)
    write_csv(output.truth, table)


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, snakemake.wildcards.target, **snakemake.params)
