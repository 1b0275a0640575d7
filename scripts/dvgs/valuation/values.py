"""The table of values: its columns, how shards become one, and how sure the ranking is."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from dvgs.columns import EARLY, VALUE_COLUMNS
from dvgs.limits import largest_chunk


@dataclass(frozen=True)
class Shard:
    """The rows [start, stop) of `total` that one job scores.

    Shards end where chunks do: a matrix product of other rows may round differently, so a profile must meet the same
    chunk however many shards there are. Then any number of shards gives the same bytes.
    """

    start: int
    stop: int
    total: int

    @classmethod
    def of(cls, total: int, shard: int = 0, n_shards: int = 1) -> "Shard":
        """One of n_shards shards of so many rows."""
        chunk = largest_chunk(total)
        n_chunks = -(-total // chunk)
        first, last = shard * n_chunks // n_shards, (shard + 1) * n_chunks // n_shards
        return cls(min(first * chunk, total), min(last * chunk, total), total)


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
    """How far the ranking by cosine depends on the steps that were averaged: DataFrame `steps, n_steps, spearman`.

    table: what scoring.score returns. One row for the first eighth, quarter and half of the steps against all of them,
    and one, "alternate", for two halves of alternate batches of steps (or of alternate restarts) against each other.
    n_steps: over how many similarities all values are means.
    """
    pairs = {name.removeprefix("cosine_"): (name, "cosine") for name in EARLY}
    pairs["alternate"] = ("cosine_even", "cosine_odd")
    n_steps = table["n_steps"].max()
    rows = [(steps, n_steps, table[a].corr(table[b], method="spearman")) for steps, (a, b) in pairs.items()]
    return pd.DataFrame(rows, columns=["steps", "n_steps", "spearman"])
