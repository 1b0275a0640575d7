"""Train the autoencoder on a target and keep every step."""

import pandas as pd
import torch

from dvgs.jobs import job
from dvgs.models import pick_device
from dvgs.profiles import Profiles
from dvgs.seeds import derive_seed
from dvgs.splits import target_rows
from dvgs.trajectory import record_trajectory


def main(input, output, wildcards, model, trajectory, device, seed):
    rows = target_rows(pd.read_parquet(input.split), wildcards.draw)
    with Profiles(input.signatures, pd.read_parquet(input.scaling)) as profiles:
        x = torch.from_numpy(profiles.rows(rows)).to(pick_device(device))
    seed = derive_seed(seed, "trajectory", wildcards.target, wildcards.draw)
    record_trajectory(output.trajectory, x, **model, **trajectory, seed=seed)


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, snakemake.wildcards, **snakemake.params)
