"""Profiles read from an .h5ad when asked for, with their genes scaled; needs h5py alone, not AnnData."""

import os

import h5py
import numpy as np
import pandas as pd

from dvgs.io.rows import runs

SLAB = 8192  # profiles read at a time
LARGEST_IN_MEMORY = 1 << 30  # bytes of profiles to train on


class Profiles:
    """Rows of the matrix of an .h5ad, scaled, read when asked for.

    path: an .h5ad whose X is contiguous float32 (h5ad.write_h5ad). scaling: DataFrame with `mean` and `sd` by gene
    (fit_scaling), or None for profiles as they are.
    """

    def __init__(self, path, scaling=None):
        with h5py.File(path, "r") as file:
            self.shape, self._offset = file["X"].shape, file["X"].id.get_offset()
        self._file = open(path, "rb")  # noqa: SIM115, as long as this lives
        self._scaling = None if scaling is None else [scaling[name].to_numpy(np.float32) for name in ("mean", "sd")]

    def __len__(self):
        return self.shape[0]

    def rows(self, rows):
        """The profiles at positions `rows`, an integer array of any shape, as float32 of shape (*rows.shape, genes).

        Raises IndexError for a position that is none.
        """
        rows = np.asarray(rows)
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self)}")
        found = np.empty((*rows.shape, self.shape[1]), np.float32)
        flat, places = found.reshape(-1, self.shape[1]), rows.ravel()
        for start, stop in runs(places):
            self._read(flat[start:stop], places[start])
        if self._scaling:
            found -= self._scaling[0]
            found /= self._scaling[1]
        return found

    def _read(self, block, row):
        offset, left = self._offset + int(row) * 4 * self.shape[1], memoryview(block).cast("B")
        while len(left):  # one read ends after 2 GB at most
            n = os.preadv(self._file.fileno(), [left], offset)
            if n == 0:
                raise OSError(f"{self._file.name} ends within profile {row}")
            offset, left = offset + n, left[n:]

    def blocks(self, rows=None):
        """Yield (rows, profiles) some at a time, of increasing positions `rows` or of all."""
        rows = np.arange(len(self)) if rows is None else rows
        for start in range(0, len(rows), SLAB):
            part = rows[start : start + SLAB]
            yield part, self.rows(part)

    def tensor(self, rows, device):
        """The profiles at positions `rows` as a tensor on a device."""
        import torch

        return torch.from_numpy(self.rows(rows)).to(device)

    def for_training(self, rows, device):
        """The profiles at positions `rows` to train on: a tensor, or what reads batches of many, on a CPU alone."""
        large = device.type == "cpu" and 4 * len(rows) * self.shape[1] > LARGEST_IN_MEMORY
        return Batches(self, rows) if large else self.tensor(rows, device)


class Batches:
    """Profiles that stay in their file; a tensor of positions as index gives a tensor, as if they were one."""

    ndim = 2

    def __init__(self, profiles, rows):
        import torch

        self._profiles, self._rows, self.device = profiles, rows, torch.device("cpu")
        self.shape = (len(rows), profiles.shape[1])

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, index):
        return self._profiles.tensor(self._rows[np.asarray(index)], self.device)


def fit_scaling(path, rows, method):
    """Mean and standard deviation of every gene over the given rows, in one pass.

    method: "zscore", or "none" for means of 0 and deviations of 1. A gene without variance gets deviation 1.
    Returns a DataFrame `mean, sd`, one row per gene in the order of the file.
    """
    profiles = Profiles(path)
    n_genes = profiles.shape[1]
    if method == "none":
        return pd.DataFrame({"mean": np.zeros(n_genes), "sd": np.ones(n_genes)})
    count, mean, squares = 0, np.zeros(n_genes), np.zeros(n_genes)
    for _, block in profiles.blocks(rows):
        block = block.astype(np.float64)
        # Chan's update: exact where a sum of squares would cancel.
        difference = block.mean(axis=0) - mean
        total = count + len(block)
        squares += block.var(axis=0) * len(block) + difference**2 * count * len(block) / total
        mean += difference * len(block) / total
        count = total
    sd = np.sqrt(squares / count)
    return pd.DataFrame({"mean": mean, "sd": np.where(sd > 0, sd, 1.0)})
