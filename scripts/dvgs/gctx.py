"""GCTX: expression matrices in HDF5, read by blocks of whole profiles and written.

The matrix stands as (profiles x genes) at `/0/DATA/0/matrix`, gene ids at `/0/META/ROW/id`, profile ids
at `/0/META/COL/id`, other metadata beside them (https://clue.io/connectopedia/gctx_format).
"""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from dvgs.errors import InputError
from dvgs.files import written_whole

MATRIX, ROW, COL = "0/DATA/0/matrix", "0/META/ROW", "0/META/COL"
MICRO = {0xB5: "u", 0x3BC: "u"}  # as CMap itself writes uM
BLOCK_BYTES = 64 * 2**20
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def _text(values):
    """Ids or metadata as an array of str, whatever the writer stored (bytes, text, integers)."""
    if values.dtype.kind in "SO":
        return np.array([_decode(v) for v in values], dtype=object)
    return values.astype(str).astype(object)


def _decode(value):
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


class GctxFile:
    """An open GCTX file: ids in memory, the matrix on disk.

    Attributes: `profile_ids`, `gene_ids` (object arrays of str, in file order) and `shape`
    (n profiles, n genes). Use as a context manager. Raises InputError for a file that is missing, is
    no HDF5, has no matrix or ids, holds a transposed matrix, or repeats an id.
    """

    def __init__(self, path, field="gctx"):
        self.path, self._field = Path(path), field
        if not self.path.is_file():
            raise self._error("no such file", "give the path of a GCTX file")
        with open(self.path, "rb") as file:
            if file.read(8) != HDF5_SIGNATURE:
                raise self._error("not an HDF5 file", "give a GCTX file, not text, gzip or a web page")
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise self._error(f"HDF5 cannot open it ({error})", "fetch or copy the file again") from error
        try:
            self._read_ids()
        except BaseException:
            self._file.close()
            raise

    def _error(self, problem, remedy):
        return InputError(self.path, self._field, problem, remedy)

    def _read_ids(self):
        for name in (MATRIX, f"{ROW}/id", f"{COL}/id"):
            if name not in self._file:
                raise self._error(f"it has no /{name}", "give a file in GCTX layout")
        self._matrix = self._file[MATRIX]
        self.gene_ids = _text(self._file[f"{ROW}/id"][:])
        self.profile_ids = _text(self._file[f"{COL}/id"][:])
        self.shape = (len(self.profile_ids), len(self.gene_ids))
        if self._matrix.shape != self.shape:
            transposed = self._matrix.shape == self.shape[::-1]
            found = "the matrix is transposed: " if transposed else ""
            raise self._error(
                f"{found}it is {self._matrix.shape}, the ids say {self.shape} (profiles, genes)",
                "store the matrix as profiles x genes",
            )
        for kind, ids in (("profile", self.profile_ids), ("gene", self.gene_ids)):
            repeated = pd.Index(ids)[pd.Index(ids).duplicated()]
            if len(repeated):
                raise self._error(
                    f"{len(repeated)} {kind} ids stand twice, the first is {repeated[0]!r}",
                    "make the ids unique",
                )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._file.close()

    def metadata(self, axis):
        """The metadata stored in the file: axis "gene" or "profile", a DataFrame indexed by id."""
        group = self._file[ROW if axis == "gene" else COL]
        ids = self.gene_ids if axis == "gene" else self.profile_ids
        fields = {name: group[name][:] for name in group if name != "id"}
        fields = {k: _text(v) if v.dtype.kind in "SO" else v for k, v in fields.items()}
        return pd.DataFrame(fields, index=pd.Index(ids, name="id"))

    def blocks(self, genes, profiles=None):
        """Yield (profile positions, values) block by block, in file order.

        genes: positions of the wanted genes, in any order. profiles: positions of the wanted
        profiles, or None for all. values: (n, len(genes)) float32, genes in the order asked for.
        Memory: one block of whole profiles, whatever the length of the file.
        """
        genes = np.asarray(genes)
        wanted = np.ones(self.shape[0], bool)
        if profiles is not None:
            wanted[:] = False
            wanted[profiles] = True
        # Whole rows, then the columns: HDF5 takes a block in one read, but walks over a list of columns
        # element by element. Only a slice of leading genes in a chunked file saves reading.
        stop_gene = self.shape[1]
        if self._matrix.chunks and len(genes):
            stop_gene = int(genes.max()) + 1
        rows = max(1, BLOCK_BYTES // (max(1, stop_gene) * self._matrix.dtype.itemsize))
        if self._matrix.chunks:
            rows = max(1, rows // self._matrix.chunks[0]) * self._matrix.chunks[0]
        for start in range(0, self.shape[0], rows):
            inside = np.flatnonzero(wanted[start : start + rows])
            if len(inside) == 0:
                continue
            first, last = start + inside[0], start + inside[-1] + 1
            block = self._matrix[first:last, :stop_gene]
            values = block[np.ix_(inside - inside[0], genes)].astype(np.float32, copy=False)
            yield start + inside, values


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


def write_gctx(path, matrix, profile_ids, gene_ids, profiles=None, genes=None):
    """Write a GCTX file that cmapPy and cmapR parse; whole or not at all.

    matrix: (profiles x genes), stored as float32. profiles, genes: optional DataFrames of metadata, one
    row per profile or gene in the order of the ids; missing values become -666, as CMap writes them, and text
    becomes ASCII (µ becomes u).
    """
    matrix = np.asarray(matrix)
    if matrix.shape != (len(profile_ids), len(gene_ids)):
        raise ValueError(f"matrix {matrix.shape}, ids {(len(profile_ids), len(gene_ids))}")
    with written_whole(path) as partial, h5py.File(partial, "w") as file:
        file.attrs["version"] = np.bytes_("GCTX1.0")
        file.attrs["src"] = np.bytes_(Path(path).name)
        file.create_dataset(MATRIX, data=matrix, dtype=np.float32)
        _write_metadata(file.create_group(ROW), gene_ids, genes)
        _write_metadata(file.create_group(COL), profile_ids, profiles)
