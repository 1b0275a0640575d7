"""The compendium: profiles as AnnData, what was selected, and the ledger of what was left out."""

import anndata as ad
import h5py
import numpy as np
import pandas as pd

from dvgs.errors import InputError
from dvgs.files import written_whole
from dvgs.jobs import Progress
from dvgs.values import MEASURES

# Columns that come to .obs later, and those that HDF5 formats keep for themselves.
RESERVED = {
    *MEASURES,
    "cosine_se",
    "role",
    "apc",
    "n_replicates",
    "apc_null_p",
    "apc_fdr",
    "apc_reason",
    "id",
    "_index",
}
NOT_IN_TABLE = "not in siginfo"
NOT_IN_MATRIX = "not in the level 5 file"
OTHER_TYPE = "pert_type not selected"
QC_FAILED = "qc_pass is not 1"
NOT_FINITE = "NaN or infinity in the profile"


def select_genes(level5, geneinfo, choice):
    """Positions in an open GctxFile of the genes to use, sorted by gene id so that file order does not matter.

    choice: "landmark", "all", or the path of a text file with one gene id a line. geneinfo: DataFrame indexed by
    gene_id with `feature_space`. Raises InputError if none is there or a listed one is missing.
    """
    if choice == "all":
        wanted = level5.gene_ids
    elif choice == "landmark":
        wanted = geneinfo.index[geneinfo["feature_space"] == "landmark"]
    else:
        wanted = _read_list(choice)
        absent = sorted(set(wanted) - set(level5.gene_ids))
        if absent:
            raise InputError(
                choice,
                "select.genes",
                f"{len(absent)} genes are not in {level5.path}, the first is {absent[0]!r}",
                "list gene ids of the level 5 file",
            )
    ids = pd.Series(level5.gene_ids)
    ids = ids[ids.isin(wanted)].sort_values(key=lambda s: s.str.zfill(12))
    if ids.empty:
        raise InputError(
            level5.path,
            "select.genes",
            f"no {choice} gene in the file",
            "check that geneinfo belongs to the matrix",
        )
    return ids.index.to_numpy()


def _read_list(path):
    try:
        with open(path) as file:
            return list(dict.fromkeys(line.strip() for line in file if line.strip()))
    except OSError as error:
        raise InputError(
            path,
            "select.genes",
            f"cannot be read ({error.strerror})",
            'give "landmark", "all" or the path of a file with one gene id a line',
        ) from error


def select_profiles(siginfo, matrix_ids, pert_types, qc_pass):
    """Which signatures are used, and why the others are not.

    siginfo: DataFrame indexed by sig_id. matrix_ids: ids in the matrix. pert_types: list, or None for all.
    qc_pass: whether `qc_pass` must be 1. Returns (selected ids, sorted; ledger DataFrame `profile_id, reason`), which
    together are all ids of the table and the matrix, each once.
    """
    ids = siginfo.index.union(pd.Index(matrix_ids))
    table = siginfo.reindex(ids)
    reason = pd.Series("", index=ids)

    def leave_out(condition, why):
        reason[(reason == "") & condition] = why

    leave_out(~ids.isin(siginfo.index), NOT_IN_TABLE)
    if pert_types is not None:
        leave_out(~table["pert_type"].isin(pert_types), OTHER_TYPE)
    if qc_pass:
        leave_out(table["qc_pass"] != 1, QC_FAILED)
    leave_out(~ids.isin(matrix_ids), NOT_IN_MATRIX)
    left_out = reason[reason != ""]
    return ids[reason == ""].sort_values(), _ledger(left_out.index, left_out.to_numpy())


def _ledger(ids, reasons):
    return pd.DataFrame({"profile_id": np.asarray(ids, object), "reason": reasons})


def ingest(level5, siginfo, geneinfo, *, pert_types, qc_pass, genes):
    """The selected signatures and genes as AnnData, and the ledger of the rest.

    level5: an open GctxFile. siginfo, geneinfo: from `tables`. genes: see select_genes. Rows are sorted by signature
    id and genes by gene id. X is float32 as in the file; `.obs` is siginfo, `.var` geneinfo. The matrix is read by
    blocks of whole profiles; memory is the selected part of it.
    """
    for column in ["pert_type"] * (pert_types is not None) + ["qc_pass"] * qc_pass:
        if column not in siginfo.columns:
            raise InputError(
                siginfo.attrs.get("path", "siginfo"),
                f"select.{column}",
                f"the table has no column {column!r}",
                f"set it to {'null' if column == 'pert_type' else 'false'}",
            )
    columns = select_genes(level5, geneinfo, genes)
    selected, ledger = select_profiles(siginfo, level5.profile_ids, pert_types, qc_pass)
    row = pd.Index(level5.profile_ids).get_indexer(selected)
    place = np.full(level5.shape[0], -1)
    place[row] = np.arange(len(row))
    matrix = np.empty((len(row), len(columns)), np.float32)
    progress = Progress("reading level 5, profiles", len(row))
    for positions, values in level5.blocks(columns, row):
        matrix[place[positions]] = values
        progress.advance(len(positions))

    finite = np.isfinite(matrix).all(axis=1)
    if not finite.all():
        lost = selected[~finite]
        ledger = pd.concat([ledger, _ledger(lost, NOT_FINITE)], ignore_index=True)
        matrix, selected = matrix[finite], selected[finite]
    if len(selected) == 0:
        reasons = ", ".join(f"{n} {reason}" for reason, n in ledger["reason"].value_counts().items())
        raise InputError(level5.path, "select", f"no profile is left ({reasons})", "loosen select in the config")
    gene_ids = level5.gene_ids[columns]
    var = geneinfo.reindex(gene_ids)
    data = ad.AnnData(matrix, obs=_storable(siginfo.loc[selected]), var=_storable(var))
    data.obs_names, data.var_names = data.obs_names.astype(str), data.var_names.astype(str)
    data.uns["n_input"] = len(siginfo.index.union(pd.Index(level5.profile_ids)))  # for the account in the report
    return data, ledger.sort_values("profile_id", ignore_index=True)


def _storable(frame):
    """Names that nothing else uses, and text columns without NaN, which HDF5 cannot store among text."""
    frame = frame.rename(columns=lambda c: f"file_{c}".replace("/", "_") if c in RESERVED or "/" in c else c)
    text = [c for c in frame.columns if frame[c].dtype == object]
    return frame.assign(**{c: frame[c].fillna("").astype(str) for c in text})


def write_h5ad(path, data):
    """Write AnnData, whole or not at all."""
    with written_whole(path) as partial:
        data.write_h5ad(partial)


def read_obs(path):
    """The metadata of the profiles in an .h5ad, without its matrix."""
    with h5py.File(path, "r") as file:
        return ad.io.read_elem(file["obs"])


def read_n_input(path):
    """How many profiles the tables and the matrix named together, before any was left out."""
    with h5py.File(path, "r") as file:
        return int(file["uns/n_input"][()])


def read_var(path):
    """The metadata of the genes in an .h5ad, without its matrix."""
    with h5py.File(path, "r") as file:
        return ad.io.read_elem(file["var"])


def gene_positions(gctx, gene_ids):
    """Positions of the genes in an open GctxFile, in the order of gene_ids; InputError if one is not there."""
    found = pd.Index(gctx.gene_ids).get_indexer(gene_ids)
    if (found < 0).any():
        absent = gene_ids[found < 0]
        raise InputError(
            gctx.path,
            "genes",
            f"{len(absent)} genes of level 5 are not in it, the first is {absent[0]!r}",
            "give level 4 and level 5 of one release, or list the common genes in select.genes",
        )
    return found


def read_umap(path, similarity):
    """UMAP coordinates, value and cell line of the profiles of a cleaned .h5ad: DataFrame `x, y, value, cell_iname`."""
    obs = read_obs(path)
    with h5py.File(path, "r") as file:
        x, y = file["obsm/X_umap"][:].T
    cell = obs["cell_iname"].astype(str)
    return pd.DataFrame({"x": x, "y": y, "value": obs[similarity].to_numpy(), "cell_iname": cell}).reset_index(
        drop=True
    )
