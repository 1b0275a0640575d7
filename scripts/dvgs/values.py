"""The table of values: its columns, and how shards become one."""

import pandas as pd

SIMILARITIES = ("cosine", "dot", "projection", "l2")  # more is better in each
MEASURES = (*SIMILARITIES, "gradient_norm", "loss")


def gather(shards, profile_ids):
    """One table of values in the order of `profile_ids`, from the tables of all shards.

    Raises ValueError unless every profile was valued exactly once.
    """
    table = pd.concat(shards, ignore_index=True)
    if table["profile_id"].duplicated().any() or set(table["profile_id"]) != set(profile_ids):
        raise ValueError("the shards do not hold every profile exactly once; score them again")
    columns = ["profile_id", "cosine", "cosine_se", *MEASURES[1:], "role"]
    return table.set_index("profile_id").loc[profile_ids].reset_index()[columns]
