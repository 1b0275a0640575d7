"""Where to cut, and what is left."""

import numpy as np

from dvgs.errors import InputError


def choose_quantile(curves, cutoff):
    """The share of source profiles to drop.

    curves: the table of curves.csv. cutoff: a quantile, or "auto" for the one at which dropping low DVGS values gives
    the best R² on the validation part of the target, averaged over replicates (the smallest of equals; none at which
    a training diverged). The test set has no say.
    """
    if cutoff != "auto":
        return float(cutoff)
    low = curves.query("profiles == 'all' and method == 'dvgs' and drop == 'low'")
    r2 = low.groupby("quantile")["r2_validation"].agg(lambda replicates: replicates.mean(skipna=False))
    if r2.isna().all():
        raise diverged("at every quantile a training of the filter curves has no R²")
    return float(r2.idxmax())


def diverged(problem):
    return InputError("config", "curves.learning_rate", problem, "lower it, or set scale to zscore")


def r2_at(curves, quantile):
    """Mean and standard deviation over replicates of the test R² when DVGS drops the low `quantile`."""
    low = curves.query("profiles == 'all' and method == 'dvgs' and drop == 'low'")
    found = low[np.isclose(low["quantile"], quantile)]["r2"]
    return float(found.mean(skipna=False)), float(found.std(skipna=False)) if len(found) > 1 else float("nan")


def cut(values, calibration, similarity, quantile):
    """Which profiles stay: (n,) bool, and the thresholds of the two trajectories.

    values: the table of values.parquet. calibration: that of calibration.parquet. The threshold is a quantile of the
    source profiles' values; for the profiles valued along the second trajectory it is the same quantile of the
    source profiles that were valued along it, too, for two trainings need not share a scale. At 0 all stay.
    """
    value, source = values[similarity].to_numpy(), (values["role"] == "source").to_numpy()
    first = float(np.quantile(value[source], quantile))
    second = float(np.quantile(calibration[similarity], quantile))
    kept = (value >= np.where(source, first, second)) | (quantile == 0)
    if not kept.any():
        raise InputError("config", "clean.cutoff", f"nothing is left at {quantile}", "choose a smaller quantile")
    return kept, (first, second)


def stability(values, calibration, similarity):
    """Spearman correlation of the values of the same profiles along the two trajectories."""
    first = values.set_index("profile_id").loc[calibration["profile_id"], similarity]
    return float(first.reset_index(drop=True).corr(calibration[similarity], method="spearman"))
