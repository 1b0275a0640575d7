"""Profiles read from an .h5ad when asked for, with their genes scaled; needs only h5py, not AnnData."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dvgs.io.rows import open_rows

if TYPE_CHECKING:
    import torch

BLOCK_PROFILES = 8192
LARGEST_IN_MEMORY = 1 << 30  # bytes of profiles to train on


class Profiles:
    """Rows of the matrix of an .h5ad, scaled, read when asked for.

    path: an .h5ad whose X is contiguous float32 (h5ad.write_h5ad). scaling: DataFrame with `mean` and `sd` by gene
    (fit_scaling), or None for profiles as they are.
    """

    def __init__(self, path: str | Path, scaling: pd.DataFrame | None = None):
        self._x = open_rows(path, "rb")["X"]
        self.shape = self._x.shape
        self._scaling = None if scaling is None else [scaling[name].to_numpy(np.float32) for name in ("mean", "sd")]

    def __len__(self) -> int:
        return self.shape[0]

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """The profiles at positions `rows`, an integer array of any shape, as float32 of shape (*rows.shape, genes).

        Raises IndexError for a position outside the file.
        """
        rows = np.asarray(rows)
        found = self._x.gather(rows.ravel()).reshape(*rows.shape, self.shape[1])
        if self._scaling:
            found -= self._scaling[0]
            found /= self._scaling[1]
        return found

    def blocks(self, rows: np.ndarray | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (rows, profiles) some at a time, of increasing positions `rows` or of all."""
        rows = np.arange(len(self)) if rows is None else rows
        for start in range(0, len(rows), BLOCK_PROFILES):
            block = rows[start : start + BLOCK_PROFILES]
            yield block, self.rows(block)

    def tensor(self, rows: np.ndarray, device: "torch.device | str") -> "torch.Tensor":
        """The profiles at positions `rows` as a tensor on a device."""
        import torch

        return torch.from_numpy(self.rows(rows)).to(device)

    def for_training(self, rows: np.ndarray, device: "torch.device") -> "torch.Tensor | Batches":
        """The profiles at positions `rows` to train on: a tensor, or Batches of many on a CPU."""
        large = device.type == "cpu" and 4 * len(rows) * self.shape[1] > LARGEST_IN_MEMORY
        return Batches(self, rows) if large else self.tensor(rows, device)


class Batches:
    """Profiles that stay in their file; a tensor of positions as index gives a tensor, as if they were one."""

    ndim = 2

    def __init__(self, profiles: Profiles, rows: np.ndarray):
        import torch

        self._profiles, self._rows, self.device = profiles, rows, torch.device("cpu")
        self.shape = (len(rows), profiles.shape[1])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: "torch.Tensor") -> "torch.Tensor":
        return self._profiles.tensor(self._rows[np.asarray(index)], self.device)


def fit_scaling(path: str | Path, rows: np.ndarray, method: str) -> pd.DataFrame:
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
