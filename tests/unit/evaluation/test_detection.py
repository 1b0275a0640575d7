import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dvgs.evaluation.detection import DETECTION_MEASURES, INSPECTED_SHARES, detect_corrupted, detect_faults, name_faults


def test_each_fault_is_compared_with_the_faultless(rng):
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


def test_faults_of_single_replicates_get_names():
    truth = pd.DataFrame({"noise_sd": [0, 1.5, 1.5, 0, 0], "bad_plate": [0, 0, 0, 1, 1]}, index=list("abcde"))
    truth["swapped_with"] = ["", "", "x", "", "y"]
    found = name_faults(truth)
    assert found["fault"].tolist() == ["none", "noise", "swapped", "bad_plate", "bad_plate"]
    assert (found["n_replicates"] == 1).all() and "fault" not in truth
    assert name_faults(found).equals(found)  # as of signatures


def slow_auroc(value, faulty):
    """The share of pairs of a faulty and a faultless profile in which the faulty has the lower value."""
    pairs = [(bad, good) for bad in value[faulty] for good in value[~faulty]]
    return np.mean([1.0 if bad < good else 0.5 if bad == good else 0.0 for bad, good in pairs]) if pairs else np.nan


def slow_found(value, faulty, share):
    """The share of the faulty among the lowest values, of equal values the first."""
    order = sorted(range(len(value)), key=lambda i: (value[i], i))[: round(share * len(value))]
    return sum(faulty[i] for i in order) / sum(faulty) if any(faulty) else np.nan


def slow_average_precision(value, faulty):
    """The precision at every distinct value, weighted by the share of the faulty that the step adds."""
    total = 0.0
    for threshold in sorted(set(value)):
        here, found = value == threshold, value <= threshold
        total += faulty[found].mean() * faulty[here].sum() / faulty.sum()
    return total


def test_faults_against_loops_over_profiles(rng):
    n = 80
    fault = rng.choice(["none", "noise", "bad_plate", "swapped"], n, p=[0.7, 0.1, 0.1, 0.1])
    truth = pd.DataFrame({"fault": fault, "n_replicates": rng.integers(2, 4, n)})
    truth["noise_sd"] = np.where(fault == "noise", rng.random(n), 0.0)
    methods = pd.DataFrame({"ties": rng.integers(0, 9, n).astype(float), "smooth": rng.normal(size=n)})
    known_apc = rng.random(n) < 0.6
    table = detect_faults(methods, truth, known_apc, 5, rng)
    assert len(table) == 2 * 2 * 4
    for row in table.itertuples():
        inside = known_apc if row.profiles == "with_apc" else np.ones(n, bool)
        compared = inside & np.isin(fault, [row.fault, "none"] if row.fault != "any" else np.unique(fault))
        value, faulty = methods[row.method].to_numpy()[compared], fault[compared] != "none"
        assert (row.n, row.n_faulty) == (compared.sum(), faulty.sum())
        assert row.auroc == pytest.approx(slow_auroc(value, faulty))
        assert row.found_at_20 == pytest.approx(slow_found(value, faulty, 0.2))
        ranks = np.zeros((2, n))
        for size in (2, 3):
            group = inside & (truth["n_replicates"] == size).to_numpy()
            for rank, column in zip(ranks, (methods[row.method], truth["noise_sd"]), strict=True):
                rank[group] = stats.rankdata(column[group]) / group.sum()
        assert row.spearman_noise == pytest.approx(stats.pearsonr(*ranks[:, inside]).statistic)


def test_a_fault_that_nobody_has_gives_no_numbers(rng):
    truth = pd.DataFrame({"fault": ["none"] * 4 + ["noise"], "noise_sd": [0.0] * 4 + [1], "n_replicates": 2})
    table = detect_faults(pd.DataFrame({"dvgs": np.arange(5.0)}), truth, np.zeros(5, bool), 5, rng)
    table = table.set_index(["profiles", "fault"])
    assert table.loc[("all", "noise"), ["n", "n_faulty", "auroc"]].tolist() == [5, 1, 0]
    assert table.loc[("all", "swapped"), ["n", "n_faulty"]].tolist() == [4, 0]
    assert table.loc["with_apc", "n"].eq(0).all()
    nothing = table.loc[[("all", "swapped"), ("with_apc", "noise")], ["auroc", "auroc_low", "found_at_20"]]
    assert nothing.isna().all(axis=None)


@pytest.mark.parametrize("n_values", [5, 1000])  # with ties and without
def test_corrupted_samples_against_loops(rng, n_values):
    value, corrupted = rng.integers(n_values, size=60).astype(float), rng.random(60) < 0.3
    noise_sd = np.where(corrupted, rng.random(60), 0)
    value[::7] = np.nan
    known = ~np.isnan(value)
    found = detect_corrupted(value, corrupted, noise_sd)
    value, corrupted, noise_sd = value[known], corrupted[known], noise_sd[known]
    assert (found["n"], found["n_corrupted"]) == (known.sum(), corrupted.sum())
    assert found["auroc"] == pytest.approx(slow_auroc(value, corrupted))
    assert found["average_precision"] == pytest.approx(slow_average_precision(value, corrupted))
    for share in INSPECTED_SHARES:
        assert found[f"found_at_{share * 100:.0f}"] == pytest.approx(slow_found(value, corrupted, share))
    assert found["spearman_noise"] == pytest.approx(stats.spearmanr(value, noise_sd).statistic)


def test_nothing_corrupted_or_no_value_at_all():
    for value in (np.arange(4.0), np.full(4, np.nan)):
        found = detect_corrupted(value, np.zeros(4, bool), np.zeros(4))
        assert found["n"] == np.isfinite(value).sum() and found["n_corrupted"] == 0
        assert np.isnan([found[name] for name in DETECTION_MEASURES]).all()


def test_detection_by_hand():
    value = np.arange(10.0)
    corrupted = np.isin(value, [0, 1, 5])
    found = detect_corrupted(value, corrupted, 10 - value)
    assert found["n"] == 10 and found["n_corrupted"] == 3 and found["spearman_noise"] == pytest.approx(-1)
    assert found["auroc"] == pytest.approx((7 + 7 + 4) / 21)
    assert found["average_precision"] == pytest.approx((1 + 1 + 3 / 6) / 3)
    assert [found[f"found_at_{k}0"] for k in range(1, 6)] == pytest.approx([1 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3])


def test_samples_without_a_value_are_left_out():
    value, corrupted = np.array([np.nan, 0, 1, 2]), np.array([True, True, False, False])
    found = detect_corrupted(value, corrupted, np.zeros(4))
    assert found["n"] == 3 and found["auroc"] == 1 and np.isnan(found["spearman_noise"])
    assert found.keys() == {"n", "n_corrupted", *DETECTION_MEASURES}
