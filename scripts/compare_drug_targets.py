"""Compare compounds that share a drug target with others, after training on what each method keeps."""

import numpy as np
import pandas as pd

from dvgs.compendium.profiles import Profiles
from dvgs.devices import pick_device
from dvgs.evaluation.drug_targets import DrugTargetSettings, compare_drug_targets, read_drug_targets
from dvgs.io.files import write_csv
from dvgs.io.h5ad import read_obs
from dvgs.seeds import derive_seed
from dvgs.workflow.job import job


def main(input, output, target, similarity, settings, bootstrap, device, seed):
    drug_targets = read_drug_targets(input.compoundinfo)
    obs = read_obs(input.signatures)
    values = pd.read_parquet(input.values).set_index("profile_id")
    source = np.flatnonzero(values.loc[obs.index, "role"] == "source")
    profiles, device = Profiles(input.signatures, pd.read_parquet(input.scaling)), pick_device(device)
    methods = pd.read_parquet(input.baselines).set_index("profile_id").assign(dvgs=values[similarity])
    table = compare_drug_targets(
        lambda rows: profiles.for_training(source[rows], device),
        obs.iloc[source],
        methods,
        drug_targets,
        DrugTargetSettings.from_config(bootstrap, **settings),
        derive_seed(seed, "drug_targets", target),
    )
    write_csv(output.table, table)


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, snakemake.wildcards.target, **snakemake.params)
