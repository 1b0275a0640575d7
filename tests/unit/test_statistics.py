import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from dvgs import statistics
from dvgs.statistics import auroc, correlate, found_when_inspected


def test_a_resample_is_ranked_again(rng):
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
