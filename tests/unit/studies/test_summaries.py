import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dvgs.evaluation.detection import DETECTION_MEASURES
from dvgs.studies.summaries import areas, compare_with_dvgs, over_replicates


def test_differences_are_taken_within_replicates(rng):
    runs = [(method, replicate) for method in ("random", "dvgs", "dvgs_raw") for replicate in (2, 0, 1)]
    detection = pd.DataFrame(runs, columns=["method", "replicate"]).assign(
        **{m: rng.random(9) for m in DETECTION_MEASURES}
    )
    found = compare_with_dvgs(detection.sample(frac=1, random_state=0), DETECTION_MEASURES)
    assert len(found) == 4 * len(DETECTION_MEASURES)
    found = found.set_index(["dvgs", "method", "measure"])
    for name, sign in (("auroc", 1), ("spearman_noise", -1)):  # noise lowers a good value
        values = dict(zip(("random", "dvgs", "dvgs_raw"), detection[name].to_numpy().reshape(3, 3), strict=True))
        for pair in (("dvgs", "random"), ("dvgs", "dvgs_raw"), ("dvgs_raw", "random"), ("dvgs_raw", "dvgs")):
            difference = sign * (values[pair[0]] - values[pair[1]])
            low, high = stats.t.interval(0.95, 2, difference.mean(), stats.sem(difference))
            row = found.loc[(*pair, name)]
            assert row[["mean", "low", "high"]].tolist() == pytest.approx([difference.mean(), low, high])
            assert row[["better", "worse"]].tolist() == [low > 0, high < 0]
    assert compare_with_dvgs(detection[detection["method"] == "random"], DETECTION_MEASURES).empty


def test_differences_of_curves_are_taken_at_their_points(rng):
    points = [(m, q, r) for m in ("dvgs", "random") for q in (0.2, 0.1) for r in (0, 1)]
    curves = pd.DataFrame(points, columns=["method", "quantile", "replicate"]).assign(score=rng.random(8))
    found = compare_with_dvgs(curves, ["score"], ["quantile"])
    expected = curves["score"].to_numpy().reshape(2, 2, 2)
    assert found["quantile"].tolist() == [0.2, 0.1] and set(found["method"]) == {"random"}
    assert found["mean"].tolist() == pytest.approx((expected[0] - expected[1]).mean(axis=1))


def test_areas_by_hand():
    rows = [("a", w, d, q) for w in (True, False) for d in ("high", "low") for q in (0.4, 0.0, 0.1)]
    curves = pd.DataFrame(rows, columns=["method", "with_target", "drop", "quantile"]).assign(replicate=2)
    curves["score"] = [0.3, 0.7, 0.6, 0.9, 0.7, 0.8, 0.6, 0.7, 0.6, 0.5, 0.7, 0.8]
    (found,) = areas(curves).to_dict("records")
    assert found == {
        "method": "a",
        "replicate": 2,
        "area": pytest.approx(0.1 * (0 + 0.2) / 2 + 0.3 * (0.2 - 0.1) / 2),
        "area_with_target": pytest.approx(0.1 * (0 + 0.2) / 2 + 0.3 * (0.2 + 0.6) / 2),
    }


def test_bands_over_replicates():
    table = pd.DataFrame({"method": ["b", "b", "b", "a"], "score": [1.0, 2, 4, 7]})
    found = over_replicates(table, ["method"], ["score"])
    assert found["method"].tolist() == ["b", "a"]
    low, high = stats.t.interval(0.95, 2, np.mean([1, 2, 4]), stats.sem([1, 2, 4]))
    assert found.loc[0, ["n", "low", "high"]].tolist() == pytest.approx([3, low, high])
    assert found.loc[1, "mean"] == 7 and found.loc[1, ["sd", "low", "high"]].isna().all()
