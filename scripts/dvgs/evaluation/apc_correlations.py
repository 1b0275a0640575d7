"""How values go with replicate agreement (APC), and what APC itself goes with."""

import numpy as np
import pandas as pd
from scipy import stats

from dvgs.columns import SIMILARITIES
from dvgs.io.tables import doses_in_micromolar
from dvgs.statistics import correlate


def dose_band(dose: pd.Series, unit: pd.Series) -> pd.Series:
    """Doses as decades in µM, text; doses in other units have the unit as their band, unknown doses "none"."""
    edges = [-np.inf, 0.1, 1, 10, np.inf]
    bands = pd.cut(dose, edges, labels=["up to 0.1 µM", "0.1 to 1 µM", "1 to 10 µM", "above 10 µM"])
    bands = bands.astype(object).where(unit == "uM", unit)
    return bands.where(dose.notna(), "none").astype(str)


def correlate_strata(
    values: pd.DataFrame,
    apc: pd.DataFrame,
    obs: pd.DataFrame,
    chosen: str,
    n_bootstrap: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """DVGS against APC: overall for every similarity, and by stratum for the chosen one.

    values: DataFrame with `role` and SIMILARITIES, rows as in apc and obs. apc: DataFrame `apc, n_replicates`. obs:
    metadata, which give strata by `cell_iname`, `pert_type` and dose as far as they are there. Rows without an APC are
    left out. Returns the table of correlations.csv.
    """
    known = apc["apc"].notna().to_numpy()
    y = apc["apc"].to_numpy()[known]
    rows = []
    for name in SIMILARITIES:
        x = values[name].to_numpy()[known]
        rows.append({"similarity": name, "by": "overall", "group": "all"} | correlate(x, y, n_bootstrap, rng))
    x = values[chosen].to_numpy()[known]
    for by, groups in _strata(values[known], apc[known], obs[known]).items():
        for group in np.unique(groups):
            inside = groups == group
            found = correlate(x[inside], y[inside], n_bootstrap, rng)
            rows.append({"similarity": chosen, "by": by, "group": group} | found)
    return pd.DataFrame(rows)


def _strata(values: pd.DataFrame, apc: pd.DataFrame, obs: pd.DataFrame) -> dict[str, np.ndarray]:
    """By stratum the group of every row, text."""
    strata = {"role": np.where(values["role"] == "source", "source", "target, validation, test")}
    strata |= {"n_replicates": apc["n_replicates"].astype(int).astype(str).to_numpy()}
    for column in ("cell_iname", "pert_type"):
        if column in obs:
            strata[column] = obs[column].astype(str).to_numpy()
    if "pert_dose" in obs and "pert_dose_unit" in obs:
        strata["dose"] = dose_band(obs["pert_dose"], obs["pert_dose_unit"].astype(str)).to_numpy()
    return strata


def what_apc_goes_with(table: pd.DataFrame) -> dict[str, float]:
    """The share of the variance of APC that lies between cell lines, and its Spearman correlation with dose and time.

    table: DataFrame `apc`, NaN where there is none, and as far as they are known `cell_iname`, `pert_dose`,
    `pert_dose_unit`, `pert_time`; doses in other units than µM are left out. The share is corrected for the number of
    cell lines (ε² of Kelley 1935), because many small groups explain much by chance.
    Returns a dict `cell_line, dose, time` of floats, NaN where it cannot be computed.
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


def _share_between(table: pd.DataFrame) -> float:
    groups = table.groupby(table["cell_iname"].astype(str))["apc"]
    n, k, total = len(table), groups.ngroups, table["apc"].var(ddof=0)
    if not 1 < k < n or total == 0:
        return np.nan
    within = ((table["apc"] - groups.transform("mean")) ** 2).mean()
    return 1 - (n - 1) / (n - k) * within / total
