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


def name_faults(truth: pd.DataFrame) -> pd.DataFrame:
    """The planted faults of profiles: DataFrame `noise_sd, fault, n_replicates`, and more, rows as in truth.

    truth: a table of planted faults, of signatures, which has these columns, or of single replicates, which has
    `noise_sd`, `bad_plate` (0 or 1) and `swapped_with` ("" for none). Of several faults of a replicate, a bad plate
    comes first, then a swap.
    """
    if "fault" in truth:
        return truth
    faulty = [truth["bad_plate"] == 1, truth["swapped_with"] != "", truth["noise_sd"] > 0]
    return truth.assign(fault=np.select(faulty, ["bad_plate", "swapped", "noise"], "none"), n_replicates=1)


def _rank_within(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Ranks within groups, as shares of the group."""
    return pd.Series(values).groupby(group).rank(pct=True).to_numpy()


def detect_faults(
    methods: pd.DataFrame, truth: pd.DataFrame, known_apc: np.ndarray, n_bootstrap: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Every method against every kind of fault, on all profiles and on those that have an APC.

    methods: DataFrame, one column of values per method. truth: DataFrame `noise_sd, fault, n_replicates`, same rows.
    known_apc: (n,) bool. A method without a value for every profile is compared only where it has one.
    Profiles with one kind of fault are compared with the profiles that have none. The Spearman correlation with the
    noise is taken within groups of profiles with the same number of replicates: more replicates mean shorter profiles
    and less noise, whatever the method sees. Returns the table of truth.csv.
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
                row = {"profiles": profiles, "method": name, "fault": kind}
                row |= _detect_kind(value, fault, kind)
                row |= {f"spearman_noise{end}": trend[f"pearson{end}"] for end in ("", "_low", "_high")}
                rows.append(row)
    return pd.DataFrame(rows)


def _detect_kind(value: np.ndarray, fault: np.ndarray, kind: str) -> dict[str, float]:
    """How well low values find one kind of fault among the profiles that have it or none."""
    compared = (fault == "none") | (fault == kind) | (kind == "any")
    value, faulty = value[compared], fault[compared] != "none"
    area, low, high = auroc(value, faulty)
    found: dict[str, float] = {"n": int(compared.sum()), "n_faulty": int(faulty.sum())}
    found |= {"auroc": area, "auroc_low": low, "auroc_high": high}
    return found | {"found_at_20": found_when_inspected(value, faulty, INSPECTED)}


def detect_corrupted(value: np.ndarray, corrupted: np.ndarray, noise_sd: np.ndarray) -> dict[str, float]:
    """How well low values find the corrupted: dict of DETECTION_MEASURES, and `n` and `n_corrupted`.

    value: (n,), NaN for samples without a value, which are left out. corrupted: (n,) bool. noise_sd: (n,); the Spearman
    correlation is NaN where it is constant.
    """
    known = np.isfinite(value)
    value, corrupted, noise_sd = value[known], corrupted[known], noise_sd[known]
    found: dict[str, float] = {
        "n": len(value),
        "n_corrupted": int(corrupted.sum()),
        "auroc": auroc(value, corrupted)[0],
    }
    found["average_precision"] = average_precision_score(corrupted, -value) if corrupted.any() else np.nan
    for share in INSPECTED_SHARES:
        found[f"found_at_{round(100 * share)}"] = found_when_inspected(value, corrupted, share)
    varies = len(value) > 2 and np.ptp(value) > 0 and np.ptp(noise_sd) > 0
    return found | {"spearman_noise": stats.spearmanr(value, noise_sd).statistic if varies else np.nan}
