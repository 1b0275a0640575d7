"""Where to cut, and what is left."""

from typing import Any

import numpy as np
import pandas as pd

from dvgs.errors import InputError


def decide(
    values: pd.DataFrame, calibration: pd.DataFrame, curves: pd.DataFrame, similarity: str, cutoff: float | str
) -> tuple[np.ndarray, dict[str, Any]]:
    """Which profiles stay, (n,) bool, and the decision: the dict of cleaning.json.

    values, calibration, curves: the tables of values.parquet, calibration.parquet and curves.csv. similarity: the
    column of values that is cut. cutoff: as for choose_quantile. Raises InputError where no quantile can be chosen or
    no profile is left.
    """
    quantile = choose_quantile(curves, cutoff)
    kept, (threshold, threshold_second) = cut(values, calibration, similarity, quantile)
    before, before_sd = r2_at(curves, 0)
    after, after_sd = r2_at(curves, quantile)
    return kept, {
        "cutoff": cutoff,
        "quantile": quantile,
        "similarity": similarity,
        "threshold": threshold,
        "threshold_second": threshold_second,
        "n_validation": int((values["role"] == "validation").sum()),
        "stability": stability(values, calibration, similarity),
        "n_in": len(kept),
        "n_kept": int(kept.sum()),
        "n_dropped": int((~kept).sum()),
        "r2_before": before,
        "r2_before_sd": before_sd,
        "r2_after": after,
        "r2_after_sd": after_sd,
    }


def dropped_profiles(obs: pd.DataFrame, kept: np.ndarray, decision: dict[str, Any]) -> pd.DataFrame:
    """The table of dropped.tsv: the profiles that do not stay, with their values and the reason.

    obs: the metadata of all profiles by their id, with their values, `apc` and `role`. kept, decision: from decide.
    """
    similarity = decision["similarity"]
    dropped = obs.loc[~kept, [similarity, "cosine_se", "apc", "role"]].rename_axis("profile_id").reset_index()
    thresholds = np.where(dropped["role"] == "source", decision["threshold"], decision["threshold_second"])
    where = f"the cutoff at quantile {decision['quantile']:g}"
    return dropped.assign(reason=[f"{similarity} below {threshold:.6g}, {where}" for threshold in thresholds])


def choose_quantile(curves: pd.DataFrame, cutoff: float | str) -> float:
    """The share of source profiles to drop.

    curves: the table of curves.csv. cutoff: a quantile, or the name of one of CUTOFF_RULES.
    """
    return CUTOFF_RULES[cutoff](curves) if isinstance(cutoff, str) else float(cutoff)


def best_validation_r2(curves: pd.DataFrame) -> float:
    """The quantile at which dropping low DVGS values gives the best R² on the validation part of the target.

    curves: the table of curves.csv. R² is averaged over replicates; of equal quantiles it is the smallest, and never
    one at which a training diverged. The test set has no say. Raises InputError where trainings diverged at every
    quantile.
    """
    low = curves.query("profiles == 'all' and method == 'dvgs' and drop == 'low'")
    r2 = low.groupby("quantile")["r2_validation"].agg(lambda replicates: replicates.mean(skipna=False))
    if r2.isna().all():
        raise diverged("at every quantile a training of the filter curves has no R²")
    return float(r2.idxmax())


CUTOFF_RULES = {"auto": best_validation_r2}


def diverged(problem: str) -> InputError:
    """The error of trainings whose numbers are not finite."""
    return InputError("config", "curves.learning_rate", problem, "lower it, or set scale to zscore")


def r2_at(curves: pd.DataFrame, quantile: float) -> tuple[float, float]:
    """Mean and standard deviation over replicates of the test R² when DVGS drops the low `quantile`.

    curves: the table of curves.csv. Both are NaN where a replicate has no R²; the standard deviation is NaN where there
    is only one replicate.
    """
    low = curves.query("profiles == 'all' and method == 'dvgs' and drop == 'low'")
    found = low[np.isclose(low["quantile"], quantile)]["r2"]
    return float(found.mean(skipna=False)), float(found.std(skipna=False)) if len(found) > 1 else float("nan")


def cut(
    values: pd.DataFrame, calibration: pd.DataFrame, similarity: str, quantile: float
) -> tuple[np.ndarray, tuple[float, float]]:
    """Which profiles stay: (n,) bool, and the thresholds of the two trajectories.

    values: the table of values.parquet. calibration: that of calibration.parquet. The threshold is a quantile of the
    source profiles' values; for the profiles valued along the second trajectory it is the same quantile of the
    source profiles that were valued along it as well, because two trainings need not share a scale. At 0 all stay.
    Raises InputError where no profile is left.
    """
    value, source = values[similarity].to_numpy(), (values["role"] == "source").to_numpy()
    first = float(np.quantile(value[source], quantile))
    second = float(np.quantile(calibration[similarity], quantile))
    kept = (value >= np.where(source, first, second)) | (quantile == 0)
    if not kept.any():
        raise InputError("config", "clean.cutoff", f"nothing is left at {quantile}", "choose a smaller quantile")
    return kept, (first, second)


def stability(values: pd.DataFrame, calibration: pd.DataFrame, similarity: str) -> float:
    """Spearman correlation of the values of the same profiles along the two trajectories."""
    first = values.set_index("profile_id").loc[calibration["profile_id"], similarity]
    return float(first.reset_index(drop=True).corr(calibration[similarity], method="spearman"))
