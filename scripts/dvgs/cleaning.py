"""Where to cut, and what is left."""

import numpy as np
import torch

from dvgs.errors import InputError
from dvgs.models import make_autoencoder, reconstruction_loss
from dvgs.training import fit, steps_per_epoch


def choose_quantile(curves, cutoff):
    """The share of source profiles to drop.

    curves: the table of curves.csv. cutoff: a quantile, or "auto" for the one at which dropping low DVGS values gives
    the best R² on the validation part of the target, averaged over replicates (the smallest of equals). The
    test set has no say.
    """
    if cutoff != "auto":
        return float(cutoff)
    low = curves.query("profiles == 'all' and method == 'dvgs' and drop == 'low'")
    return float(low.groupby("quantile")["r2_validation"].mean().idxmax())


def r2_at(curves, quantile):
    """Mean and standard deviation over replicates of the test R² when DVGS drops the low `quantile`."""
    low = curves.query("profiles == 'all' and method == 'dvgs' and drop == 'low'")
    found = low[np.isclose(low["quantile"], quantile)]["r2"]
    return float(found.mean()), float(found.std(ddof=1)) if len(found) > 1 else float("nan")


def cut(values, similarity, quantile):
    """Which profiles stay: (n,) bool, and the threshold, a quantile of the source profiles' values.

    The same threshold applies to the profiles drawn into target, validation and test.
    """
    value = values[similarity].to_numpy()
    threshold = float(np.quantile(value[values["role"] == "source"], quantile))
    kept = value >= threshold
    if not kept.any():
        raise InputError("config", "clean.cutoff", f"nothing is left at {quantile}", "choose a smaller quantile")
    return kept, threshold


def embed(data, x, *, hidden, latent, epochs, batch_size, learning_rate, seed):
    """Train the final autoencoder on the cleaned profiles; put latent space and UMAP into data.obsm.

    data: AnnData of the cleaned profiles. x: the same, scaled, as a (n, genes) tensor. Returns the model.
    """
    import scanpy as sc  # takes seconds to import, and only this needs it

    model = make_autoencoder(x.shape[1], hidden, latent, seed).to(x.device)
    steps = epochs * steps_per_epoch(len(x), batch_size)
    fit(
        model,
        reconstruction_loss,
        x,
        x,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
    )
    with torch.no_grad():
        data.obsm["X_latent"] = model.encoder(x).cpu().numpy()
    state = seed % 2**32
    sc.pp.neighbors(data, use_rep="X_latent", n_neighbors=min(15, data.n_obs - 1), random_state=state)
    sc.tl.umap(data, random_state=state)
    return model
