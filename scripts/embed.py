"""Lay the latent spaces of all targets out in two dimensions (UMAP) and write the cleaned compendia."""

import logging

import anndata as ad
import scanpy as sc

from dvgs.compendium import write_h5ad
from dvgs.jobs import job
from dvgs.seeds import derive_seed


def main(input, output, targets, seed):
    for target, latent, path in zip(targets, input.latents, output.cleaned, strict=True):
        data = ad.read_h5ad(latent)
        logging.getLogger("dvgs").info("UMAP of %d profiles, target %s", data.n_obs, target)
        state = derive_seed(seed, "umap", target) % 2**32
        sc.pp.neighbors(data, use_rep="X_latent", n_neighbors=min(15, data.n_obs - 1), random_state=state)
        sc.tl.umap(data, random_state=state)
        write_h5ad(path, data)


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, **snakemake.params)
