"""The table of values: it is joined from shards, and shows how sure the ranking is."""

from collections.abc import Sequence

import pandas as pd

from dvgs.columns import EARLY, VALUE_COLUMNS


def gather(shards: list[pd.DataFrame], profile_ids: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """One table of values in the order of `profile_ids`, the calibration table and the convergence table.

    The calibration table holds the values along the second trajectory of some source profiles.
    Raises ValueError unless every profile was valued exactly once.
    """
    table = pd.concat(shards, ignore_index=True)
    calibration = table["role"] == "calibration"
    table, calibration = table[~calibration], table[calibration]
    if table["profile_id"].duplicated().any() or set(table["profile_id"]) != set(profile_ids):
        raise ValueError("the shards do not hold every profile exactly once; score them again")
    columns = ["profile_id", *VALUE_COLUMNS, "role"]
    table = table.set_index("profile_id").loc[profile_ids].reset_index()
    calibration = calibration[columns[:-1]].reset_index(drop=True)
    return table[columns], calibration, convergence(table[table["role"] == "source"])


def convergence(table: pd.DataFrame) -> pd.DataFrame:
    """How much the ranking by cosine depends on the steps that were averaged: DataFrame `steps, n_steps, spearman`.

    table: what scoring.score returns. There is one row each for the first eighth, quarter and half of the steps,
    compared with all steps. The row "alternate" compares two halves with each other: every second batch of steps (or
    restart), and the others. n_steps: how many similarities are averaged in a value.
    """
    pairs = {name.removeprefix("cosine_"): (name, "cosine") for name in EARLY}
    pairs["alternate"] = ("cosine_even", "cosine_odd")
    n_steps = table["n_steps"].max()
    rows = [(steps, n_steps, table[a].corr(table[b], method="spearman")) for steps, (a, b) in pairs.items()]
    return pd.DataFrame(rows, columns=["steps", "n_steps", "spearman"])
