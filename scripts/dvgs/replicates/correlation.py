"""Agreement within groups of profiles, from one pass over a file: what APC and its null are made of."""

from collections.abc import Iterable, Iterator

import numpy as np
from scipy import stats
from scipy.linalg.blas import daxpy, dger

from dvgs.io.rows import Rows

Blocks = Iterable[tuple[np.ndarray, np.ndarray]]  # (positions, values), as Matrix.blocks

CHUNK_PROFILES = 256  # so that float64 copies of them stay in cache
BLOCK_MEMBERS = 4096  # of whole groups, whose ranks are read at once


def centre(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows centred, float64, and one over their norms: 0 for a row without variance, NaN for one that is not finite."""
    centred = values.astype(np.float64, order="C")
    mean = centred @ np.full(values.shape[1], 1 / values.shape[1])
    dger(-1, np.ones(values.shape[1]), mean, a=centred.T, overwrite_a=True)  # in place, and faster than by numpy
    norm = np.sqrt(np.vecdot(centred, centred))
    constant = norm <= 1e-7 * np.abs(mean)  # what is left are rounding errors of the mean
    return centred, np.divide(1, norm, out=np.where(constant, 0.0, np.nan), where=~constant & np.isfinite(norm))


class GroupSums:
    """Sums of unit profiles over groups of profiles.

    With z_i a profile centred and scaled to unit norm and s the sum of the n profiles of a group, the mean Pearson
    correlation over their pairs is (|s|² - n) / (n (n - 1)), and that of one with its siblings (z_i·s - 1) / (n - 1).

    blocks: yields (positions, values), positions increasing, each at most once. row, group: integer arrays of equal
    length, profile position and group of every membership (Memberships); a profile may be in several groups, and is
    only looked at in group -1.
    Attributes: `n_used` (n_groups,) int, how many profiles of each group could be used; `constant`, `not_finite`: the
    positions of those that could not. Memory: n_groups x n_genes float64.
    """

    def __init__(self, blocks: Blocks, row: np.ndarray, group: np.ndarray, n_groups: int, n_genes: int):
        order = np.argsort(row, kind="stable")
        self._row, self._group = np.asarray(row)[order], np.asarray(group)[order]
        self._sums = np.zeros((n_groups, n_genes))
        self.n_used = np.zeros(n_groups, int)
        self.constant: list[int] = []
        self.not_finite: list[int] = []
        for positions, values in _chunks(blocks):
            self._add(positions, values)

    def _add(self, positions: np.ndarray, values: np.ndarray) -> None:
        centred, scale = centre(values)
        self.constant.extend(positions[scale == 0])
        self.not_finite.extend(positions[np.isnan(scale)])
        local, group, _ = self._members(positions, scale > 0)
        # Rows far apart, of which numpy would make copies, are scaled and added in one walk over each.
        for profile, own in zip(local.tolist(), group.tolist(), strict=True):
            daxpy(centred[profile], self._sums[own], a=scale[profile])
        np.add.at(self.n_used, group, 1)

    def _members(self, positions: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Memberships of the usable among some profiles: index of the profile, group, index of the membership."""
        first, last = np.searchsorted(self._row, [positions[0], positions[-1] + 1])
        local = np.searchsorted(positions, self._row[first:last])
        keep = usable[local] & (positions[local] == self._row[first:last]) & (self._group[first:last] >= 0)
        return local[keep], self._group[first:last][keep], first + np.flatnonzero(keep)

    def means(self) -> np.ndarray:
        """Mean correlation over the pairs of each group, (n_groups,); NaN for fewer than two usable profiles."""
        pairs = self.n_used * (self.n_used - 1.0)
        squares = np.einsum("ij,ij->i", self._sums, self._sums)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(pairs > 0, (squares - self.n_used) / pairs, np.nan)

    def with_siblings(self, blocks: Blocks) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean correlation of each member with the others of its group, from a second pass over the profiles.

        Returns arrays (group, position, correlation), one entry per membership of a usable profile in a group of two
        or more.
        """
        found = np.full(len(self._row), np.nan)
        for positions, values in _chunks(blocks):
            centred, scale = centre(values)
            local, group, where = self._members(positions, scale > 0)
            with np.errstate(invalid="ignore", divide="ignore"):
                products = np.einsum("ij,ij->i", centred[local], self._sums[group]) * scale[local]
                found[where] = (products - 1) / (self.n_used[group] - 1.0)
        known = np.isfinite(found)
        return self._group[known], self._row[known], found[known]


def _chunks(blocks: Blocks) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for positions, values in blocks:
        for start in range(0, len(positions), CHUNK_PROFILES):
            yield positions[start : start + CHUNK_PROFILES], values[start : start + CHUNK_PROFILES]


def rank_dtype(n_genes: int) -> type[np.unsignedinteger]:
    """The smallest type for doubled ranks: 16 bits are enough for 32,767 genes."""
    return np.uint16 if n_genes <= 32_767 else np.uint32


def doubled_ranks(values: np.ndarray) -> np.ndarray:
    """Twice the ranks of the values of each row, 1 to n, ties averaged: integers of rank_dtype(n)."""
    dtype = rank_dtype(values.shape[1])
    order = np.argsort(values, axis=1)
    ranks = np.empty(values.shape, dtype)
    np.put_along_axis(ranks, order, np.arange(2, 2 * values.shape[1] + 1, 2, dtype=dtype)[None], axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    tied = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)  # few rows, because this is slow
    ranks[tied] = 2 * stats.rankdata(values[tied], axis=1)
    return ranks


def spearman_quantile(ranks: Rows, group: np.ndarray, usable: np.ndarray, n_groups: int, quantile: float) -> np.ndarray:
    """A quantile of the pairwise Spearman correlations within each group.

    ranks: ScratchRows of doubled_ranks, a row per member. group: (rows,) int, sorted. usable: (rows,) bool, which
    members count. The quantile is MATLAB's, as in CMap's cc_q75. Returns (n_groups,) float64, NaN for fewer than two.
    """
    found = np.full(n_groups, np.nan)
    ends = np.flatnonzero(np.diff(group, append=-1)) + 1  # of the groups
    start = 0
    while start < len(group):
        within = ends[(ends > start) & (ends <= start + BLOCK_MEMBERS)]
        stop = within[-1] if len(within) else ends[ends > start][0]  # whole groups
        keep = usable[start:stop]
        rows = ranks.read(start, stop)[keep].astype(np.float32)
        rows -= ranks.shape[1] + 1.0  # the mean of doubled ranks
        groups, first, size = np.unique(group[start:stop][keep], return_index=True, return_counts=True)
        for n in np.unique(size[size > 1]):
            inside = first[size == n][:, None] + np.arange(n)
            found[groups[size == n]] = _quantile_of_pairs(rows[inside], quantile)
        start = stop
    return found


def _quantile_of_pairs(centred: np.ndarray, quantile: float) -> np.ndarray:
    """The quantile over the pairs of each group, (groups,); centred: ranks less their mean, (groups, n, genes)."""
    products = centred @ centred.transpose(0, 2, 1)
    norm = np.sqrt(np.einsum("gii->gi", products))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = products / norm[:, :, None] / norm[:, None, :]
    pairs = correlation[:, *np.triu_indices(centred.shape[1], 1)]
    return np.quantile(pairs.astype(np.float64), quantile, axis=1, method="hazen")
