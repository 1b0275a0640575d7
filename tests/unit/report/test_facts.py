import numpy as np
import pandas as pd
import pytest

from dvgs.report.facts import counts, flat, interval, number, verdict


@pytest.mark.parametrize(
    ("after", "sd", "random", "said"),
    [
        (0.405, 0.01, 0.4, "R² changed no more than between repeated trainings."),
        (0.45, 0.01, 0.44, "R² rose by 0.050, and nearly as much when as many are dropped at random."),
        (0.45, 0.01, 0.40, "R² rose by 0.050, more than between repeated trainings."),
        (0.35, 0.01, 0.40, "R² fell by 0.050, more than between repeated trainings."),
        (0.45, np.nan, 0.40, "It is unknown whether R² changed: there are no repeated trainings to compare."),
        (np.nan, 0.01, 0.40, "It is unknown whether R² changed: there are no repeated trainings to compare."),
    ],
)
def test_a_change_of_r2_is_compared_with_repeats_and_with_random_dropping(after, sd, random, said):
    decision = {"quantile": 0.5, "r2_before": 0.4, "r2_before_sd": 0.0, "r2_after": after, "r2_after_sd": sd}
    assert verdict(decision, random) == said
    assert verdict(decision | {"quantile": 0}, random) == "Nothing was dropped."


def test_numbers_for_people():
    assert [number(0.12345), number(12.3, 1), number(None), number(np.nan), number(np.inf)] == [
        "0.123", "12.3", "n/a", "n/a", "n/a",
    ]  # fmt: skip
    assert interval({"r": 0.5, "r_low": -0.25, "r_high": np.nan}, "r") == "0.500 [-0.250, n/a]"


def test_reasons_are_counted_the_most_frequent_first():
    assert counts(pd.Series(["b", None, "c", "a", "c", "b"])) == [("b", 2), ("c", 2), ("a", 1), ("no reason given", 1)]


def test_a_nested_configuration_is_listed_with_dotted_keys():
    tree = {"seed": 7, "model": {"hidden": [64], "more": {"name": "µ"}}, "empty": {}}
    assert list(flat(tree)) == [("seed", "7"), ("model.hidden", "[64]"), ("model.more.name", '"µ"'), ("empty", "{}")]
