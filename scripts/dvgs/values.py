"""The table of values: its columns, and how shards become one."""

import pandas as pd

SIMILARITIES = ("cosine", "dot", "projection", "l2")  # more is better in each
MEASURES = (*SIMILARITIES, "gradient_norm", "loss")


def gather(shards, profile_ids):
    """One table of values in the order of `profile_ids`, and the calibration table, from the tables of all shards.

    The calibration table holds the values along the second trajectory of some source profiles.
    Raises ValueError unless every profile was valued exactly once.
    """
    table = pd.concat(shards, ignore_index=True)
    calibration = table["role"] == "calibration"
    table, calibration = table[~calibration], table[calibration]
    if table["profile_id"].duplicated().any() or set(table["profile_id"]) != set(profile_ids):
        raise ValueError("the shards do not hold every profile exactly once; score them again")
    columns = ["profile_id", "cosine", "cosine_se", *MEASURES[1:], "role"]
    table = table.set_index("profile_id").loc[profile_ids].reset_index()
    return table[columns], calibration[columns[:-1]].reset_index(drop=True)
