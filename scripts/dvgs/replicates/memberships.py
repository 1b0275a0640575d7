"""Which profile belongs to which group of profiles: what is counted, summed and correlated."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

NOWHERE = -1  # the row of a profile that a file does not hold, and the group of one that is only looked at


@dataclass(frozen=True)
class Memberships:
    """Parallel arrays, one entry per membership; a profile may be in several groups.

    row: (n,) int, the position of the profile in its file. group: (n,) int, 0 to n_groups - 1. Both may be NOWHERE.
    """

    row: np.ndarray
    group: np.ndarray
    n_groups: int

    def __len__(self) -> int:
        return len(self.row)

    def where(self, keep: np.ndarray) -> Self:
        """Those for which `keep`, (n,) bool, is true."""
        return type(self)(self.row[keep], self.group[keep], self.n_groups)

    @property
    def grouped(self) -> Self:
        """Those of a group."""
        return self.where(self.group != NOWHERE)

    def are(self, rows: list | np.ndarray) -> np.ndarray:
        """Which are of one of these profiles, (n,) bool."""
        return np.isin(self.row, rows)

    def counts(self) -> np.ndarray:
        """How many each group has, (n_groups,) int."""
        return np.bincount(self.group[self.group != NOWHERE], minlength=self.n_groups)

    def groups_of_several(self) -> np.ndarray:
        """The groups that have two profiles or more, increasing."""
        return np.flatnonzero(self.counts() >= 2)

    def to_correlate(self) -> Self:
        """In the order of the groups of several, which are numbered 0, 1, ...; then the single ones, in no group.

        Only groups of several need a sum; single profiles are looked at, whether they could be used.
        """
        several = self.groups_of_several()
        number = np.full(self.n_groups, NOWHERE)
        number[several] = np.arange(len(several))
        group = number[self.group]
        order = np.argsort(np.where(group == NOWHERE, len(several), group), kind="stable")
        return type(self)(self.row[order], group[order], len(several))

    def with_null(self, null: Mapping[int, np.ndarray]) -> tuple[Self, dict[int, np.ndarray]]:
        """These and null groups behind them, as groups like any other: one pass over a file serves all.

        null: {size: (n, size) positions of profiles}. Returns the memberships and {size: (n,) groups} of the null.
        """
        rows, groups, n_groups, null_groups = [self.row], [self.group], self.n_groups, {}
        for size, drawn in null.items():
            null_groups[size] = np.arange(n_groups, n_groups + len(drawn))
            rows.append(drawn.ravel())
            groups.append(np.repeat(null_groups[size], size))
            n_groups += len(drawn)
        return type(self)(np.concatenate(rows), np.concatenate(groups), n_groups), null_groups
