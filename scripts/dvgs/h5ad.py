"""AnnData files (.h5ad): read by blocks of whole profiles, and written without the matrix in memory."""

import anndata as ad
import h5py
import numpy as np

from dvgs.files import written_whole
from dvgs.gctx import write_rows
from dvgs.matrix import Matrix, as_text


class H5adFile(Matrix):
    """An open .h5ad (see Matrix); its X may be dense or sparse. Metadata are `.obs` and `.var`."""

    def __init__(self, path, field="h5ad"):
        super().__init__(path, field)

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
        if self._data.X is None:
            raise self.error("it has no X", "put the matrix to use into X")
        # Rows of a matrix that is compressed by columns are all over the file.
        by_columns = getattr(self._data.X, "format", "") == "csc"
        self._x = self._data.X.to_memory().tocsr() if by_columns else self._data.X
        super()._check()

    def metadata(self, axis):
        return (self._data.var if axis == "gene" else self._data.obs).copy()

    def _read(self, first, last, stop):
        block = self._x[first:last]
        return block if isinstance(block, np.ndarray) else block.toarray()


def write_h5ad(path, blocks, obs, var, **parts):
    """Write an .h5ad, whole or not at all.

    blocks: X, or an iterable of blocks of its rows, so that it need not be in memory; stored as contiguous float32.
    obs, var: DataFrames. parts: `uns`, `obsm` and the like, as AnnData takes them.
    """
    with written_whole(path) as partial:
        ad.AnnData(obs=obs, var=var, **parts).write_h5ad(partial)
        with h5py.File(partial, "r+") as file:
            if "X" in file:
                del file["X"]
            x = file.create_dataset("X", (len(obs), len(var)), np.float32)
            x.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
            write_rows(x, blocks)


def read_obs(path):
    """The metadata of the profiles in an .h5ad, without its matrix."""
    with h5py.File(path, "r") as file:
        return ad.io.read_elem(file["obs"])


def read_var(path):
    """The metadata of the genes in an .h5ad, without its matrix."""
    with h5py.File(path, "r") as file:
        return ad.io.read_elem(file["var"])
