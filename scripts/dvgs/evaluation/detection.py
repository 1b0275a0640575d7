"""How well values find faults that are known, because they were planted."""

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import average_precision_score

from dvgs.statistics import auroc, correlate, found_when_inspected

FAULTS = ("any", "noise", "bad_plate", "swapped")
INSPECTED = 0.2
INSPECTED_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)
DETECTION_MEASURES = [
    "auroc",
    "average_precision",
    *(f"found_at_{round(100 * share)}" for share in INSPECTED_SHARES),
    "spearman_noise",
]


def _rank_within(values, group):
    """Ranks within groups, as shares of the group."""
    return pd.Series(values).groupby(group).rank(pct=True).to_numpy()


def detect_faults(methods, truth, known_apc, n_bootstrap, rng):
    """Every method against every kind of fault, on all profiles and on those that have an APC.

    methods: DataFrame, one column of values per method. truth: DataFrame `noise_sd, fault, n_replicates`, same rows.
    known_apc: (n,) bool. A method without a value for every profile is compared only where it has one.
    A kind of fault is judged against the profiles without any. The Spearman correlation with the noise is taken within
    profiles of as many replicates: more replicates mean shorter profiles and less noise, whatever the method sees.
    Returns the table of `truth.csv`.
    """
    rows = []
    for profiles, inside in {"all": np.ones(len(truth), bool), "with_apc": known_apc}.items():
        for name, column in methods[inside].items():
            value = column.to_numpy()
            if np.isnan(value).any():
                continue
            fault, sd = truth["fault"].to_numpy()[inside], truth["noise_sd"].to_numpy()[inside]
            group = truth["n_replicates"].to_numpy()[inside]
            trend = correlate(_rank_within(value, group), _rank_within(sd, group), n_bootstrap, rng)
            for kind in FAULTS:
                judged = (fault == "none") | (fault == kind) | (kind == "any")
                faulty = fault[judged] != "none"
                area, low, high = auroc(value[judged], faulty)
                rows.append(
                    {
                        "profiles": profiles,
                        "method": name,
                        "fault": kind,
                        "n": int(judged.sum()),
                        "n_faulty": int(faulty.sum()),
                        "auroc": area,
                        "auroc_low": low,
                        "auroc_high": high,
                        "found_at_20": found_when_inspected(value[judged], faulty, INSPECTED),
                        "spearman_noise": trend["pearson"],
                        "spearman_noise_low": trend["pearson_low"],
                        "spearman_noise_high": trend["pearson_high"],
                    }
                )
    return pd.DataFrame(rows)


def detect_corrupted(value, corrupted, noise_sd):
    """How well low values find the corrupted: dict of DETECTION_MEASURES, and `n` and `n_corrupted`.

    value: (n,), NaN for samples without one, which are left out. corrupted: (n,) bool. noise_sd: (n,), and the Spearman
    correlation is NaN where it is constant.
    """
    known = np.isfinite(value)
    value, corrupted, noise_sd = value[known], corrupted[known], noise_sd[known]
    found = {"n": len(value), "n_corrupted": int(corrupted.sum()), "auroc": auroc(value, corrupted)[0]}
    found["average_precision"] = average_precision_score(corrupted, -value) if corrupted.any() else np.nan
    for share in INSPECTED_SHARES:
        found[f"found_at_{round(100 * share)}"] = found_when_inspected(value, corrupted, share)
    varies = len(value) > 2 and np.ptp(value) > 0 and np.ptp(noise_sd) > 0
    return found | {"spearman_noise": stats.spearmanr(value, noise_sd).statistic if varies else np.nan}
