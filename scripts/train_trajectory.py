"""Train the autoencoder on both targets and keep every step."""

import pandas as pd
import torch

from dvgs.jobs import job
from dvgs.models import pick_device
from dvgs.profiles import Profiles
from dvgs.seeds import derive_seed
from dvgs.splits import target_rows
from dvgs.trajectory import record_trajectory


def main(input, output, target, model, trajectory, device, seed):
    split = pd.read_parquet(input.split)
    with Profiles(input.signatures, pd.read_parquet(input.scaling)) as profiles:
        for draw, path in (("first", output.first), ("second", output.second)):
            x = torch.from_numpy(profiles.rows(target_rows(split, draw))).to(pick_device(device))
            draw_seed = derive_seed(seed, "trajectory", target, draw)
            record_trajectory(path, x, **model, **trajectory, seed=draw_seed)


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, snakemake.wildcards.target, **snakemake.params)
