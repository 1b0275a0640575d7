"""AnnData files (.h5ad): read by blocks of whole profiles, and written without the matrix in memory."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd

from dvgs.io.files import written_whole
from dvgs.io.matrix import MatrixFile, as_text, pick
from dvgs.io.rows import Rows, open_rows, place_dataset


class H5adFile(MatrixFile):
    """An open .h5ad (see Matrix); its X may be dense or sparse. Metadata are `.obs` and `.var`."""

    def _open(self) -> None:
        try:
            self._file = h5py.File(self.path, "r")
            try:
                self._obs, self._var, self._x = _stored(self._file)
            except BaseException:
                self._file.close()
                raise
        except Exception as error:  # whatever is in the file that anndata does not expect
            raise self.error(f"anndata cannot open it ({error})", "give an .h5ad that anndata reads") from error

    def close(self) -> None:
        self._file.close()

    def _read_ids(self) -> tuple[np.ndarray, np.ndarray]:
        if self._x is None:
            raise self.error("it has no X", "put the matrix to use into X")
        return as_text(self._obs.index.to_numpy()), as_text(self._var.index.to_numpy())

    def _check(self) -> None:
        if getattr(self._x, "format", "") == "csc":  # its rows are all over the file
            self._x = self._x.to_memory().tocsr()

    def metadata(self, axis: str) -> pd.DataFrame:
        return (self._var if axis == "gene" else self._obs).copy()

    def _read(self, rows: np.ndarray, genes: np.ndarray) -> np.ndarray:
        return pick(_dense(self._x[rows[0] : rows[-1] + 1]), rows - rows[0], genes)


def read_obs(path: str | Path) -> pd.DataFrame:
    """The metadata of the profiles in an .h5ad, without its matrix."""
    with h5py.File(path, "r") as file:
        return _table(file, "obs")


def read_var(path: str | Path) -> pd.DataFrame:
    """The metadata of the genes in an .h5ad, without its matrix."""
    with h5py.File(path, "r") as file:
        return _table(file, "var")


def read_obs_and_x(path: str | Path) -> tuple[pd.DataFrame, np.ndarray | None]:
    """The metadata of the profiles in an .h5ad and its whole matrix, dense; None without one."""
    with h5py.File(path, "r") as file:
        obs, _, x = _stored(file)
        return obs, None if x is None else _dense(x[:])


def _stored(file: h5py.File) -> tuple[pd.DataFrame, pd.DataFrame, Any]:
    """obs, var and X of an open .h5ad; X stays on disk and gives rows by slices, dense or sparse; None without X."""
    obs, var, x = _table(file, "obs"), _table(file, "var"), file.get("X")
    if isinstance(x, h5py.Group):
        x = ad.io.sparse_dataset(x)
    if x is not None and x.shape != (len(obs), len(var)):
        raise ValueError(f"X is {x.shape}, obs and var have {len(obs)} and {len(var)} rows")
    return obs, var, x


def _table(file: h5py.File, name: str) -> pd.DataFrame:
    if isinstance(file[name], h5py.Dataset):  # by anndata before 0.7, which kept the categories elsewhere
        return getattr(ad.read_h5ad(file.filename, backed="r"), name)
    return ad.io.read_elem(file[name])


def _dense(block: Any) -> np.ndarray:
    return block if isinstance(block, np.ndarray) else block.toarray()


def create_x(path: str | Path, shape: tuple[int, int]) -> Rows:
    """Begin an .h5ad with its X, contiguous float32; return it as Rows, to be written in any order."""
    with h5py.File(path, "w") as file:
        x = place_dataset(file, "X", shape, np.float32)
        x.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    return open_rows(path)["X"]


def fill_x(path: str | Path, shape: tuple[int, int], blocks: Iterable[np.ndarray]) -> None:
    """Begin an .h5ad with blocks of rows, in order; ValueError unless they are as many as `shape` says."""
    start = 0
    with create_x(path, shape) as rows:
        for block in blocks:
            rows.write(np.arange(start, start + len(block)), block)
            start += len(block)
    if start != shape[0]:
        raise ValueError(f"{start} rows for {shape}")


def add_tables(path: str | Path, obs: pd.DataFrame, var: pd.DataFrame, **others: Any) -> None:
    """Give an .h5ad that has an X all else: obs and var; others: `uns`, `obsm` and the like of AnnData."""
    tables = Path(path).with_name(f".tables.{Path(path).name}")
    try:
        ad.AnnData(obs=obs, var=var, **others).write_h5ad(tables)
        with h5py.File(tables, "r") as source, h5py.File(path, "r+") as file:
            file.attrs.update(source.attrs)
            for name in sorted(set(source) - {"X"}):  # in the same order in every run, for the same bytes
                source.copy(name, file)
    finally:
        tables.unlink(missing_ok=True)


def write_h5ad(
    path: str | Path,
    blocks: np.ndarray | Iterable[np.ndarray],
    obs: pd.DataFrame,
    var: pd.DataFrame,
    **others: Any,
) -> None:
    """Write an .h5ad, whole or not at all.

    blocks: X, or an iterable of blocks of its rows, so that it need not be in memory; stored as contiguous float32.
    obs, var, others: as for add_tables.
    """
    with written_whole(path) as partial:
        fill_x(partial, (len(obs), len(var)), [blocks] if isinstance(blocks, np.ndarray) else blocks)
        add_tables(partial, obs, var, **others)
