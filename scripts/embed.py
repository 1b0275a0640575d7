"""Lay the latent spaces of all targets out in two dimensions (UMAP) and write the cleaned compendia."""

import shutil

import anndata as ad
import h5py
import numpy as np
import scanpy as sc

from dvgs.io.files import written_whole
from dvgs.jobs import job
from dvgs.limits import LAID_OUT
from dvgs.progress import logger
from dvgs.seeds import derive_seed, generator

FEWEST = 4  # of fewer, UMAP can make nothing


def main(input, output, targets, seed):
    for target, latent, path in zip(targets, input.latents, output.cleaned, strict=True):
        with written_whole(path) as partial:
            shutil.copyfile(latent, partial)
            with h5py.File(partial, "r+") as file:
                drawn = generator(seed, "umap", target, "drawn")
                umap = lay_out(file["obsm/X_latent"][:], drawn, derive_seed(seed, "umap", target) % 2**32, target)
                ad.io.write_elem(file["obsm"], "X_umap", umap)


def lay_out(latent, rng, seed, target):
    """UMAP coordinates (n, 2) float32 of a latent space; of more than LAID_OUT those of a random sample, else NaN."""
    n = len(latent)
    umap = np.full((n, 2), np.nan, np.float32)
    if n < FEWEST:
        return umap
    rows = np.arange(n) if n <= LAID_OUT else np.sort(rng.choice(n, LAID_OUT, replace=False))
    logger.info("UMAP of %d of %d profiles, target %s", len(rows), n, target)
    data = ad.AnnData(latent[rows])
    # Exact neighbours: scanpy's default for many profiles fails with some versions of what finds approximate ones.
    n_neighbors = min(15, len(rows) - 1)
    sc.pp.neighbors(data, use_rep="X", n_neighbors=n_neighbors, transformer="sklearn", random_state=seed)
    sc.tl.umap(data, random_state=seed)
    umap[rows] = data.obsm["X_umap"]
    return umap


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, **snakemake.params)
