"""Summaries over the replicates of a study: how well each method found the corrupted samples, with intervals."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from dvgs.statistics import CONFIDENCE

AREAS = ["area", "area_with_target"]


REFERENCE = "dvgs"


def areas(curves: pd.DataFrame) -> pd.DataFrame:
    """Area between the filter curves of dropping low and of dropping high values, by the trapezoidal rule.

    curves: DataFrame `method, replicate, with_target, drop, quantile, score`. Returns a DataFrame
    `method, replicate` and AREAS, of models of the source, and of source and target.
    """
    scores = curves.pivot_table("score", ["method", "replicate", "with_target"], ["drop", "quantile"], sort=False)
    gap = (scores["low"] - scores["high"]).sort_index(axis=1)
    area = pd.Series(np.trapezoid(gap, gap.columns.astype(float), axis=1), gap.index).unstack("with_target")
    return area.rename(columns=dict(zip((False, True), AREAS, strict=True))).rename_axis(columns=None).reset_index()


def compare_with_dvgs(table: pd.DataFrame, columns: Sequence[str], by: Sequence[str] = ()) -> pd.DataFrame:
    """How much better DVGS, and each of its variants, did than every other method in the same replicates.

    table: DataFrame `method, replicate`, `by` and `columns`. Returns the table of over_replicates, by `dvgs` (the
    variant), `method` and `by`, of differences: DVGS minus the other. Good values have a strongly negative correlation
    with noise, so there it is the other minus DVGS. `better` and `worse`: whether the interval lies above or below
    zero.
    """
    own = table[table["method"].str.split("_").str[0] == "dvgs"].rename(columns={"method": "dvgs"})
    both = own.merge(table, on=[*by, "replicate"], suffixes=("_dvgs", ""))
    both = both[both["dvgs"] != both["method"]]
    gain = both[["dvgs", "method", *by]].assign(**{name: both[f"{name}_dvgs"] - both[name] for name in columns})
    if "spearman_noise" in columns:
        gain["spearman_noise"] *= -1
    found = over_replicates(gain, ["dvgs", "method", *by], columns)
    return found[found["n"] > 0].assign(better=lambda t: t["low"] > 0, worse=lambda t: t["high"] < 0)


def over_replicates(table: pd.DataFrame, by: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """Mean, standard deviation and 95 % interval (t distribution) over the rows of each group.

    Returns a DataFrame of `by` and `measure, n, mean, sd, low, high`, in the order of the table; with a single
    replicate sd and limits are NaN.
    """
    rows = []
    for key, part in table.groupby(by, sort=False):
        for measure in columns:
            x = part[measure].dropna()
            n, mean, sd = len(x), x.mean(), x.std()
            reach = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * sd / np.sqrt(n) if n > 1 else np.nan
            rows.append((*key, measure, n, mean, sd, mean - reach, mean + reach))
    return pd.DataFrame(rows, columns=[*by, "measure", "n", "mean", "sd", "low", "high"])


def compare(detection: pd.DataFrame, seconds: pd.DataFrame) -> pd.DataFrame:
    """Methods over their n replicates: AUROC, seconds, and the ratio of seconds to those of DVGS.

    DataFrame `study, method, n, auroc, auroc_low, auroc_high, n_seconds, seconds, ratio, ratio_low, ratio_high`.
    detection, seconds: the tables of the studies, with a column `study`. Seconds are geometric means; so are
    ratios, of seconds to those of DVGS in the same replicate. Both are over the n_seconds replicates whose seconds are
    known. Intervals are 95 % by a t distribution.
    """
    keys = ["study", "method", "replicate"]
    table = detection[[*keys, "auroc"]].merge(seconds[[*keys, "seconds"]], "left", keys, validate="one_to_one")
    reference = table.loc[table["method"] == REFERENCE, ["study", "replicate", "seconds"]]
    table = table.merge(reference, on=["study", "replicate"], how="left", suffixes=("", "_reference"))
    table["ratio"] = np.log(table["seconds"] / table["seconds_reference"])
    table["seconds"] = np.log(table["seconds"])
    long = over_replicates(table, ["study", "method"], ["auroc", "seconds", "ratio"]).set_index(["study", "method"])
    auroc, time, ratio = (long[long["measure"] == name] for name in ("auroc", "seconds", "ratio"))
    found = {"n": auroc["n"], "auroc": auroc["mean"], "auroc_low": auroc["low"], "auroc_high": auroc["high"]}
    found |= {"n_seconds": time["n"], "seconds": np.exp(time["mean"])}
    found |= {"ratio": np.exp(ratio["mean"]), "ratio_low": np.exp(ratio["low"]), "ratio_high": np.exp(ratio["high"])}
    return pd.DataFrame(found).reset_index()
