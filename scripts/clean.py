"""Choose the cutoff, drop what lies below, and write the cleaned compendium with its autoencoder and latent space."""

import numpy as np
import pandas as pd
import torch

from dvgs.columns import APC_COLUMNS
from dvgs.compendium.profiles import Profiles
from dvgs.devices import pick_device
from dvgs.filtering.cleaning import encode, train_final
from dvgs.filtering.cutoff import choose_quantile, cut, r2_at, stability
from dvgs.io.files import write_csv, write_json, written_whole
from dvgs.io.gctx import write_gctx
from dvgs.io.h5ad import read_obs, read_var, write_h5ad
from dvgs.progress import logger
from dvgs.seeds import derive_seed
from dvgs.workflow.job import job


def main(input, output, target, similarity, cutoff, training, model, device, seed):
    values, calibration = pd.read_parquet(input.values), pd.read_parquet(input.calibration)
    curves = pd.read_csv(input.curves)
    quantile = choose_quantile(curves, cutoff)
    kept, (threshold, threshold_second) = cut(values, calibration, similarity, quantile)
    decision = {"cutoff": cutoff, "quantile": quantile, "similarity": similarity, "threshold": threshold}
    decision |= {"threshold_second": threshold_second, "n_validation": int((values["role"] == "validation").sum())}
    decision["stability"] = stability(values, calibration, similarity)
    decision |= {"n_in": len(kept), "n_kept": int(kept.sum()), "n_dropped": int((~kept).sum())}
    decision["r2_before"], decision["r2_before_sd"] = r2_at(curves, 0)
    decision["r2_after"], decision["r2_after_sd"] = r2_at(curves, quantile)
    logger.info("%(n_kept)d of %(n_in)d profiles kept, quantile %(quantile)g", decision)

    apc = pd.read_parquet(input.apc).rename(columns={"reason": "apc_reason"})
    obs, var = read_obs(input.signatures), read_var(input.signatures)
    apc = apc[apc.columns.intersection(APC_COLUMNS)].set_axis(obs.index)  # rows as in the compendium
    obs = obs.join(values.set_index("profile_id")).join(apc)
    dropped = obs.loc[~kept, [similarity, "cosine_se", "apc", "role"]].rename_axis("profile_id").reset_index()
    threshold = np.where(dropped["role"] == "source", threshold, threshold_second)
    dropped["reason"] = [f"{similarity} below {t:.6g}, the cutoff at quantile {quantile:g}" for t in threshold]
    obs, rows = obs[kept], np.flatnonzero(kept)
    scaled, as_read = Profiles(input.signatures, pd.read_parquet(input.scaling)), Profiles(input.signatures)
    x = scaled.for_training(rows, pick_device(device))
    network = train_final(x, **model, **training, seed=derive_seed(seed, "clean", target))
    latent = encode(network, (block for _, block in scaled.blocks(rows)))

    # Given a path, torch would write its name into the file.
    with written_whole(output.autoencoder) as partial, open(partial, "wb") as file:
        torch.save({name: value.cpu() for name, value in network.state_dict().items()}, file)
    write_gctx(output.gctx, (block for _, block in as_read.blocks(rows)), obs.index, var.index, obs, var)
    write_h5ad(output.latent, (block for _, block in as_read.blocks(rows)), obs, var, obsm={"X_latent": latent})
    write_csv(output.dropped, dropped, sep="\t")
    write_json(output.decision, decision)


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, snakemake.wildcards.target, **snakemake.params)
