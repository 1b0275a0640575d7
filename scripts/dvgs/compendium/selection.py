"""The selection: which profiles and genes of a matrix are used, and which profiles the ledger takes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dvgs.compendium.ledger import (
    NOT_IN_MATRIX,
    NOT_IN_TABLE,
    OTHER_TYPE,
    QC_FAILED,
    ledger_of,
)
from dvgs.errors import InputError
from dvgs.io.matrix import Matrix


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is used of a matrix.

    pert_types: perturbagen types, None for all. qc_pass: whether only profiles that passed quality control. genes: see
    select_genes. bad_values: a profile with NaN, infinity or -666 is left out ("drop") or ends the run ("stop").
    counts: X holds raw counts, which are divided by their profile's sum, multiplied by 10,000 and put on a log(1 + x)
    scale.
    """

    pert_types: list[str] | None = None
    qc_pass: bool = False
    genes: str = "all"
    bad_values: str = "drop"
    counts: bool = False


def select_genes(matrix: Matrix, genes_table: pd.DataFrame, choice: str) -> np.ndarray:
    """Positions in an open Matrix of the genes to use, sorted by gene id so that file order does not matter.

    choice: "landmark", "all", or the path of a text file with one gene id a line. genes_table: DataFrame indexed
    by gene id, for landmarks with `feature_space`. Raises InputError if none is there or a listed one is missing.
    """
    wanted: Collection[str] | np.ndarray | pd.Index
    if choice == "all":
        wanted = matrix.gene_ids
    elif choice == "landmark":
        wanted = _landmarks(genes_table, matrix)
    else:
        wanted = _read_list(choice)
        absent = sorted(set(wanted) - set(matrix.gene_ids))
        if absent:
            raise InputError(
                choice,
                "select.genes",
                f"{len(absent)} genes are not in {matrix.path}, the first is {absent[0]!r}",
                "list gene ids of that file",
            )
    ids = pd.Series(matrix.gene_ids)
    ids = ids[ids.isin(wanted)].sort_values(key=lambda s: s.str.zfill(12))
    if ids.empty:
        raise InputError(
            matrix.path,
            "select.genes",
            f"no {choice} gene in the file",
            "check that geneinfo belongs to the matrix",
        )
    return ids.index.to_numpy()


def _landmarks(genes_table: pd.DataFrame, matrix: Matrix) -> pd.Index:
    if "feature_space" not in genes_table.columns:
        raise InputError(
            genes_table.attrs.get("path", matrix.path),
            "select.genes",
            "landmark genes are asked for, and it has no column 'feature_space'",
            'set it to "all" or to the path of a file with one gene id a line',
        )
    return genes_table.index[genes_table["feature_space"] == "landmark"]


def _read_list(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8-sig") as file:
            genes = list(dict.fromkeys(line.strip() for line in file if line.strip()))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            path,
            "select.genes",
            f"cannot be read ({error})",
            'give "landmark", "all" or the path of a UTF-8 file with one gene id a line',
        ) from error
    if not genes:
        raise InputError(path, "select.genes", "there is no gene in it", "give one gene id a line")
    return genes


def select_profiles(
    table: pd.DataFrame, matrix_ids: Sequence[str] | np.ndarray, pert_types: list[str] | None, qc_pass: bool
) -> tuple[pd.Index, pd.DataFrame]:
    """Which profiles are used, and why the others are not.

    table: DataFrame indexed by profile id. matrix_ids: ids in the matrix. pert_types: list, or None for all.
    qc_pass: whether `qc_pass` must be 1. Returns (selected ids, sorted; ledger DataFrame `profile_id, reason`), which
    together are all ids of the table and the matrix, each once.
    """
    ids = table.index.union(pd.Index(matrix_ids))
    wanted = table.reindex(columns=["pert_type", "qc_pass"]).reindex(ids)
    reason = pd.Series("", index=ids)

    def leave_out(condition: np.ndarray | pd.Series, why: str) -> None:
        reason[(reason == "") & condition] = why

    leave_out(~ids.isin(table.index), NOT_IN_TABLE)
    if pert_types is not None:
        leave_out(~wanted["pert_type"].isin(pert_types), OTHER_TYPE)
    if qc_pass:
        leave_out(wanted["qc_pass"] != 1, QC_FAILED)
    leave_out(~ids.isin(matrix_ids), NOT_IN_MATRIX)
    left_out = reason[reason != ""]
    return ids[reason == ""].sort_values(), ledger_of(left_out.index, left_out.to_numpy())


def gene_positions(matrix: Matrix, gene_ids: pd.Index) -> np.ndarray:
    """Positions of the genes in an open Matrix, in the order of gene_ids; InputError if one is not there."""
    found = pd.Index(matrix.gene_ids).get_indexer(gene_ids)
    if (found < 0).any():
        absent = gene_ids[found < 0]
        raise InputError(
            matrix.path,
            "genes",
            f"{len(absent)} genes of level 5 are not in it, the first is {absent[0]!r}",
            "give level 4 and level 5 of one release, or list the common genes in select.genes",
        )
    return found
