"""Correlations and detection, with intervals."""

import warnings

import numpy as np
import pandas as pd
from scipy import stats

from dvgs.columns import SIMILARITIES
from dvgs.io.tables import doses_in_micromolar

CONFIDENCE = 0.95


def correlate(x, y, n_bootstrap, rng):
    """Pearson and Spearman correlation of two arrays, with 95 % percentile bootstrap intervals.

    x, y: (n,), without NaN. Pairs are resampled and ranked anew. Returns a dict `n, pearson, pearson_low,
    pearson_high, spearman, spearman_low, spearman_high`; NaN for fewer than three pairs or a constant side.
    """
    names = ("pearson", "spearman")
    found = {"n": len(x)}
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return found | {f"{name}{end}": np.nan for name in names for end in ("", "_low", "_high")}
    sides = [_Side(np.asarray(side, np.float64)) for side in (x, y)]
    estimate = _both(*sides, np.ones(len(x)))
    draws = [
        _both(*sides, np.bincount(rng.integers(len(x), size=len(x)), minlength=len(x))) for _ in range(n_bootstrap)
    ]
    low, high = percentile_interval(np.transpose(draws))
    for k, name in enumerate(names):
        found |= {name: estimate[k], f"{name}_low": low[k], f"{name}_high": high[k]}
    return found


class _Side:
    """One side of the pairs. Sorted once, it gives the ranks of any resample without sorting again."""

    def __init__(self, values):
        self.values = values - values.mean()
        _, self._place, counts = np.unique(values, return_inverse=True, return_counts=True)
        self._n_places = len(counts)

    def ranks(self, weight):
        """Ranks among a resample that has every value `weight` times, ties averaged."""
        here = np.bincount(self._place, weight, self._n_places)
        return (np.cumsum(here) - (here - 1) / 2)[self._place]


def _both(x, y, weight):
    """Pearson and Spearman correlation of pairs that count `weight` times."""
    return _pearson(x.values, y.values, weight), _pearson(x.ranks(weight), y.ranks(weight), weight)


def _pearson(x, y, weight):
    total = weight.sum()
    x, y = x - (weight @ x) / total, y - (weight @ y) / total
    scale = np.sqrt((weight @ (x * x)) * (weight @ (y * y)))
    return (weight @ (x * y)) / scale if scale > 0 else np.nan


def percentile_interval(draws):
    """Ends, (2, rows), of 95 % intervals from bootstrap draws, (rows, draws); draws of NaN are left out."""
    tail = (1 - CONFIDENCE) / 2
    with warnings.catch_warnings(action="ignore"):  # of a few pairs, every resample may be constant
        return np.nanquantile(draws, [tail, 1 - tail], axis=1)


def auroc(value, faulty):
    """How well low values find the faulty: area under the ROC curve, with a 95 % interval after DeLong (1988).

    value: (n,) without NaN, low means suspect. faulty: (n,) bool. Ties count one half. Returns (estimate, low, high);
    NaN where one class is empty, and NaN limits where it has one member.
    """
    bad, good = value[faulty], value[~faulty]
    if len(bad) == 0 or len(good) == 0:
        return np.nan, np.nan, np.nan
    # Placement of every value in the other class; their spread gives the variance.
    good_above = 1 - share_below(bad, good)
    bad_below = share_below(good, bad)
    area = good_above.mean()
    if len(bad) < 2 or len(good) < 2:
        return area, np.nan, np.nan
    error = np.sqrt(good_above.var(ddof=1) / len(bad) + bad_below.var(ddof=1) / len(good))
    reach = stats.norm.ppf((1 + CONFIDENCE) / 2) * error
    return area, max(0.0, area - reach), min(1.0, area + reach)


def share_below(x, others):
    """For each of x, the share of the others that lie below it, ties one half."""
    others = np.sort(others)
    return (np.searchsorted(others, x, "left") + np.searchsorted(others, x, "right")) / (2 * len(others))


def found_when_inspected(value, faulty, share):
    """The share of the faulty among the `share` of samples with the lowest values."""
    n = round(share * len(value))
    return faulty[np.argsort(value, kind="stable")[:n]].sum() / faulty.sum() if faulty.any() else np.nan


def dose_band(dose, unit):
    """Doses as decades in µM, text; other units stand under their own name, unknown doses under "none"."""
    edges = [-np.inf, 0.1, 1, 10, np.inf]
    bands = pd.cut(dose, edges, labels=["up to 0.1 µM", "0.1 to 1 µM", "1 to 10 µM", "above 10 µM"])
    bands = bands.astype(object).where(unit == "uM", unit)
    return bands.where(dose.notna(), "none").astype(str)


def correlate_strata(values, apc, obs, chosen, n_bootstrap, rng):
    """DVGS against APC: overall for every similarity, and by stratum for the chosen one.

    values: DataFrame with `role` and SIMILARITIES, rows as in apc and obs. apc: DataFrame `apc, n_replicates`.
    Rows without an APC are left out. Returns the table of `correlations.csv`.
    """
    known = apc["apc"].notna().to_numpy()
    y = apc["apc"].to_numpy()[known]
    obs = obs[known]
    source = values["role"][known] == "source"
    strata = {"role": np.where(source, "source", "target, validation, test")}
    strata |= {"n_replicates": apc["n_replicates"][known].astype(int).astype(str).to_numpy()}
    for column in ("cell_iname", "pert_type"):
        if column in obs:
            strata[column] = obs[column].astype(str).to_numpy()
    if "pert_dose" in obs and "pert_dose_unit" in obs:
        strata["dose"] = dose_band(obs["pert_dose"], obs["pert_dose_unit"].astype(str)).to_numpy()
    rows = []
    for name in SIMILARITIES:
        x = values[name].to_numpy()[known]
        rows.append({"similarity": name, "by": "overall", "group": "all"} | correlate(x, y, n_bootstrap, rng))
    x = values[chosen].to_numpy()[known]
    for by, groups in strata.items():
        for group in np.unique(groups):
            inside = groups == group
            found = correlate(x[inside], y[inside], n_bootstrap, rng)
            rows.append({"similarity": chosen, "by": by, "group": group} | found)
    return pd.DataFrame(rows)


def what_apc_goes_with(table):
    """The share of the variance of APC that lies between cell lines, and its Spearman correlation with dose and time.

    table: DataFrame `apc`, NaN where there is none, and as far as they are known `cell_iname`, `pert_dose`,
    `pert_dose_unit`, `pert_time`; doses other than in µM take no part. The share is corrected for the number of cell
    lines (ε² of Kelley 1935), for many small groups explain much by chance.
    Returns a dict `cell_line, dose, time` of floats, NaN where nothing can be said.
    """
    table = table.reindex(columns=["apc", "cell_iname", "pert_dose", "pert_dose_unit", "pert_time"])
    table = table[table["apc"].notna()]
    cell, time = table["cell_iname"], pd.to_numeric(table["pert_time"], errors="coerce")
    found = {"cell_line": _share_between(table[cell.notna() & (cell != "")])}
    for name, number in (("dose", doses_in_micromolar(table)), ("time", time)):
        known = number.notna()
        x, y = number[known], table.loc[known, "apc"]
        found[name] = stats.spearmanr(x, y).statistic if x.nunique() > 1 and y.nunique() > 1 else np.nan
    return found


def _share_between(table):
    groups = table.groupby(table["cell_iname"].astype(str))["apc"]
    n, k, total = len(table), groups.ngroups, table["apc"].var(ddof=0)
    if not 1 < k < n or total == 0:
        return np.nan
    within = ((table["apc"] - groups.transform("mean")) ** 2).mean()
    return 1 - (n - 1) / (n - k) * within / total
