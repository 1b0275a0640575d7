"""Tables of numbers that lie row by row in a file: written and read at any positions, without the table in memory."""

import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

import h5py
import numpy as np
from numpy.typing import DTypeLike

from dvgs.errors import InputError
from dvgs.io.files import written_whole

ROWS_BLOCK_BYTES = 64 * 2**20


def runs(places: np.ndarray) -> Iterable[tuple[int, int]]:
    """(start, stop) of each run of neighbours among places, which are written or read at once."""
    starts = np.flatnonzero(np.diff(places, prepend=-2) != 1).tolist()
    return zip(starts, [*starts[1:], len(places)], strict=True) if starts else ()


class Rows:
    """A table of numbers in an open file, from an offset on. shape: (rows, columns). A context manager."""

    def __init__(self, file: IO[bytes], offset: int, shape: tuple[int, int], dtype: DTypeLike):
        self.shape, self._file, self._offset, self._dtype = shape, file, offset, np.dtype(dtype)
        self._width = shape[1] * self._dtype.itemsize

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def write(self, places: np.ndarray | Sequence[int], rows: np.ndarray) -> None:
        """Put rows (n, columns) at the given places, each place once; ValueError for rows of another width."""
        if rows.shape[1:] != self.shape[1:]:
            raise ValueError(f"rows of {rows.shape[1:]} for {self.shape}")
        places = np.asarray(places)
        if (np.diff(places) < 0).any():
            order = np.argsort(places)
            places, rows = places[order], rows[order]
        data = _bytes_of(np.ascontiguousarray(rows, self._dtype))
        for start, stop in runs(places):
            offset = self._offset + int(places[start]) * self._width
            left = data[start * self._width : stop * self._width]
            while left:
                n = os.pwrite(self._file.fileno(), left, offset)
                offset, left = offset + n, left[n:]

    def blocks(self, keep: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Yield the rows in order, some megabytes at a time; of keep, (rows,) bool, those where it is true."""
        step = max(1, ROWS_BLOCK_BYTES // max(1, self._width))
        for start in range(0, self.shape[0], step):
            rows = self.read(start, min(start + step, self.shape[0]))
            yield rows if keep is None else rows[keep[start : start + step]]

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows [start, stop). Raises OSError if the file ends before."""
        found = np.empty((stop - start, self.shape[1]), self._dtype)
        self._fill(_bytes_of(found), start)
        return found

    def gather(self, places: np.ndarray) -> np.ndarray:
        """The rows at (n,) positions in any order, (n, columns). Raises IndexError for a position outside the table."""
        if len(places) and (places.min() < 0 or places.max() >= self.shape[0]):
            raise IndexError(f"rows {places.min()} to {places.max()} of {self.shape[0]}")
        found = np.empty((len(places), self.shape[1]), self._dtype)
        data = _bytes_of(found)
        for start, stop in runs(places):
            self._fill(data[start * self._width : stop * self._width], int(places[start]))
        return found

    def _fill(self, left: memoryview, first: int) -> None:
        """Read rows from `first` on straight to where they belong in memory."""
        offset = self._offset + first * self._width
        while left:  # one read ends after 2 GB at most
            n = os.preadv(self._file.fileno(), [left], offset)
            if n == 0:
                raise OSError(f"{self._file.name} ends within row {(offset - self._offset) // self._width}")
            offset, left = offset + n, left[n:]


def _bytes_of(contiguous: np.ndarray) -> memoryview:
    return contiguous.reshape(-1).view(np.uint8).data


class ScratchRows(Rows):
    """Rows in a file without a name in a folder, which is gone when it is closed or the job is killed.

    Raises InputError where the disk has no room for it and for `also` bytes more.
    """

    def __init__(self, folder: str | Path, shape: tuple[int, int], dtype: DTypeLike, also: int = 0):
        size = shape[0] * shape[1] * np.dtype(dtype).itemsize
        check_space(folder, size + also)
        super().__init__(tempfile.TemporaryFile(dir=folder), 0, shape, dtype)  # noqa: SIM115, it is closed on leaving
        self._file.truncate(size)


def check_space(folder: str | Path, needed: int) -> None:
    """Raise InputError if the disk of a folder has less than `needed` bytes left."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        problem = f"{needed / 1e9:.1f} GB are needed on this disk, {free / 1e9:.1f} GB are free"
        raise InputError(folder, "disk", problem, "free some space or work in another folder (snakemake --directory)")


def place_dataset(file: h5py.File, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> h5py.Dataset:
    """Create a contiguous dataset that has its place in the file now, so that Rows can be written there."""
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    return file.create_dataset(name, shape, dtype, dcpl=layout, fill_time="never")


def place_datasets(
    path: str | Path, shapes: Mapping[str, tuple[tuple[int, ...], DTypeLike]], attributes: Mapping[str, Any]
) -> None:
    """Write an HDF5 file whose datasets have their places, whole or not at all; open_rows gives them to be written.

    shapes: {name: (shape, dtype)}; a dataset that would hold nothing is left out. attributes: those of the file.
    """
    with written_whole(path) as partial, h5py.File(partial, "w") as file:
        file.attrs.update(attributes)
        for name, (shape, dtype) in shapes.items():
            if math.prod(shape):
                place_dataset(file, name, shape, dtype)


def open_rows(path: str | Path, mode: str = "r+b") -> dict[str, Rows]:
    """{name: Rows} of the contiguous datasets at the top of an HDF5 file; mode "rb" is for reading only.

    Rows of a vector have one number each. Writes go to the file itself, because a full disk is an OSError then; through
    a map of the file in memory it would be a SIGBUS, which nothing can catch.
    """
    with h5py.File(path, "r") as file:
        datasets = {name: d for name, d in file.items() if isinstance(d, h5py.Dataset) and d.shape}
        places = {name: (d.id.get_offset(), d.shape, d.dtype) for name, d in datasets.items()}
    return {
        name: Rows(open(path, mode), offset or 0, (shape[0], math.prod(shape[1:])), dtype)
        for name, (offset, shape, dtype) in places.items()
        if offset is not None or not math.prod(shape)
    }
