"""Correlations, and how well values detect faults, with confidence intervals."""

import warnings
from typing import Any

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


def correlate(x: np.ndarray, y: np.ndarray, n_bootstrap: int, rng: np.random.Generator) -> dict[str, Any]:
    """Pearson and Spearman correlation of two arrays, with 95 % percentile bootstrap intervals.

    x, y: (n,), without NaN. Every resample of the pairs is ranked again. Returns a dict with the keys `n, pearson,
    pearson_low, pearson_high, spearman, spearman_low, spearman_high`. The correlations are NaN if there are fewer than
    three pairs or if one side is constant.
    """
    names = ("pearson", "spearman")
    found: dict[str, Any] = {"n": len(x)}
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return found | {f"{name}{end}": np.nan for name in names for end in ("", "_low", "_high")}
    left, right = _Side(np.asarray(x, np.float64)), _Side(np.asarray(y, np.float64))
    estimate = _both(left, right, np.ones(len(x)))
    draws = [
        _both(left, right, np.bincount(rng.integers(len(x), size=len(x)), minlength=len(x))) for _ in range(n_bootstrap)
    ]
    low, high = percentile_interval(np.transpose(draws))
    for k, name in enumerate(names):
        found |= {name: estimate[k], f"{name}_low": low[k], f"{name}_high": high[k]}
    return found


class _Side:
    """One side of the pairs, sorted once, so that the ranks of a resample need no sorting."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values - values.mean()
        _, self._place, counts = np.unique(values, return_inverse=True, return_counts=True)
        self._n_places = len(counts)

    def ranks(self, weight: np.ndarray) -> np.ndarray:
        """Ranks in a resample that contains every value `weight` times; ties get their mean rank."""
        here = np.bincount(self._place, weight, self._n_places)
        return (np.cumsum(here) - (here - 1) / 2)[self._place]


def _both(x: _Side, y: _Side, weight: np.ndarray) -> tuple[float, float]:
    """Pearson and Spearman correlation of pairs, each of which counts `weight` times."""
    return _pearson(x.values, y.values, weight), _pearson(x.ranks(weight), y.ranks(weight), weight)


def _pearson(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    total = weight.sum()
    x, y = x - (weight @ x) / total, y - (weight @ y) / total
    scale = np.sqrt((weight @ (x * x)) * (weight @ (y * y)))
    return (weight @ (x * y)) / scale if scale > 0 else np.nan


def percentile_interval(draws: np.ndarray) -> np.ndarray:
    """Ends, (2, rows), of 95 % intervals from bootstrap draws, (rows, draws). Draws that are NaN are left out."""
    tail = (1 - CONFIDENCE) / 2
    with warnings.catch_warnings(action="ignore"):  # with few pairs every resample can be constant
        return np.nanquantile(draws, [tail, 1 - tail], axis=1)


def auroc(value: np.ndarray, faulty: np.ndarray) -> tuple[float, float, float]:
    """How well low values find faulty samples: area under the ROC curve, with a 95 % interval after DeLong (1988).

    value: (n,) without NaN, low means suspect. faulty: (n,) bool. Ties count one half. Returns (estimate, low, high).
    All three are NaN if a class is empty; the ends are NaN if a class has only one sample.
    """
    bad, good = value[faulty], value[~faulty]
    if len(bad) == 0 or len(good) == 0:
        return np.nan, np.nan, np.nan
    # The place of every value in the other class. The spread of these places gives the variance.
    good_above = 1 - share_below(bad, good)
    bad_below = share_below(good, bad)
    area = good_above.mean()
    if len(bad) < 2 or len(good) < 2:
        return area, np.nan, np.nan
    error = np.sqrt(good_above.var(ddof=1) / len(bad) + bad_below.var(ddof=1) / len(good))
    reach = stats.norm.ppf((1 + CONFIDENCE) / 2) * error
    return area, max(0.0, area - reach), min(1.0, area + reach)


def share_below(x: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each of x, (n,), the share of the others, (m,), that lie below it; ties count one half."""
    others = np.sort(others)
    return (np.searchsorted(others, x, "left") + np.searchsorted(others, x, "right")) / (2 * len(others))


def found_when_inspected(value: np.ndarray, faulty: np.ndarray, share: float) -> float:
    """The share of all faulty samples that are found when the `share` of samples with the lowest values is inspected.

    value: (n,). faulty: (n,) bool. NaN if no sample is faulty.
    """
    n = round(share * len(value))
    return faulty[np.argsort(value, kind="stable")[:n]].sum() / faulty.sum() if faulty.any() else np.nan
