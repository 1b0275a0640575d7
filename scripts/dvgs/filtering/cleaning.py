"""The cleaned compendium: its autoencoder and its latent space."""

import numpy as np
import torch

from dvgs.filtering.cutoff import diverged
from dvgs.limits import LAID_OUT
from dvgs.progress import logger
from dvgs.training.fit import fit
from dvgs.training.models import make_autoencoder, reconstruction_loss
from dvgs.training.schedule import Schedule

FEWEST = 4  # of fewer, UMAP can make nothing


def train_final(x, *, hidden, latent, epochs, batch_size, learning_rate, seed):
    """The final autoencoder, trained on the cleaned profiles, scaled, (n, genes), as `fit` takes them."""
    model = make_autoencoder(x.shape[1], hidden, latent, seed).to(x.device)
    schedule = Schedule(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    return fit(model, reconstruction_loss, (x, x), schedule, seed)


@torch.no_grad()
def encode(model, blocks):
    """The latent space of profiles, (n, latent) float32; blocks: their scaled values, block by block, on any device.

    Raises InputError where it is not finite.
    """
    device = next(model.parameters()).device
    latent = np.concatenate([model.encoder(torch.from_numpy(block).to(device)).cpu().numpy() for block in blocks])
    if not np.isfinite(latent).all():
        raise diverged("the model of the cleaned profiles has a latent space that is not finite")
    return latent


def lay_out(latent, rng, seed, target):
    """UMAP coordinates (n, 2) float32 of a latent space; of more than LAID_OUT those of a random sample, else NaN."""
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
