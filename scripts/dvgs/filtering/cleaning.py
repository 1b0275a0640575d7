"""The cleaned compendium: its metadata, its autoencoder and its latent space."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import torch

from dvgs.columns import APC_COLUMNS
from dvgs.filtering.cutoff import diverged
from dvgs.limits import LAID_OUT
from dvgs.progress import logger
from dvgs.training.fit import fit
from dvgs.training.models import Autoencoder, make_autoencoder, reconstruction_loss
from dvgs.training.schedule import Schedule

FEWEST = 4  # UMAP fails with fewer profiles


def with_values(obs: pd.DataFrame, values: pd.DataFrame, apc: pd.DataFrame) -> pd.DataFrame:
    """The metadata of profiles with their values and their APC beside it, rows as in obs.

    obs: indexed by profile id. values: the table of values.parquet, in any order. apc: that of apc.parquet, rows as in
    obs; its `reason` becomes `apc_reason`.
    """
    apc = apc.rename(columns={"reason": "apc_reason"})
    apc = apc[apc.columns.intersection(APC_COLUMNS)].set_axis(obs.index)
    return obs.join(values.set_index("profile_id")).join(apc)


def train_final(x: Any, sizes: dict[str, Any], schedule: Schedule, seed: int) -> Autoencoder:
    """The final autoencoder, trained on the cleaned profiles.

    x: the profiles, scaled, (n, genes), as `fit` takes them. sizes: dict `hidden, latent`.
    """
    model = make_autoencoder(x.shape[1], **sizes, seed=seed).to(x.device)
    fit(model, reconstruction_loss, (x, x), schedule, seed)
    return model


@torch.no_grad()
def encode(model: torch.nn.Module, blocks: Iterable[np.ndarray]) -> np.ndarray:
    """The latent space of profiles, (n, latent) float32; blocks: their scaled values, (some, genes) float32 each.

    Raises InputError where it is not finite.
    """
    encoder, device = model.get_submodule("encoder"), next(model.parameters()).device
    latent = np.concatenate([encoder(torch.from_numpy(block).to(device)).cpu().numpy() for block in blocks])
    if not np.isfinite(latent).all():
        raise diverged("the model of the cleaned profiles has a latent space that is not finite")
    return latent


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
