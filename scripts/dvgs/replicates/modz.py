"""MODZ: replicates collapsed to a signature, as CMap does."""

import numpy as np
from scipy import stats

# What replicates of a signature have in common.
SHARED = (
    "pert_id",
    "cmap_name",
    "pert_type",
    "cell_iname",
    "pert_dose",
    "pert_dose_unit",
    "pert_time",
    "pert_time_unit",
)
ALL_DROPPED = "all replicates dropped"


def modz(replicates, landmarks=slice(None)):
    """Collapse the replicates of one signature as CMap does (MODZ).

    replicates: (n, genes). landmarks: the columns over which the Spearman correlations are taken.
    Every replicate is clipped at +-10, weighted by its mean Spearman correlation with the others, floored
    at 0.01, weights summing to one. A constant replicate counts as correlated with none. Returns (signature (genes,),
    weights (n,)), float64.
    """
    clipped = np.clip(np.asarray(replicates, dtype=np.float64), -10, 10)
    n = len(clipped)
    if n <= 2:
        weights = np.full(n, 1 / n)
    else:
        with np.errstate(invalid="ignore", divide="ignore"):
            correlation = np.corrcoef(stats.rankdata(clipped[:, landmarks], axis=1))
        weights = np.maximum((np.nan_to_num(correlation).sum(axis=1) - 1) / (n - 1), 0.01)
        weights /= weights.sum()
    return weights @ clipped, weights


def collapse(profiles, sig_id, landmarks=slice(None)):
    """Collapse the replicates of every signature by MODZ, one signature in memory at a time.

    profiles: Profiles, unscaled, a row per replicate. sig_id: the signature of each, replicates of one standing
    together; "" for none, which are left out. landmarks: as for modz. Yields (rows, signature,
    weights) of each signature, float32 of (genes,) and float64 of (rows,).
    """
    starts = np.flatnonzero(np.r_[True, sig_id[1:] != sig_id[:-1]])
    for start, stop in zip(starts, [*starts[1:], len(sig_id)], strict=True):
        if sig_id[start] != "":
            rows = np.arange(start, stop)
            signature, weights = modz(profiles.rows(rows), landmarks)
            yield rows, signature.astype(np.float32), weights


def landmarks(var):
    """The columns over which replicates are weighted: the landmark genes, or all where there are fewer than two."""
    found = np.flatnonzero(var["feature_space"] == "landmark") if "feature_space" in var else ()
    return found if len(found) > 1 else np.arange(len(var))
