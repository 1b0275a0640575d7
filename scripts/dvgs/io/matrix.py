"""What every file of profiles has in common: ids in memory, the matrix on disk, read by blocks of whole profiles."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from dvgs.errors import InputError

MATRIX_BLOCK_BYTES = 16 * 2**20


class Matrix(ABC):
    """An open matrix of profiles x genes; a context manager.

    Attributes: `path`, `profile_ids`, `gene_ids` (object arrays of str, in file order), `shape` (n profiles, n genes).
    A format gives `_open`, `_read_ids`, `metadata`, `blocks` and `close`, and `_check` if there is more to check; one
    that is a single file is a MatrixFile. field: the key of the config that names the file, for errors. Raises
    InputError for a file that is missing, that is not what it should be, or that repeats an id.
    """

    def __init__(self, path: str | Path, field: str = "matrix"):
        self.path, self._field = Path(path), field
        if not self.path.exists():
            raise self.error("no such file", "correct the path")
        self._open()
        try:
            with self.reading():
                self.profile_ids, self.gene_ids = self._read_ids()
                self.shape = (len(self.profile_ids), len(self.gene_ids))
                self._check_unique("profile", self.profile_ids)
                self._check_unique("gene", self.gene_ids)
                self._check()
        except BaseException:
            self.close()
            raise

    @abstractmethod
    def _open(self) -> None:
        """Open the file; InputError if it is something else. Nothing is to be closed after an error."""

    @abstractmethod
    def _read_ids(self) -> tuple[np.ndarray, np.ndarray]:
        """The ids of profiles and genes: object arrays of str."""

    def _check(self) -> None:  # noqa: B027, a format need not have more to check
        """Check the matrix, when the ids are known, and prepare to read it."""

    @abstractmethod
    def metadata(self, axis: str) -> pd.DataFrame:
        """The metadata stored in the file: axis "gene" or "profile", a DataFrame indexed by id."""

    @abstractmethod
    def blocks(
        self, genes: Sequence[int] | np.ndarray, profiles: Sequence[int] | np.ndarray | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (profile positions, values) block by block, in file order.

        genes: positions of the wanted genes, in any order. profiles: positions of the wanted
        profiles, or None for all. values: (n, len(genes)) float32, genes in the order asked for.
        Memory: two blocks of whole profiles, of which one is being read, whatever the length of the file.
        """

    @abstractmethod
    def close(self) -> None:
        """Close what `_open` opened."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def error(self, problem: str, remedy: str) -> InputError:
        """An InputError about this file and its key of the config, to be raised."""
        return InputError(self.path, self._field, problem, remedy)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn the errors of HDF5 and h5py about a damaged file into an InputError."""
        try:
            yield
        except (OSError, KeyError, RuntimeError) as error:
            raise self.error(f"it is damaged ({error})", "fetch or copy the file again") from error

    def _check_unique(self, kind: str, ids: np.ndarray) -> None:
        index = pd.Index(ids)
        repeated = index[index.duplicated()]
        if len(repeated):
            problem = f"{len(repeated)} {kind} ids occur twice, the first is {repeated[0]!r}"
            raise self.error(problem, "make the ids unique")


class MatrixFile(Matrix):
    """A Matrix in a single file; a format gives `_read` in place of `blocks`."""

    multiple = 1  # of so many rows a block has, because they are stored together

    @abstractmethod
    def _read(self, rows: np.ndarray, genes: np.ndarray) -> np.ndarray:
        """Those profiles, increasing, and those genes: (len(rows), len(genes)). Called in another thread."""

    def blocks(
        self, genes: Sequence[int] | np.ndarray, profiles: Sequence[int] | np.ndarray | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        genes = np.asarray(genes)
        wanted = np.ones(self.shape[0], bool)
        if profiles is not None:
            wanted[:] = False
            wanted[profiles] = True
        step = max(1, MATRIX_BLOCK_BYTES // (4 * max(1, self.shape[1])))
        step = max(1, step // self.multiple) * self.multiple
        blocks = (start + np.flatnonzero(wanted[start : start + step]) for start in range(0, self.shape[0], step))
        with ThreadPoolExecutor(1) as reader:  # the next block is read while this one is worked on
            ahead: deque[tuple[np.ndarray, Future[np.ndarray]]] = deque()
            for rows in blocks:
                if len(rows):
                    ahead.append((rows, reader.submit(self._read, rows, genes)))
                if len(ahead) > 1:
                    yield self._float32(*ahead.popleft())
            while ahead:
                yield self._float32(*ahead.popleft())

    def _float32(self, rows: np.ndarray, reading: Future[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        with self.reading():
            return rows, reading.result().astype(np.float32, copy=False)


def pick(block: np.ndarray, rows: np.ndarray, genes: np.ndarray) -> np.ndarray:
    """Of a block of whole profiles those at rows, increasing, and their genes; a view where they are neighbours."""
    if len(rows) < len(block):
        block = block[rows]
    neighbours = len(genes) and (genes == np.arange(genes[0], genes[0] + len(genes))).all()
    return block[:, genes[0] : genes[0] + len(genes)] if neighbours else block.take(genes, axis=1)


def as_text(values: np.ndarray) -> np.ndarray:
    """Ids or metadata as an object array of str, whatever the writer stored (bytes, text, integers)."""
    if values.dtype.kind in "SO":
        return np.array([_decode(v) for v in values], dtype=object)
    return values.astype(str).astype(object)


def _decode(value: object) -> str:
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
