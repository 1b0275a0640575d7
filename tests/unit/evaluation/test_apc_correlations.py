import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dvgs.columns import SIMILARITIES
from dvgs.evaluation.apc_correlations import correlate_strata, dose_band, what_apc_goes_with


def test_dose_bands():
    dose = pd.Series([0.05, 0.1, 3.33, 10, 11, np.nan, 5, np.nan])
    unit = pd.Series(["uM", "uM", "uM", "uM", "uM", "uM", "ng/ml", ""])
    assert dose_band(dose, unit).tolist() == [
        "up to 0.1 µM", "up to 0.1 µM", "1 to 10 µM", "1 to 10 µM", "above 10 µM", "none", "ng/ml", "none",
    ]  # fmt: skip


def test_strata_use_the_profiles_that_have_an_apc(rng):
    n = 40
    apc = pd.DataFrame({"apc": rng.normal(size=n), "n_replicates": rng.integers(2, 4, n)})
    apc.loc[:9, "apc"] = np.nan
    values = pd.DataFrame({name: rng.normal(size=n) for name in SIMILARITIES} | {"role": "source"})
    obs = pd.DataFrame({"cell_iname": rng.choice(["A", "B"], n), "pert_dose": 1.0, "pert_dose_unit": "uM"})
    table = correlate_strata(values, apc, obs, "cosine", 20, rng)
    overall = table[table["by"] == "overall"]
    assert overall["similarity"].tolist() == [*SIMILARITIES] and (overall["n"] == 30).all()
    assert table.groupby("by")["n"].sum().drop("overall").eq(30).all()
    a = (obs["cell_iname"] == "A") & apc["apc"].notna()
    row = table[(table["by"] == "cell_iname") & (table["group"] == "A")].iloc[0]
    assert row["pearson"] == pytest.approx(stats.pearsonr(values["cosine"][a], apc["apc"][a]).statistic)


def test_what_apc_goes_with_against_sums_by_hand(rng):
    n = 60
    cell = rng.choice(["A375", "MCF7", "PC3"], n).astype(object)
    obs = pd.DataFrame({"cell_iname": cell, "pert_dose": rng.choice([0.1, 1, 10], n), "pert_time": 24})
    obs["pert_dose_unit"] = np.where(np.arange(n) < 50, "uM", "ng/ml")
    apc = rng.normal(size=n) + 0.5 * (cell == "PC3")
    apc[:5], obs.loc[5:8, "cell_iname"] = np.nan, ["", np.nan, None, ""]
    found = what_apc_goes_with(obs.assign(apc=apc))
    groups = [apc[9:][cell[9:] == name] for name in ("A375", "MCF7", "PC3")]
    within = sum(((group - group.mean()) ** 2).sum() for group in groups) / (51 - 3)
    assert found["cell_line"] == pytest.approx(1 - within / np.var(apc[9:], ddof=1))
    assert found["dose"] == pytest.approx(stats.spearmanr(obs["pert_dose"][5:50], apc[5:50]).statistic)
    assert np.isnan(found["time"])  # all of one hour
    assert np.isnan(list(what_apc_goes_with(pd.DataFrame({"apc": apc})).values())).all()
    assert np.isnan(list(what_apc_goes_with(obs.assign(apc=np.nan)).values())).all()
    assert np.isnan(what_apc_goes_with(obs.assign(apc=apc, cell_iname=np.arange(n)))["cell_line"])


def test_cell_lines_explain_nothing_of_what_is_noise(rng):
    shares = [
        what_apc_goes_with(pd.DataFrame({"apc": rng.normal(size=60), "cell_iname": np.arange(60) // 3}))["cell_line"]
        for _ in range(200)
    ]
    assert abs(np.mean(shares)) < 0.03  # a third without the correction
