"""Source, target, validation and test: which profiles are valued, and which ones the task is trained and tested on."""

import numpy as np
import pandas as pd

from dvgs.errors import InputError
from dvgs.io.tables import MISSING

CALIBRATION = 512  # source profiles valued along both trajectories


def draw_split(
    obs: pd.DataFrame,
    apc: np.ndarray,
    *,
    target: str,
    min_apc: float | None,
    target_size: int,
    test_size: int,
    validation_share: float,
    rng: np.random.Generator,
) -> pd.DataFrame:
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
    if n_validation < 2 or n_target < 1:
        raise InputError(
            "config",
            f"targets.{target}.validation_share",
            f"{validation_share} of {target_size} leaves {n_target} for the target and {n_validation} for validation",
            "at least 1 and 2 are needed: make target_size larger or change the share",
        )
    if min_apc is not None and np.isnan(apc).all():
        remedy = "apc.parquet says why of each; set it to null, or see that the tables name replicates"
        raise InputError("config", f"targets.{target}.min_apc", "no profile has an APC", remedy)
    sizes = {"target": n_target, "validation": n_validation, "test": test_size, "second target": n_target}
    _check_number(f"targets.{target}", sizes, eligible, min_apc)
    rows = np.flatnonzero(eligible)
    order = _draw_balanced(rows, obs["pert_id"].astype(str).iloc[rows], sum(sizes.values()), rng)
    drawn = dict(zip(sizes, np.split(order, np.cumsum(list(sizes.values()))), strict=False))

    role = np.full(len(obs), "source", dtype=object)
    for name in ("target", "validation", "test"):
        role[drawn[name]] = name
    second_target = np.zeros(len(obs), bool)
    second_target[drawn["second target"]] = True
    return pd.DataFrame({"profile_id": obs.index.to_numpy(), "role": role, "second_target": second_target})


def _check_number(key: str, sizes: dict[str, int], eligible: np.ndarray, min_apc: float | None) -> None:
    """InputError unless there are as many eligible profiles as are drawn, and others to value."""
    needed = sum(sizes.values())
    if eligible.sum() >= needed and needed < len(eligible):
        return
    which = "profiles" if min_apc is None else f"profiles with APC above {min_apc}"
    drawn = ", ".join(f"{n} {name}" for name, n in sizes.items())
    raise InputError(
        "config",
        key,
        f"{needed} {which} are needed ({drawn}) and more to value, {eligible.sum()} of {len(eligible)} are there",
        "make target_size and test_size smaller" + ("" if min_apc is None else " or lower min_apc"),
    )


def _draw_balanced(rows: np.ndarray, perturbagen: pd.Series, n: int, rng: np.random.Generator) -> np.ndarray:
    """n of the rows in random order, without replacement; all perturbagens have the same chance."""
    chance = 1 / perturbagen.map(perturbagen[~perturbagen.isin(MISSING)].value_counts())
    share = chance.fillna(chance.mean()).fillna(1).to_numpy()
    # Without replacement, rare perturbagens are drawn first; after the shuffle all sets have the same share of them.
    return rng.permutation(rng.choice(rows, n, replace=False, p=share / share.sum()))


def target_rows(split: pd.DataFrame, draw: str) -> np.ndarray:
    """Positions of the profiles that a trajectory is trained on; draw is "first" or "second"."""
    return np.flatnonzero(split["role"] == "target" if draw == "first" else split["second_target"])


def valued_rows(split: pd.DataFrame, draw: str) -> np.ndarray:
    """Positions of the profiles valued along a trajectory: the source along the first, the rest along the second."""
    source = split["role"] == "source"
    return np.flatnonzero(source if draw == "first" else ~source)


def calibration_rows(split: pd.DataFrame) -> np.ndarray:
    """Positions of source profiles that are valued along the second trajectory too, evenly spaced over the file.

    They show where a value of the second trajectory would stand among the source, and how much values depend
    on the draw of the target.
    """
    source = np.flatnonzero((split["role"] == "source") & ~split["second_target"])
    places = np.linspace(0, len(source) - 1, min(CALIBRATION, len(source)))
    return source[places.round().astype(int)]
