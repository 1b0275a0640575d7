"""AnnData files (.h5ad): read by blocks of whole profiles, and written without the matrix in memory."""

from pathlib import Path

import anndata as ad
import h5py
import numpy as np

from dvgs.io.files import written_whole
from dvgs.io.matrix import Matrix, as_text, pick
from dvgs.io.rows import Rows, open_rows, place_dataset


class H5adFile(Matrix):
    """An open .h5ad (see Matrix); its X may be dense or sparse. Metadata are `.obs` and `.var`."""

    def _open(self):
        try:
            self._data = ad.read_h5ad(self.path, backed="r")
        except Exception as error:  # whatever is in the file that anndata does not expect
            raise self.error(f"anndata cannot open it ({error})", "give an .h5ad that anndata reads") from error

    def close(self):
        self._data.file.close()

    def _check(self):
        self.profile_ids = as_text(self._data.obs_names.to_numpy())
        self.gene_ids = as_text(self._data.var_names.to_numpy())
        if "X" not in self._data.file:
            raise self.error("it has no X", "put the matrix to use into X")
        # Rows of a matrix that is compressed by columns are all over the file.
        by_columns = getattr(self._data.X, "format", "") == "csc"
        self._x = self._data.X.to_memory().tocsr() if by_columns else self._data.X
        super()._check()

    def metadata(self, axis):
        return (self._data.var if axis == "gene" else self._data.obs).copy()

    def _read(self, rows, genes):
        block = self._x[rows[0] : rows[-1] + 1]
        return pick(block if isinstance(block, np.ndarray) else block.toarray(), rows - rows[0], genes)


def create_x(path: str | Path, shape: tuple[int, int]) -> Rows:
    """Begin an .h5ad with its X, contiguous float32; return it as Rows, to be written in any order."""
    with h5py.File(path, "w") as file:
        x = place_dataset(file, "X", shape, np.float32)
        x.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    return open_rows(path)["X"]


def fill_x(path, shape, blocks):
    """Begin an .h5ad with blocks of rows, in order; ValueError unless they are as many as `shape` says."""
    start = 0
    with create_x(path, shape) as rows:
        for block in blocks:
            rows.write(np.arange(start, start + len(block)), block)
            start += len(block)
    if start != shape[0]:
        raise ValueError(f"{start} rows for {shape}")


def add_tables(path, obs, var, **parts):
    """Give an .h5ad that has an X all else: obs and var, DataFrames; parts: `uns`, `obsm` and the like of AnnData."""
    tables = Path(path).with_name(f".tables.{Path(path).name}")
    try:
        ad.AnnData(obs=obs, var=var, **parts).write_h5ad(tables)
        with h5py.File(tables, "r") as source, h5py.File(path, "r+") as file:
            file.attrs.update(source.attrs)
            for name in sorted(set(source) - {"X"}):  # in the same order in every run, for the same bytes
                source.copy(name, file)
    finally:
        tables.unlink(missing_ok=True)


def write_h5ad(path, blocks, obs, var, **parts):
    """Write an .h5ad, whole or not at all.

    blocks: X, or an iterable of blocks of its rows, so that it need not be in memory; stored as contiguous float32.
    obs, var, parts: as for add_tables.
    """
    with written_whole(path) as partial:
        fill_x(partial, (len(obs), len(var)), [blocks] if isinstance(blocks, np.ndarray) else blocks)
        add_tables(partial, obs, var, **parts)


def read_obs(path):
    """The metadata of the profiles in an .h5ad, without its matrix."""
    with h5py.File(path, "r") as file:
        return ad.io.read_elem(file["obs"])


def read_var(path):
    """The metadata of the genes in an .h5ad, without its matrix."""
    with h5py.File(path, "r") as file:
        return ad.io.read_elem(file["var"])
