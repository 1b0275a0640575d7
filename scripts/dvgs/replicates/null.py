"""The null of replicate agreement: groups of profiles that are no replicates of each other."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from scipy import stats

LARGEST = 10  # profiles; with more, the null would be even narrower, so the p value is on the safe side


def draw_null_groups(
    row: np.ndarray,
    stratum: np.ndarray,
    perturbagen: np.ndarray,
    sizes: Iterable[int],
    n_groups: int,
    rng: np.random.Generator,
) -> dict[int, np.ndarray]:
    """Groups of profiles that are no replicates: of one stratum (cell line or plate), of different perturbagens.

    row, stratum, perturbagen: arrays of equal length, one entry per profile; missing ones take no part. sizes: the
    group sizes wanted. Returns {size: (n, size) array of profile positions}, n = n_groups, or 0 where no stratum
    has enough perturbagens.
    """
    frame = pd.DataFrame({"stratum": stratum, "perturbagen": perturbagen, "row": row}).dropna()
    frame = frame.sort_values(["stratum", "perturbagen", "row"], ignore_index=True)
    rows = frame["row"].to_numpy()
    # A run is all profiles of one perturbagen in one stratum.
    runs = frame.groupby(["stratum", "perturbagen"], sort=True, observed=True).size()
    length = runs.to_numpy()
    start = np.cumsum(length) - length
    strata = pd.DataFrame({"runs": 1, "profiles": length}).groupby(runs.index.get_level_values(0)).sum()
    breadth, weight = strata["runs"].to_numpy(), strata["profiles"].to_numpy()
    first_run = np.cumsum(breadth) - breadth
    groups = {}
    for size in sorted(sizes):
        eligible = np.flatnonzero(breadth >= size)
        if len(eligible) == 0:
            groups[size] = np.empty((0, size), int)
            continue
        chosen = rng.choice(eligible, n_groups, p=weight[eligible] / weight[eligible].sum())
        drawn = [first_run[s] + rng.choice(breadth[s], size, replace=False) for s in chosen]
        run = np.array(drawn, int).reshape(-1, size)
        groups[size] = rows[start[run] + rng.integers(length[run])]
    return groups


def null_p(agreement: np.ndarray, n_used: np.ndarray, null: Mapping[int, np.ndarray]) -> np.ndarray:
    """P(as many non-replicates agree at least as well), (n,); NaN without an agreement or without a null.

    null: {size: agreement of null groups of that size}.
    """
    p = np.full(len(agreement), np.nan)
    for size, values in null.items():
        values = np.sort(values[~np.isnan(values)])
        several = ~np.isnan(agreement) & (np.minimum(n_used, LARGEST) == size)
        if len(values):
            larger = len(values) - np.searchsorted(values, agreement[several], side="left")
            p[several] = (1 + larger) / (1 + len(values))
    return p


def false_discovery(p: np.ndarray) -> np.ndarray:
    """False discovery rates of p values (Benjamini and Hochberg), NaN where there is none."""
    known = ~np.isnan(p)
    fdr = np.full(len(p), np.nan)
    if known.any():
        fdr[known] = stats.false_discovery_control(p[known], method="bh")
    return fdr
