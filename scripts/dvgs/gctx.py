"""GCTX: expression matrices in HDF5, read by blocks of whole profiles and written.

The matrix stands as (profiles x genes) at `/0/DATA/0/matrix`, gene ids at `/0/META/ROW/id`, profile ids
at `/0/META/COL/id`, other metadata beside them (https://clue.io/connectopedia/gctx_format).
"""

import os
import re
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from dvgs.files import written_whole
from dvgs.matrix import Matrix, as_text

MATRIX, ROW, COL = "0/DATA/0/matrix", "0/META/ROW", "0/META/COL"
MICRO = {0xB5: "u", 0x3BC: "u"}  # as CMap itself writes uM
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


class GctxFile(Matrix):
    """An open GCTX file (see Matrix); contiguous, chunked or compressed."""

    def __init__(self, path, field="gctx"):
        super().__init__(path, field)

    def _open(self):
        if not self.path.is_file():
            raise self.error("not a file", "give the path of a GCTX file")
        with open(self.path, "rb") as file:
            if file.read(8) != HDF5_SIGNATURE:
                raise self.error("not an HDF5 file", "give a GCTX file, not text, gzip or a web page")
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise self.error(_why_closed(error), "fetch or copy the file again") from error

    def close(self):
        self._file.close()

    def _check(self):
        for name in (MATRIX, f"{ROW}/id", f"{COL}/id"):
            if name not in self._file:
                raise self.error(f"it has no /{name}", "give a file in GCTX layout")
        self._matrix = self._file[MATRIX]
        self.gene_ids = as_text(self._file[f"{ROW}/id"][:])
        self.profile_ids = as_text(self._file[f"{COL}/id"][:])
        super()._check()
        if self._matrix.shape != self.shape:
            transposed = self._matrix.shape == self.shape[::-1]
            found = "the matrix is transposed: " if transposed else ""
            raise self.error(
                f"{found}it is {self._matrix.shape}, the ids say {self.shape} (profiles, genes)",
                "store the matrix as profiles x genes",
            )
        self.leading, self.multiple = bool(self._matrix.chunks), (self._matrix.chunks or (1,))[0]
        self._buffer = np.empty(0, self._matrix.dtype)

    def metadata(self, axis):
        group = self._file[ROW if axis == "gene" else COL]
        ids = self.gene_ids if axis == "gene" else self.profile_ids
        fields = {name: group[name][:] for name in group if name != "id"}
        fields = {k: as_text(v) if v.dtype.kind in "SO" else v for k, v in fields.items()}
        return pd.DataFrame(fields, index=pd.Index(ids, name="id"))

    def _read(self, first, last, stop):
        # One buffer for all blocks: fresh pages for each would take as long as the reading.
        size = (last - first) * stop
        if len(self._buffer) < size:
            self._buffer = np.empty(size, self._matrix.dtype)
        block = self._buffer[:size].reshape(last - first, stop)
        self._fetch_ahead(last, last - first)
        self._matrix.read_direct(block, np.s_[first:last, :stop])
        return block

    def _fetch_ahead(self, first, n):
        """Let the system read the next block while this one is worked on."""
        if self._matrix.chunks is None and hasattr(os, "posix_fadvise"):
            width = self._matrix.dtype.itemsize * self.shape[1]
            start = self._matrix.id.get_offset() + first * width
            os.posix_fadvise(self._file.id.get_vfd_handle(), start, n * width, os.POSIX_FADV_WILLNEED)


def _why_closed(error):
    sizes = re.search(r"eof = (\d+).*stored_eof = (\d+)", str(error))
    if sizes:
        there, whole = map(int, sizes.groups())
        return f"the file is cut off: {whole - there:,} of {whole:,} bytes are missing"
    return f"HDF5 cannot open it ({error})"


def _write_metadata(group, ids, frame):
    group["id"] = np.array([str(i).encode() for i in ids], dtype="S") if len(ids) else np.empty(0, "S1")
    for name in frame.columns if frame is not None else ():
        column = frame[name]
        if isinstance(column.dtype, pd.CategoricalDtype) or column.dtype.kind in "OUSb":
            text = ["-666" if pd.isna(v) or str(v) == "" else str(v) for v in column]
            # cmapPy reads metadata as ASCII and fails on anything else.
            values = np.array([t.translate(MICRO).encode("ascii", "replace") for t in text], dtype="S")
        else:
            values = column.to_numpy()
            if values.dtype.kind == "f":
                values = np.where(np.isnan(values), -666, values)
        group[str(name).replace("/", "_")] = values


def write_gctx(path, blocks, profile_ids, gene_ids, profiles=None, genes=None):
    """Write a GCTX file that cmapPy and cmapR parse; whole or not at all.

    blocks: the matrix (profiles x genes), or an iterable of blocks of its rows, so that it need not be in memory;
    stored as float32. profiles, genes: optional DataFrames of metadata, one row per profile or gene in the order of
    the ids; missing values become -666, as CMap writes them, and text becomes ASCII (µ becomes u).
    """
    shape = (len(profile_ids), len(gene_ids))
    with written_whole(path) as partial, h5py.File(partial, "w") as file:
        file.attrs["version"] = np.bytes_("GCTX1.0")
        file.attrs["src"] = np.bytes_(Path(path).name)
        _write_rows(file.create_dataset(MATRIX, shape, np.float32), blocks)
        _write_metadata(file.create_group(ROW), gene_ids, genes)
        _write_metadata(file.create_group(COL), profile_ids, profiles)


def _write_rows(dataset, blocks):
    """Fill an HDF5 dataset with a matrix or with blocks of its rows; ValueError if they are not its shape."""
    if isinstance(blocks, np.ndarray):
        blocks = [blocks]
    start = 0
    for block in blocks:
        if start + len(block) > len(dataset) or block.shape[1] != dataset.shape[1]:
            raise ValueError(f"rows {start} to {start + len(block)} of {block.shape[1]} do not fit {dataset.shape}")
        dataset[start : start + len(block)] = block
        start += len(block)
    if start < len(dataset):
        raise ValueError(f"{start} rows for {dataset.shape}")
