"""Ingestion: the selected profiles are streamed into one .h5ad, and the others go to the ledger."""

from pathlib import Path

import numpy as np
import pandas as pd

from dvgs.columns import APC_COLUMNS, VALUE_COLUMNS
from dvgs.compendium.ledger import (
    NOT_USABLE,
    check_ingested,
    ledger_of,
)
from dvgs.compendium.selection import Selection, select_genes, select_profiles
from dvgs.errors import InputError
from dvgs.io.files import written_whole
from dvgs.io.h5ad import add_tables, create_x, fill_x
from dvgs.io.matrix import Matrix
from dvgs.io.rows import Rows, check_space
from dvgs.io.tables import MISSING_NUMBER, rename_columns
from dvgs.progress import Progress, logger

# Columns that are added to .obs later, and names that HDF5 formats use themselves.
RESERVED = {*VALUE_COLUMNS, "role", *APC_COLUMNS, "profile_id", "id", "_index", "."}
LARGE_COUNT = 20  # larger than z-scores and logarithms are
COUNTS_PER_PROFILE = 1e4  # as scanpy's tutorials have it


def ingest(
    path: str | Path,
    matrix: Matrix,
    table: pd.DataFrame,
    genes_table: pd.DataFrame,
    selection: Selection,
) -> pd.DataFrame:
    """Write the selected profiles and genes to an .h5ad; return the ledger of the rest.

    matrix: an open Matrix. table: a row per profile, indexed by its id; with a column `sig_id`, the profiles are single
    replicates and that is what they are replicates of. genes_table: likewise for genes.

    Rows are sorted by (signature and) profile id and genes by gene id; X is contiguous float32, `.obs` is the table,
    `.var` that of the genes. Memory is two blocks of whole profiles and the tables, whatever the length of the file.
    """
    types, qc_pass = selection.pert_types, selection.qc_pass
    for column, asked, remedy in (("pert_type", types is not None, "null"), ("qc_pass", qc_pass, "false")):
        if asked and column not in table.columns:
            where, problem = table.attrs.get("path", matrix.path), f"the table has no column {column!r}"
            raise InputError(where, f"select.{column}", problem, f"set it to {remedy}")
    columns = select_genes(matrix, genes_table, selection.genes)
    selected, ledger = select_profiles(table, matrix.profile_ids, types, qc_pass)
    if "sig_id" in table.columns:
        selected = table.loc[selected, ["sig_id"]].rename_axis("profile_id").sort_values(["sig_id", "profile_id"]).index
    n_input = len(selected) + len(ledger)
    gene_ids = matrix.gene_ids[columns]
    check_space(Path(path).parent, 4 * len(selected) * len(columns))
    with written_whole(path) as partial:
        with create_x(partial, (len(selected), len(columns))) as rows:
            usable = _copy(matrix, selected, columns, rows, selection)
            ledger = pd.concat([ledger, ledger_of(selected[~usable], NOT_USABLE)], ignore_index=True)
            selected = selected[usable]
            if len(selected) == 0:
                raise _nothing_left(matrix, table, ledger)
            if not usable.all():  # an X cannot become shorter, so the usable rows are copied
                with written_whole(partial) as shorter:
                    fill_x(shorter, (len(selected), len(columns)), rows.blocks(usable))
        check_ingested(selected, ledger, n_input)
        obs, var = _storable(table.loc[selected]), _storable(genes_table.reindex(gene_ids))
        add_tables(partial, obs, var, uns={"n_input": n_input})
    return ledger.sort_values("profile_id", ignore_index=True)


def _nothing_left(matrix: Matrix, table: pd.DataFrame, ledger: pd.DataFrame) -> InputError:
    if table.index.intersection(pd.Index(matrix.profile_ids)).empty:
        there = [str(next(iter(ids), "none")) for ids in (matrix.profile_ids, table.index)]
        problem = f"its first profile is {there[0]!r}, that of the table {there[1]!r}, and they have none in common"
        return InputError(matrix.path, "profile ids", problem, "give matrix and table of one release and level")
    why = ", ".join(f"{n} {reason}" for reason, n in ledger["reason"].value_counts().items())
    return InputError(matrix.path, "select", f"no profile is left ({why})", "loosen select in the config")


def _copy(matrix: Matrix, selected: pd.Index, columns: np.ndarray, rows: Rows, selection: Selection) -> np.ndarray:
    """Copy the selected profiles to their places in `rows`, in one pass; return which of them are usable."""
    row = pd.Index(matrix.profile_ids).get_indexer(selected)
    place = np.full(matrix.shape[0], -1)
    place[row] = np.arange(len(row))
    usable = np.ones(len(row), bool)
    n_bad, first = 0, ""
    progress = Progress("reading profiles", len(row))
    read = np.arange(matrix.shape[1]) if selection.counts else columns
    for number, (positions, values) in enumerate(matrix.blocks(read, row)):
        bad = _unusable(values)
        if bad.any():
            i, j = np.argwhere(bad)[0]
            first = first or f"in profile {matrix.profile_ids[positions[i]]!r}, gene {matrix.gene_ids[read[j]]!r}"
            n_bad += int(bad.sum())
            usable[place[positions[bad.any(axis=1)]]] = False
        if selection.counts:
            _check_counts(matrix, positions, values)
            values = _log_counts(values)[:, columns]
        elif number == 0 and _look_like_counts(values):
            logger.warning("%s looks like raw counts; set input.counts to true if it is", matrix.path)
        rows.write(place[positions], values)
        progress.advance(len(positions))
    if n_bad:
        problem = f"{n_bad} values in {(~usable).sum()} profiles are NaN, infinite or -666, the first {first}"
        if selection.bad_values == "stop":
            raise InputError(matrix.path, "select.bad_values", problem, "correct the matrix, or set it to drop")
        logger.warning("%s: %s; these profiles are left out", matrix.path, problem)
    return usable


def _check_counts(matrix: Matrix, positions: np.ndarray, values: np.ndarray) -> None:
    negative = (values < 0).any(axis=1)
    if negative.any():
        problem = f"negative values, in profile {matrix.profile_ids[positions[negative][0]]!r}"
        raise InputError(matrix.path, "input.counts", problem, "set it to false for values that are no counts")


def _unusable(values: np.ndarray) -> np.ndarray:
    """Where values are no measurements, (n, genes) bool."""
    # In most blocks the lowest and the highest value show that all are measurements, in half the time.
    if values.min(initial=0) > MISSING_NUMBER and values.max(initial=0) < np.inf:
        return np.zeros(values.shape, bool)
    return ~np.isfinite(values) | (values == MISSING_NUMBER)


def _look_like_counts(values: np.ndarray) -> bool:
    return bool(values.max(initial=0) > LARGE_COUNT and (values >= 0).all() and (values == values.round()).all())


def _log_counts(values: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        share = values / values.sum(axis=1, keepdims=True, dtype=np.float64)
    return np.log1p(COUNTS_PER_PROFILE * np.nan_to_num(share)).astype(np.float32)


def _storable(frame: pd.DataFrame) -> pd.DataFrame:
    """Names that nothing else uses, and text and categories without NaN, which HDF5 cannot store among text."""
    frame = rename_columns(frame, RESERVED)
    text = frame.select_dtypes(["object", "category"]).astype(object)
    return frame.assign(**text.fillna("").astype(str))
