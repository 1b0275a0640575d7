"""The ledger: every profile that was left out, one reason each, so that in = kept + left out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from dvgs.io.h5ad import read_obs

NOT_IN_TABLE = "not in the table of profiles"
NOT_IN_MATRIX = "not in the matrix"
OTHER_TYPE = "pert_type not selected"
QC_FAILED = "qc_pass is not 1"
NOT_USABLE = "NaN, infinity or -666 in the profile"


def ledger_of(ids: Sequence[str] | pd.Index, reasons: str | np.ndarray) -> pd.DataFrame:
    """A ledger of these profiles, with a reason for each or one for all: DataFrame `profile_id, reason`."""
    return pd.DataFrame({"profile_id": np.asarray(ids, object), "reason": reasons})


def check_ingested(selected: pd.Index, ledger: pd.DataFrame, n_input: int) -> None:
    """AssertionError unless every profile that the table or the matrix names is used or in the ledger, once."""
    found = selected.append(pd.Index(ledger["profile_id"]))
    if len(found) != n_input or found.has_duplicates:
        raise AssertionError(f"{n_input} profiles in, {len(selected)} used and {len(ledger)} in the ledger")


def read_ledger(path: str | Path) -> pd.DataFrame:
    """A table of profiles as text, where an id may be NA or null."""
    return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)


def read_n_input(path: str | Path) -> int:
    """How many profiles the tables and the matrix named together, before any was left out."""
    with h5py.File(path, "r") as file:
        return int(file["uns/n_input"][()])


def check_cleaned(input: Any, n_input: int, ledger: pd.DataFrame, targets: Sequence[str]) -> None:
    """AssertionError unless every profile of the input is in the ledger, cleaned or dropped, once, for each target.

    input: has the paths `cleaned` and `dropped`, in the order of targets.
    """
    for target, cleaned, dropped in zip(targets, input.cleaned, input.dropped, strict=True):
        where = [ledger["profile_id"], read_ledger(dropped)["profile_id"], read_obs(cleaned).index]
        found = pd.Index(np.concatenate([np.asarray(ids, str) for ids in where]))
        if len(found) != n_input or found.has_duplicates:
            counts = "{:,} left out, {:,} dropped, {:,} cleaned".format(*map(len, where))
            raise AssertionError(f"{target}: of {n_input:,} profiles {counts}")
