"""The cleaned compendium: its metadata, its autoencoder and its latent space."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import torch

from dvgs.columns import APC_COLUMNS
from dvgs.filtering.cutoff import diverged
from dvgs.training.fit import fit
from dvgs.training.models import Autoencoder, make_autoencoder, reconstruction_loss
from dvgs.training.schedule import Schedule


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
