"""GCTX: expression matrices in HDF5, read by blocks of whole profiles and written.

The matrix stands as (profiles x genes) at `/0/DATA/0/matrix`, gene ids at `/0/META/ROW/id`, profile ids
at `/0/META/COL/id`, other metadata beside them (https://clue.io/connectopedia/gctx_format).
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from dvgs.errors import InputError
from dvgs.io.files import written_whole
from dvgs.io.matrix import Matrix, MatrixFile, as_text, pick
from dvgs.io.tables import MISSING_NUMBER
from dvgs.progress import logger

MATRIX, ROW, COL = "0/DATA/0/matrix", "0/META/ROW", "0/META/COL"
MICRO = {0xB5: "u", 0x3BC: "u"}  # as CMap itself writes uM
TILE_BYTES = 2**20
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def gctx_files(folder: str | Path) -> list[Path]:
    """The GCTX files of a folder, by name."""
    return sorted(path for path in Path(folder).iterdir() if path.suffix.lower() == ".gctx")


class GctxFile(MatrixFile):
    """An open GCTX file (see Matrix); contiguous, chunked or compressed."""

    def _open(self) -> None:
        if not self.path.is_file():
            raise self.error("not a file", "give the path of a GCTX file")
        with open(self.path, "rb") as file:
            if file.read(8) != HDF5_SIGNATURE:
                raise self.error("not an HDF5 file", "give a GCTX file, not text, gzip or a web page")
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise self.error(_why_closed(error), "fetch or copy the file again") from error
        if hasattr(os, "posix_fadvise"):  # the system then reads more ahead
            os.posix_fadvise(self._file.id.get_vfd_handle(), 0, 0, os.POSIX_FADV_SEQUENTIAL)

    def close(self) -> None:
        self._file.close()

    def _read_ids(self) -> tuple[np.ndarray, np.ndarray]:
        for name in (MATRIX, f"{ROW}/id", f"{COL}/id"):
            if name not in self._file:
                raise self.error(f"it has no /{name}", "give a file in GCTX layout")
        return as_text(self._file[f"{COL}/id"][:]), as_text(self._file[f"{ROW}/id"][:])

    def _check(self) -> None:
        self._matrix = self._file[MATRIX]
        if self._matrix.shape != self.shape:
            transposed = self._matrix.shape == self.shape[::-1]
            found = "the matrix is transposed: " if transposed else ""
            raise self.error(
                f"{found}it is {self._matrix.shape}, the ids say {self.shape} (profiles, genes)",
                "store the matrix as profiles x genes",
            )
        self._tile = _tile(self._matrix)
        self._is_plain = self._matrix.chunks == self._tile and _is_plain(self._matrix)
        self.multiple = self._tile[0]
        # One buffer for all tiles: to allocate one for each would take as long as to read it.
        self._buffer = np.empty(self._tile, self._matrix.dtype).reshape(-1)

    def metadata(self, axis: str) -> pd.DataFrame:
        group = self._file[ROW if axis == "gene" else COL]
        ids = self.gene_ids if axis == "gene" else self.profile_ids
        fields = {}
        for name in group:
            if name == "id":
                continue
            if getattr(group[name], "shape", None) != ids.shape:
                remedy = "give a value for each id, or leave it out"
                raise self.error(f"{group[name].name} is no list of {len(ids)}", remedy)
            with self.reading():
                values = group[name][:]
            fields[name] = as_text(values) if values.dtype.kind in "SO" else values
        return pd.DataFrame(fields, index=pd.Index(ids, name="id"))

    def _read(self, rows: np.ndarray, genes: np.ndarray) -> np.ndarray:
        height, width = self._tile
        order = np.argsort(genes)
        sorted_genes, found = genes[order], np.empty((len(rows), len(genes)), self._matrix.dtype)
        for top in range(rows[0] // height * height, rows[-1] + 1, height):
            begin, end = np.searchsorted(rows, (top, top + height))
            for left in range(0, self.shape[1], width):
                first, last = np.searchsorted(sorted_genes, (left, left + width))
                if begin < end and first < last:
                    tile = self._read_tile(top, left)
                    found[begin:end, first:last] = pick(tile, rows[begin:end] - top, sorted_genes[first:last] - left)
        return found if (order[:-1] < order[1:]).all() else found.take(np.argsort(order), axis=1)

    def _read_tile(self, top: int, left: int) -> np.ndarray:
        """The tile that begins there, or as much of it as is within the matrix; the next call overwrites it."""
        height, width = self._tile
        if self._is_plain:  # straight from the file: HDF5 would copy it once more
            self._matrix.id.read_direct_chunk((top, left), out=self._buffer.view(np.uint8))
            return self._buffer.reshape(height, width)
        height, width = min(height, self.shape[0] - top), min(width, self.shape[1] - left)
        tile = self._buffer[: height * width].reshape(height, width)
        self._matrix.read_direct(tile, np.s_[top : top + height, left : left + width])
        return tile


def _tile(matrix: h5py.Dataset) -> tuple[int, int]:
    """(profiles, genes) to read at once: a chunk; where chunks are small, or there are none, some whole profiles.

    HDF5 is never asked for a list of genes, because it walks over the list element by element: genes are picked from a
    tile while it is in the cache of the processor.
    """
    n_genes, chunk = max(1, matrix.shape[1]), matrix.chunks or (1, 1)
    if 4 * chunk[0] * chunk[1] * matrix.dtype.itemsize >= TILE_BYTES:
        return chunk
    height = max(1, TILE_BYTES // (n_genes * matrix.dtype.itemsize))
    return -(-height // chunk[0]) * chunk[0], n_genes


def _is_plain(matrix: h5py.Dataset) -> bool:
    """Whether all chunks of a matrix lie in its file without compression or other filters."""
    grid = [-(-n // step) for n, step in zip(matrix.shape, matrix.chunks, strict=True)]
    return matrix.id.get_create_plist().get_nfilters() == 0 and matrix.id.get_num_chunks() == grid[0] * grid[1]


def _why_closed(error: OSError) -> str:
    sizes = re.search(r"eof = (\d+).*stored_eof = (\d+)", str(error))
    if sizes:
        there, whole = map(int, sizes.groups())
        return f"the file is cut off: {whole - there:,} of {whole:,} bytes are missing"
    return f"HDF5 cannot open it ({error})"


def _ascii(text: str) -> bytes:
    """Text as ASCII, because cmapPy fails on anything else: other letters are written as, say, \\u03b1."""
    return text.translate(MICRO).encode("ascii", "backslashreplace")


def _write_metadata(group: h5py.Group, ids: Sequence, frame: pd.DataFrame | None) -> None:
    group["id"] = np.array([_ascii(str(i)) for i in ids], dtype="S") if len(ids) else np.empty(0, "S1")
    if frame is None:
        return
    for name in frame.columns:
        column = frame[name]
        if isinstance(column.dtype, pd.CategoricalDtype) or column.dtype.kind in "OUSb":
            text = [str(MISSING_NUMBER) if pd.isna(v) or str(v) == "" else str(v) for v in column]
            values = np.array([_ascii(t) for t in text], dtype="S")
        else:
            values = column.to_numpy()
            if values.dtype.kind == "f":
                values = np.where(np.isnan(values), MISSING_NUMBER, values)
        group[str(name).replace("/", "_")] = values


def write_gctx(
    path: str | Path,
    blocks: np.ndarray | Iterable[np.ndarray],
    profile_ids: Sequence,
    gene_ids: Sequence,
    profiles: pd.DataFrame | None = None,
    genes: pd.DataFrame | None = None,
) -> None:
    """Write a GCTX file that cmapPy and cmapR parse; whole or not at all.

    blocks: the matrix (profiles x genes), or an iterable of blocks of its rows, so that it need not be in memory;
    stored as float32. profiles, genes: optional DataFrames of metadata, one row per profile or gene in the order of
    the ids; missing values become -666, as CMap writes them, and text becomes ASCII (µ is u, others are
    as \\u03b1). Raises InputError for ids that are then no longer unique.
    """
    for kind, ids in (("profile", profile_ids), ("gene", gene_ids)):
        _check_ids(path, kind, [str(i) for i in ids])
    shape = (len(profile_ids), len(gene_ids))
    with written_whole(path) as partial, h5py.File(partial, "w") as file:
        file.attrs["version"] = np.bytes_("GCTX1.0")
        file.attrs["src"] = np.bytes_(Path(path).name)
        _write_rows(file.create_dataset(MATRIX, shape, np.float32), blocks)
        _write_metadata(file.create_group(ROW), gene_ids, genes)
        _write_metadata(file.create_group(COL), profile_ids, profiles)


def _check_ids(path: str | Path, kind: str, ids: list[str]) -> None:
    """Warn of ids that differ in ASCII; InputError if two become the same."""
    others = [i for i in ids if not i.isascii()]
    if not others:
        return
    first = f"{others[0]!r} is written as {_ascii(others[0]).decode()!r}"
    if len(set(map(_ascii, ids))) < len(set(ids)):
        problem = f"of {len(others)} {kind} ids that are not ASCII some become the same ({first})"
        raise InputError(path, "id", problem, "give the input ids in ASCII")
    logger.warning("%s: %d %s ids are not ASCII, which GCTX has to be: %s", path, len(others), kind, first)


def _write_rows(dataset: h5py.Dataset, blocks: np.ndarray | Iterable[np.ndarray]) -> None:
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


class GctxFolder(Matrix):
    """The GCTX files of a folder as one matrix, in the order of their names, over the genes that all have."""

    def _open(self) -> None:
        paths = gctx_files(self.path)
        if not paths:
            raise self.error("no .gctx file in this folder", "give a folder of GCTX files")
        self._files: list[GctxFile] = []
        try:
            for path in paths:
                self._files.append(GctxFile(path, self._field))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for file in self._files:
            file.close()

    def _read_ids(self) -> tuple[np.ndarray, np.ndarray]:
        first, *others = self._files
        common = set(first.gene_ids).intersection(*(file.gene_ids for file in others))
        genes = np.array([gene for gene in first.gene_ids if gene in common], dtype=object)
        return np.concatenate([file.profile_ids for file in self._files]), genes

    def metadata(self, axis: str) -> pd.DataFrame:
        frames = [file.metadata(axis) for file in self._files]
        return frames[0].loc[self.gene_ids] if axis == "gene" else pd.concat(frames)

    def blocks(
        self, genes: Sequence[int] | np.ndarray, profiles: Sequence[int] | np.ndarray | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        wanted = np.arange(self.shape[0]) if profiles is None else np.unique(profiles)
        start = 0
        for file in self._files:
            own = wanted[(wanted >= start) & (wanted < start + file.shape[0])] - start
            places = pd.Index(file.gene_ids).get_indexer(self.gene_ids[genes])
            for positions, values in file.blocks(places, own):
                yield start + positions, values
            start += file.shape[0]
