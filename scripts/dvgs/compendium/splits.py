"""Source, target, validation and test: who teaches the task, who is valued, who judges."""

import numpy as np
import pandas as pd

from dvgs.errors import InputError
from dvgs.io.tables import MISSING

CALIBRATION = 512  # source profiles valued along both trajectories


def draw_split(obs, apc, *, target, min_apc, target_size, test_size, validation_share, rng):
    """Draw the target, its validation part, the test set, and a second target; all else is the source.

    obs: DataFrame indexed by profile id, with `pert_id`. apc: (n,) float64, NaN where there is none. min_apc: only
    profiles with a larger APC are drawn; None for all. target_size counts the validation part. Draws are balanced by
    perturbagen: a profile's chance is one over the number of eligible profiles of its perturbagen, and the mean of
    these where its perturbagen is unknown.

    The second target, as large as the first without its validation part, comes from the same eligible
    profiles but from the source, so that profiles drawn into target, validation and test can be valued too.

    Returns a DataFrame `profile_id, role, second_target` in the order of obs. Raises InputError with too few profiles.
    """
    eligible = np.ones(len(obs), bool) if min_apc is None else np.nan_to_num(apc, nan=-np.inf) > min_apc
    n_validation = round(target_size * validation_share)
    n_target = target_size - n_validation
    sizes = {"target": n_target, "validation": n_validation, "test": test_size, "second target": n_target}
    if n_validation < 2 or n_target < 1:
        raise InputError(
            "config",
            f"targets.{target}.validation_share",
            f"{validation_share} of {target_size} leaves {n_target} for the target and {n_validation} for validation",
            "at least 1 and 2 are needed: make target_size larger or change the share",
        )
    needed = sum(sizes.values())
    which = "profiles" if min_apc is None else f"profiles with APC above {min_apc}"
    if min_apc is not None and np.isnan(apc).all():
        remedy = "apc.parquet says why of each; set it to null, or see that the tables name replicates"
        raise InputError("config", f"targets.{target}.min_apc", "no profile has an APC", remedy)
    if eligible.sum() < needed or needed >= len(obs):
        drawn = ", ".join(f"{n} {name}" for name, n in sizes.items())
        raise InputError(
            "config",
            f"targets.{target}",
            f"{needed} {which} are needed ({drawn}) and more to value, {eligible.sum()} of {len(obs)} are there",
            "make target_size and test_size smaller" + ("" if min_apc is None else " or lower min_apc"),
        )
    rows = np.flatnonzero(eligible)
    perturbagen = obs["pert_id"].astype(str).iloc[rows]
    chance = 1 / perturbagen.map(perturbagen[~perturbagen.isin(MISSING)].value_counts())
    chance = chance.fillna(chance.mean()).fillna(1).to_numpy()
    # Drawn without replacement, the rare perturbagens come first; shuffled, all sets are alike.
    order = rng.permutation(rng.choice(rows, needed, replace=False, p=chance / chance.sum()))

    role = np.full(len(obs), "source", dtype=object)
    second_target = np.zeros(len(obs), bool)
    drawn = iter(np.split(order, np.cumsum(list(sizes.values()))))
    for name in sizes:
        rows = next(drawn)
        if name == "second target":
            second_target[rows] = True
        else:
            role[rows] = name
    return pd.DataFrame({"profile_id": obs.index.to_numpy(), "role": role, "second_target": second_target})


def target_rows(split, draw):
    """Positions of the profiles that a trajectory is trained on; draw is "first" or "second"."""
    return np.flatnonzero(split["role"] == "target" if draw == "first" else split["second_target"])


def valued_rows(split, draw):
    """Positions of the profiles valued along a trajectory: the source along the first, the rest along the second."""
    source = split["role"] == "source"
    return np.flatnonzero(source if draw == "first" else ~source)


def calibration_rows(split):
    """Positions of source profiles that are valued along the second trajectory too, evenly spaced over the file.

    They show where a value of the second trajectory would stand among the source, and how much values depend
    on the draw of the target.
    """
    source = np.flatnonzero((split["role"] == "source") & ~split["second_target"])
    places = np.linspace(0, len(source) - 1, min(CALIBRATION, len(source)))
    return source[places.round().astype(int)]
