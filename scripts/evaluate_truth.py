"""Compare values with the planted truth; the only rule that reads it."""

import numpy as np
import pandas as pd

from dvgs.columns import SIMILARITIES
from dvgs.evaluation.detection import detect_faults
from dvgs.io.files import write_csv
from dvgs.io.h5ad import read_obs
from dvgs.methods.registry import BASELINES
from dvgs.seeds import generator
from dvgs.workflow.job import job


def read_truth(path, obs):
    """The planted faults of the profiles in obs: DataFrame `noise_sd, fault, n_replicates`, rows as there."""
    truth = pd.read_csv(path, sep="\t", index_col=0, keep_default_na=False).loc[obs.index]
    if "fault" not in truth:  # of single replicates
        faulty = [truth["bad_plate"] == 1, truth["swapped_with"] != "", truth["noise_sd"] > 0]
        truth["fault"] = np.select(faulty, ["bad_plate", "swapped", "noise"], "none")
        truth["n_replicates"] = 1
    return truth


def main(input, output, target, bootstrap, seed):
    values, baselines = pd.read_parquet(input.values), pd.read_parquet(input.baselines)
    truth = read_truth(input.truth, read_obs(input.signatures))
    methods = pd.concat([values[list(SIMILARITIES)].add_prefix("dvgs_"), baselines[BASELINES]], axis=1)
    rng = generator(seed, "truth", target)
    table = detect_faults(methods, truth, baselines["apc"].notna().to_numpy(), bootstrap, rng)
    write_csv(output.truth, table)


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, snakemake.wildcards.target, **snakemake.params)
