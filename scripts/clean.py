"""Choose the cutoff, drop what lies below, and write the cleaned compendium with its autoencoder and latent space."""

import numpy as np
import pandas as pd
import torch

from dvgs.compendium.profiles import Profiles
from dvgs.devices import pick_device
from dvgs.filtering.cleaning import encode, train_final, with_values
from dvgs.filtering.cutoff import decide, dropped_profiles
from dvgs.io.files import write_csv, write_json, written_whole
from dvgs.io.gctx import write_gctx
from dvgs.io.h5ad import read_obs, read_var, write_h5ad
from dvgs.progress import logger
from dvgs.seeds import derive_seed
from dvgs.training.schedule import Schedule
from dvgs.workflow.job import job


def main(input, output, target, similarity, cutoff, training, model, device, seed):
    values, calibration = pd.read_parquet(input.values), pd.read_parquet(input.calibration)
    kept, decision = decide(values, calibration, pd.read_csv(input.curves), similarity, cutoff)
    logger.info("%(n_kept)d of %(n_in)d profiles kept, quantile %(quantile)g", decision)
    obs = with_values(read_obs(input.signatures), values, pd.read_parquet(input.apc))
    dropped, obs, rows = dropped_profiles(obs, kept, decision), obs[kept], np.flatnonzero(kept)
    scaled = Profiles(input.signatures, pd.read_parquet(input.scaling))
    x = scaled.for_training(rows, pick_device(device))
    network = train_final(x, model, Schedule(**training), derive_seed(seed, "clean", target))
    latent = encode(network, (block for _, block in scaled.blocks(rows)))
    # Given a path, torch would write its name into the file.
    with written_whole(output.autoencoder) as partial, open(partial, "wb") as file:
        torch.save({name: value.cpu() for name, value in network.state_dict().items()}, file)
    write_cleaned(input.signatures, rows, obs, latent, output)
    write_csv(output.dropped, dropped, sep="\t")
    write_json(output.decision, decision)


def write_cleaned(signatures, rows, obs, latent, output):
    """Write the unscaled profiles that stay: GCTX, and .h5ad with their latent space."""
    as_read, var = Profiles(signatures), read_var(signatures)
    write_gctx(output.gctx, (block for _, block in as_read.blocks(rows)), obs.index, var.index, obs, var)
    write_h5ad(output.latent, (block for _, block in as_read.blocks(rows)), obs, var, obsm={"X_latent": latent})


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, snakemake.wildcards.target, **snakemake.params)
