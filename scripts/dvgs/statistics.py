"""Correlations and detection, with intervals."""

import warnings

import numpy as np
from scipy import stats

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
