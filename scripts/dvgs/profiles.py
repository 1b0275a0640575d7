"""Profiles read from an .h5ad when asked for, with their genes scaled; needs h5py alone, not AnnData."""

import h5py
import numpy as np
import pandas as pd

SLAB = 8192  # profiles read at a time


class Profiles:
    """Rows of the matrix of an .h5ad, scaled, read when asked for.

    path: an .h5ad with a dense X. scaling: DataFrame with `mean` and `sd` by gene (fit_scaling). A context manager.
    """

    def __init__(self, path, scaling):
        self._file = h5py.File(path, "r")
        self._x = self._file["X"]
        self._mean = scaling["mean"].to_numpy(np.float32)
        self._sd = scaling["sd"].to_numpy(np.float32)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._file.close()

    def __len__(self):
        return len(self._x)

    def rows(self, rows):
        """The profiles at increasing positions `rows`, (len(rows), genes) float32, one slab in memory at a time."""
        found = np.empty((len(rows), self._x.shape[1]), np.float32)
        for start in range(0, len(self), SLAB):
            first, last = np.searchsorted(rows, [start, start + SLAB])
            if first < last:
                inside = rows[first:last]
                slab = self._x[inside[0] : inside[-1] + 1]
                found[first:last] = slab[inside - inside[0]]
        found -= self._mean
        found /= self._sd
        return found


def fit_scaling(path, rows, method):
    """Mean and standard deviation of every gene over the given rows, in one pass.

    method: "zscore", or "none" for means of 0 and deviations of 1. A gene without variance gets deviation 1.
    Returns a DataFrame `mean, sd`, one row per gene in the order of the file.
    """
    with h5py.File(path, "r") as file:
        n_genes = file["X"].shape[1]
    identity = pd.DataFrame({"mean": np.zeros(n_genes), "sd": np.ones(n_genes)})
    if method == "none":
        return identity
    with Profiles(path, identity) as profiles:
        count, mean, squares = 0, np.zeros(n_genes), np.zeros(n_genes)
        for start in range(0, len(rows), SLAB):
            block = profiles.rows(rows[start : start + SLAB]).astype(np.float64)
            # Chan's update: exact where a sum of squares would cancel.
            difference = block.mean(axis=0) - mean
            total = count + len(block)
            squares += block.var(axis=0) * len(block) + difference**2 * count * len(block) / total
            mean += difference * len(block) / total
            count = total
    sd = np.sqrt(squares / count)
    return pd.DataFrame({"mean": mean, "sd": np.where(sd > 0, sd, 1.0)})
