import json

import numpy as np
import pandas as pd
import pytest

from dvgs.errors import InputError
from dvgs.filtering.curves import CURVE_COLUMNS
from dvgs.filtering.cutoff import choose_quantile, cut, decide, dropped_profiles, r2_at, stability


@pytest.fixture
def values():
    """Eight source profiles and four that were valued along the second trajectory, which has another scale."""
    return pd.DataFrame(
        {
            "profile_id": list("abcdefghijkl"),
            "cosine": [0.8, 0.1, 0.7, 0.2, 0.6, 0.3, 0.5, 0.4, 10, 40, 20, 30],
            "cosine_se": 0.01,
            "role": ["source"] * 8 + ["validation", "validation", "test", "target"],
        }
    )


@pytest.fixture
def calibration():
    return pd.DataFrame({"profile_id": list("heca"), "cosine": [12.0, 26, 34, 22]})


@pytest.fixture
def curves():
    points = [(0.0, 0.30, 0.1), (0.0, 0.32, 0.1), (0.5, 0.40, 0.3), (0.5, 0.46, 0.2)]
    points = [("all", "dvgs", "low", *point) for point in points]
    others = [("all", "dvgs", "high"), ("with_apc", "dvgs", "low"), ("all", "random", "low")]
    points += [(*other, 0.5, 9.0, 9.0) for other in others]
    return pd.DataFrame(points, columns=["profiles", "method", "drop", "quantile", "r2", "r2_validation"])


def test_the_decision_says_what_was_cut_where_and_why(values, calibration, curves):
    kept, decision = decide(values, calibration, curves, "cosine", "auto")
    assert "".join(values["profile_id"][kept]) == "acegjl"
    numbers = {name: decision.pop(name) for name in ("r2_before_sd", "r2_after_sd", "r2_before", "r2_after")}
    assert decision == {
        "cutoff": "auto",
        "quantile": 0.5,
        "similarity": "cosine",
        "threshold": pytest.approx(0.45),
        "threshold_second": 24.0,
        "n_validation": 2,
        "stability": pytest.approx(0.4),  # the ranks 1, 2, 3, 4 and 1, 3, 4, 2: 1 - 6 (1 + 1 + 4) / (4 (16 - 1))
        "n_in": 12,
        "n_kept": 6,
        "n_dropped": 6,
    }
    assert numbers == pytest.approx(
        {"r2_before": 0.31, "r2_before_sd": 0.01 * 2**0.5, "r2_after": 0.43, "r2_after_sd": 0.03 * 2**0.5}
    )


def test_the_order_of_the_decision_is_that_of_its_file(values, calibration, curves):
    _, decision = decide(values, calibration, curves, "cosine", 0.5)
    assert " ".join(json.loads(json.dumps(decision))) == (
        "cutoff quantile similarity threshold threshold_second n_validation stability n_in n_kept n_dropped "
        "r2_before r2_before_sd r2_after r2_after_sd"
    )


def test_a_cutoff_without_a_point_of_the_curve_has_no_r2(values, calibration, curves):
    kept, decision = decide(values, calibration, curves, "cosine", 0.25)
    assert (decision["cutoff"], decision["quantile"]) == (0.25, 0.25) and decision["n_kept"] == kept.sum() == 9
    assert np.isnan([decision["r2_after"], decision["r2_after_sd"]]).all() and decision["r2_before"] == 0.31


def test_dropped_profiles_are_named_with_the_threshold_of_their_trajectory(values, calibration, curves):
    kept, decision = decide(values, calibration, curves, "cosine", 0.5)
    obs = values.set_index("profile_id").assign(apc=np.arange(12.0), other="x")
    dropped = dropped_profiles(obs, kept, decision)
    assert list(dropped) == ["profile_id", "cosine", "cosine_se", "apc", "role", "reason"]
    assert "".join(dropped["profile_id"]) == "bdfhik" and dropped["apc"].tolist() == [1, 3, 5, 7, 8, 10]
    first, second = (f"cosine below {threshold}, the cutoff at quantile 0.5" for threshold in ("0.45", "24"))
    assert dropped["reason"].tolist() == [first] * 4 + [second] * 2


def test_nothing_dropped_is_an_empty_table(values, calibration, curves):
    kept, decision = decide(values, calibration, curves, "cosine", 0)
    assert kept.all() and decision["n_dropped"] == 0
    dropped = dropped_profiles(values.set_index("profile_id").assign(apc=np.nan), kept, decision)
    assert len(dropped) == 0 and list(dropped)[-1] == "reason"


def test_the_threshold_itself_stays(values, calibration):
    sources = values[values["role"] == "source"].head(5)  # 0.1, 0.2, 0.6, 0.7, 0.8
    kept, (threshold, _) = cut(sources, calibration, "cosine", 0.5)
    assert threshold == 0.6 and sources["cosine"][kept].min() == 0.6


def test_nobody_may_be_left(values, calibration, curves):
    with pytest.raises(InputError, match=r"config: clean.cutoff: nothing is left at 0.5; choose a smaller quantile"):
        decide(values.assign(cosine=np.nan), calibration, curves, "cosine", 0.5)


def test_one_replicate_has_no_standard_deviation(curves):
    found = r2_at(curves[::2], 0.5)
    assert found[0] == 0.4 and np.isnan(found[1])


def test_a_configured_cutoff_does_not_look_at_the_curves(curves):
    assert choose_quantile(curves.assign(r2_validation=np.nan), 0) == 0.0
    assert choose_quantile(curves.head(2), "auto") == 0.0


def test_opposite_ranks_are_not_stable(values):
    calibration = values.head(8)[["profile_id", "cosine"]].sample(frac=1, random_state=0).reset_index(drop=True)
    assert stability(values, calibration, "cosine") == pytest.approx(1)
    assert stability(values, calibration.assign(cosine=-calibration["cosine"]), "cosine") == pytest.approx(-1)


@pytest.fixture
def traced():
    rows = [
        ("all", "dvgs", "low", q, k, 10, 5, test + k, validation)
        for q, test, validation in ((0.0, 0.3, 0.1), (0.5, 0.9, 0.2), (0.7, 0.1, 0.4), (0.9, 0.2, 0.4))
        for k in (0, 1)
    ]
    others = [("all", "random", "low", 0.2, 0, 10, 5, 9, 9), ("with_apc", "dvgs", "low", 0.2, 0, 10, 5, 9, 9)]
    return pd.DataFrame(rows + others, columns=CURVE_COLUMNS)


def test_cutoff_is_chosen_on_validation_never_on_test(traced):
    assert choose_quantile(traced, "auto") == 0.7  # test R² would say 0.5; of equals the smaller
    assert choose_quantile(traced, 0.25) == 0.25
    assert r2_at(traced, 0.5) == (pytest.approx(1.4), pytest.approx(np.std([0.9, 1.9], ddof=1)))


def test_diverging_trainings_are_said(traced):
    with pytest.raises(
        InputError, match=r"config: curves.learning_rate: at every quantile a training of the filter curves has no R²"
    ):
        choose_quantile(traced.assign(r2_validation=np.nan), "auto")
    once = traced["quantile"].eq(0.7) & traced["replicate"].eq(0)
    assert choose_quantile(traced.assign(r2_validation=traced["r2_validation"].mask(once)), "auto") == 0.9
    assert all(np.isnan(r2_at(traced.assign(r2=traced["r2"].mask(once)), 0.7)))


def test_each_trajectory_is_cut_at_the_sources_quantile_along_it():
    values = pd.DataFrame({"cosine": [0.1, 0.2, 0.3, 0.4, 1.5, 2.9], "role": ["source"] * 4 + ["test", "target"]})
    calibration = pd.DataFrame({"cosine": [1.0, 2.0, 3.0]})  # the second trajectory has another scale
    kept, thresholds = cut(values, calibration, "cosine", 0.5)
    assert thresholds == pytest.approx((0.25, 2.0)) and kept.tolist() == [False, False, True, True, False, True]
    assert cut(values, calibration + 9, "cosine", 0)[0].all()
    with pytest.raises(InputError, match="nothing is left"):
        cut(values.assign(cosine=np.nan), calibration, "cosine", 0.5)


def test_stability_compares_the_same_profiles():
    values = pd.DataFrame({"profile_id": list("abcd"), "cosine": [1.0, 2, 3, 4]})
    calibration = pd.DataFrame({"profile_id": list("dbc"), "cosine": [0.9, 0.1, 0.5]})
    assert stability(values, calibration, "cosine") == pytest.approx(1)
