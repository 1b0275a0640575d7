"""What every file of profiles has in common: ids in memory, the matrix on disk, read by blocks of whole profiles."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from dvgs.errors import InputError

BLOCK_BYTES = 16 * 2**20


class Matrix:
    """An open matrix of profiles x genes; a context manager.

    Attributes: `path`, `profile_ids`, `gene_ids` (object arrays of str, in file order), `shape` (n profiles, n genes).
    A kind of file fills in `_open`, `_read`, `metadata` and `close`. field: the key of the config that names the file,
    for errors. Raises InputError for a file that is missing, that is not what it should be, or that repeats an id.
    """

    multiple = 1  # rows that are stored, and so best read, together

    def __init__(self, path, field="matrix"):
        self.path, self._field = Path(path), field
        if not self.path.exists():
            raise self.error("no such file", "correct the path")
        self._open()
        try:
            with self.reading():
                self._check()
        except BaseException:
            self.close()
            raise

    def error(self, problem, remedy):
        return InputError(self.path, self._field, problem, remedy)

    @contextmanager
    def reading(self):
        """What HDF5 and h5py make of a damaged file becomes an InputError."""
        try:
            yield
        except (OSError, KeyError, RuntimeError) as error:
            raise self.error(f"it is damaged ({error})", "fetch or copy the file again") from error

    def _check(self):
        self.shape = (len(self.profile_ids), len(self.gene_ids))
        for kind, ids in (("profile", self.profile_ids), ("gene", self.gene_ids)):
            index = pd.Index(ids)
            repeated = index[index.duplicated()]
            if len(repeated):
                problem = f"{len(repeated)} {kind} ids stand twice, the first is {repeated[0]!r}"
                raise self.error(problem, "make the ids unique")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        pass

    def metadata(self, axis):
        """The metadata stored in the file: axis "gene" or "profile", a DataFrame indexed by id."""
        raise NotImplementedError

    def blocks(self, genes, profiles=None):
        """Yield (profile positions, values) block by block, in file order.

        genes: positions of the wanted genes, in any order. profiles: positions of the wanted
        profiles, or None for all. values: (n, len(genes)) float32, genes in the order asked for.
        Memory: two blocks of whole profiles, of which one is being read, whatever the length of the file.
        """
        genes = np.asarray(genes)
        wanted = np.ones(self.shape[0], bool)
        if profiles is not None:
            wanted[:] = False
            wanted[profiles] = True
        rows = max(1, BLOCK_BYTES // (4 * max(1, self.shape[1])))
        rows = max(1, rows // self.multiple) * self.multiple
        starts = range(0, self.shape[0], rows)
        parts = (start + np.flatnonzero(wanted[start : start + rows]) for start in starts)
        with ThreadPoolExecutor(1) as reader:  # the next block is read while this one is worked on
            waiting = deque()
            for inside in parts:
                if len(inside):
                    waiting.append((inside, reader.submit(self._read, inside, genes)))
                if len(waiting) > 1:
                    yield self._float32(*waiting.popleft())
            while waiting:
                yield self._float32(*waiting.popleft())

    def _float32(self, rows, reading):
        with self.reading():
            return rows, reading.result().astype(np.float32, copy=False)

    def _read(self, rows, genes):
        """Those profiles, increasing, and those genes: (len(rows), len(genes))."""
        raise NotImplementedError


def pick(block, rows, genes):
    """Of a block of whole profiles those at rows, increasing, and their genes; a view where they are neighbours."""
    if len(rows) < len(block):
        block = block[rows]
    neighbours = len(genes) and (genes == np.arange(genes[0], genes[0] + len(genes))).all()
    return block[:, genes[0] : genes[0] + len(genes)] if neighbours else block.take(genes, axis=1)


def as_text(values):
    """Ids or metadata as an object array of str, whatever the writer stored (bytes, text, integers)."""
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
