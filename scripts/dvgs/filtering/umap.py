"""UMAP: a latent space laid out in two dimensions."""

import numpy as np

from dvgs.limits import LAID_OUT
from dvgs.progress import logger

FEWEST = 4  # UMAP fails with fewer profiles


def lay_out(latent: np.ndarray, rng: np.random.Generator, seed: int, target: str) -> np.ndarray:
    """UMAP coordinates (n, 2) float32 of a latent space (n, latent).

    Of more than LAID_OUT profiles rng takes a random sample; the others, and all of fewer than FEWEST, have NaN. The
    target is named in the log.
    """
    import anndata as ad
    import scanpy as sc  # takes seconds, and nothing else here needs it

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
