"""Metadata of the profiles: from the tables of a LINCS release, or from the file of another compendium."""

from collections.abc import Mapping

import pandas as pd

from dvgs.errors import InputError
from dvgs.io.matrix import Matrix
from dvgs.io.tables import MISSING, MISSING_NUMBER, explode_replicates, rename_columns, uniform
from dvgs.progress import logger

# The columns that the workflow knows, by what they are called in the config.
KNOWN_COLUMNS = {"replicate": "sig_id", "perturbagen": "pert_id", "cell": "cell_iname"}


def describe_replicates(instinfo: pd.DataFrame, siginfo: pd.DataFrame) -> pd.DataFrame:
    """instinfo with a column `sig_id`: the signature that each replicate belongs to, "" for none.

    A replicate of several signatures counts for the first of them in siginfo. Raises InputError if siginfo names none
    of the replicates.
    """
    members = explode_replicates(siginfo["distil_ids"])
    if not members["profile_id"].isin(instinfo.index).any():
        problem = f"none of the {len(members):,} replicates that it names in distil_ids is in instinfo"
        raise InputError(
            siginfo.attrs.get("path"), "input.siginfo", problem, "give siginfo and instinfo of one release"
        )
    again = members["profile_id"].duplicated()
    if again.any():
        shared = members.loc[again, "profile_id"].nunique()
        logger.warning("%d replicates belong to several signatures and count for the first of them", shared)
    signature = members[~again].set_index("profile_id")["sig_id"]
    return instinfo.assign(sig_id=signature.reindex(instinfo.index).fillna("").to_numpy())


def describe_profiles(matrix: Matrix, columns: Mapping[str, str | None]) -> pd.DataFrame:
    """What a file says of its profiles, with the columns that the workflow knows, numbers and units as in siginfo.

    matrix: an open Matrix. columns: dict `replicate, perturbagen, cell` of names of its columns, or None. Without a
    perturbagen, replicates of one thing are of one perturbagen; without a cell line, all are of one.
    """
    table = matrix.metadata("profile")
    for key, column in columns.items():
        if column is not None and column not in table.columns:
            there = ", ".join(map(str, table.columns[:8])) or "no columns"
            problem = f"its profiles have no column {column!r} (there are {there})"
            raise InputError(matrix.path, f"input.columns.{key}", problem, "name one of them, or leave it out")
    table = table.mask(table.isin([*MISSING, MISSING_NUMBER]))
    known = {KNOWN_COLUMNS[key]: _text(table[column]) for key, column in columns.items() if column is not None}
    known.setdefault("sig_id", pd.Series("", index=table.index))
    known.setdefault("pert_id", known["sig_id"])
    known.setdefault("cell_iname", pd.Series("all", index=table.index))
    # What the file has under these names is something else, unless it was named.
    table = uniform(
        table.drop(columns=[KNOWN_COLUMNS[key] for key, column in columns.items() if column == KNOWN_COLUMNS[key]])
    )
    found = pd.concat([pd.DataFrame(known), rename_columns(table, known)], axis=1)
    found.index = pd.Index(matrix.profile_ids)
    return found


def _text(column: pd.Series) -> pd.Series:
    return column.astype(object).where(column.notna(), "").astype(str)


def gene_table(matrix: Matrix) -> pd.DataFrame:
    """What a file says of its genes, indexed by gene id."""
    return matrix.metadata("gene").set_axis(pd.Index(matrix.gene_ids))
