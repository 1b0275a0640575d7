import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from dvgs import statistics
from dvgs.columns import SIMILARITIES
from dvgs.evaluation.apc_correlations import correlate_strata, dose_band, what_apc_goes_with
from dvgs.evaluation.detection import detect_faults
from dvgs.statistics import auroc, correlate, found_when_inspected


def test_a_resample_is_ranked_anew(rng):
    x = rng.integers(0, 6, 30).astype(float)
    rows = rng.integers(30, size=30)
    weight = np.bincount(rows, minlength=30)
    expected = dict(zip(rows, stats.rankdata(x[rows]), strict=True))
    found = statistics._Side(x).ranks(weight)
    assert {row: found[row] for row in rows} == expected


def test_intervals_are_those_of_the_bootstrap(rng):
    x = rng.normal(size=50)
    y = x + rng.normal(size=50)
    found = correlate(x, y, 300, np.random.default_rng(7))
    again, draws = np.random.default_rng(7), []
    for _ in range(300):
        rows = again.integers(50, size=50)
        draws.append((stats.pearsonr(x[rows], y[rows]).statistic, stats.spearmanr(x[rows], y[rows]).statistic))
    for name, (low, high) in zip(("pearson", "spearman"), np.quantile(draws, [0.025, 0.975], axis=0).T, strict=True):
        assert [found[f"{name}_low"], found[f"{name}_high"]] == pytest.approx([low, high])


def test_correlations_are_those_of_scipy(rng):
    x = rng.integers(0, 9, 60).astype(float)  # ties
    y = x + rng.normal(size=60) * 3
    found = correlate(x, y, 200, rng)
    assert found["pearson"] == pytest.approx(stats.pearsonr(x, y).statistic)
    assert found["spearman"] == pytest.approx(stats.spearmanr(x, y).statistic)
    for name in ("pearson", "spearman"):
        assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]


def test_interval_holds_the_truth_as_often_as_it_says(rng):
    """Against the known correlation of a bivariate normal."""
    inside = 0
    for _ in range(200):
        x, y = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 80).T
        found = correlate(x, y, 300, rng)
        inside += found["pearson_low"] <= 0.6 <= found["pearson_high"]
    assert 0.87 < inside / 200 < 0.99


@pytest.mark.parametrize(("x", "y"), [([1, 2], [3, 4]), ([1, 1, 1, 1], [1, 2, 3, 4]), ([], [])])
def test_no_correlation_without_spread(x, y, rng):
    found = correlate(np.array(x, float), np.array(y, float), 10, rng)
    assert found["n"] == len(x) and np.isnan(found["pearson"]) and np.isnan(found["spearman_high"])


def test_auroc_is_that_of_scikit_learn(rng):
    value = rng.integers(0, 30, 200).astype(float)
    faulty = rng.random(200) < 0.3
    area, low, high = auroc(value - 5 * faulty, faulty)
    assert area == pytest.approx(roc_auc_score(faulty, -(value - 5 * faulty)))
    assert 0 <= low < area < high <= 1


def test_auroc_interval_holds_the_truth(rng):
    truth = stats.norm.cdf(1 / np.sqrt(2))
    inside = 0
    for _ in range(300):
        faulty = np.arange(150) < 40
        _, low, high = auroc(rng.normal(size=150) - faulty, faulty)
        inside += low <= truth <= high
    assert 0.91 < inside / 300 < 0.99


def test_auroc_without_a_class():
    assert np.isnan(auroc(np.array([1.0, 2]), np.array([False, False]))).all()
    area, low, _ = auroc(np.array([1.0, 2, 3]), np.array([True, False, False]))
    assert area == 1 and np.isnan(low)


def test_share_found_when_inspected():
    value, faulty = np.array([5.0, 1, 2, 9, 3]), np.array([False, True, False, True, True])
    assert found_when_inspected(value, faulty, 0.2) == pytest.approx(1 / 3)
    assert found_when_inspected(value, faulty, 0.6) == pytest.approx(2 / 3)


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


def test_detection_judges_each_fault_against_the_faultless(rng):
    truth = pd.DataFrame({"fault": ["none"] * 6 + ["noise"] * 2 + ["swapped"] * 2, "n_replicates": 1})
    truth["noise_sd"] = [0.0] * 6 + [1, 2, 0, 0]
    good = np.array([9, 8, 7, 6, 5, 4, 1, 2, 10, 3], float)
    methods = pd.DataFrame({"good": good, "apc": [1.0, *[np.nan] * 4, 2, 3, 4, 5, 6]})
    known = methods["apc"].notna().to_numpy()
    table = detect_faults(methods, truth, known, 20, rng).set_index(["profiles", "method", "fault"])
    assert table.loc[("all", "good", "noise"), "auroc"] == 1
    assert table.loc[("all", "good", "swapped"), "auroc"] == 0.5
    assert table.loc[("all", "good", "any"), "n"] == 10 and table.loc[("all", "good", "noise"), "n"] == 8
    assert ("all", "apc", "any") not in table.index  # it has no value for all of them
    assert table.loc[("with_apc", "apc", "any"), "n"] == 6
    assert table.loc[("all", "good", "any"), "spearman_noise"] == pytest.approx(
        stats.spearmanr(good, truth["noise_sd"]).statistic
    )


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
