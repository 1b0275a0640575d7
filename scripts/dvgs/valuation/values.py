"""The table of values: its columns, how shards become one, and how sure the ranking is."""

import pandas as pd

from dvgs.columns import EARLY, VALUE_COLUMNS
from dvgs.limits import largest_chunk


def gather(shards, profile_ids):
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


def convergence(table):
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


def shard_bounds(n, shard, n_shards):
    """The rows [start, stop) of n that belong to one shard.

    Shards end where blocks, and so chunks, end: a matrix product of other rows may round differently, so a profile must
    meet the same chunk however many shards there are. Then any number of shards gives the same bytes.
    """
    block = largest_chunk(n)
    n_blocks = -(-n // block)
    first, last = shard * n_blocks // n_shards, (shard + 1) * n_blocks // n_shards
    return min(first * block, n), min(last * block, n)
