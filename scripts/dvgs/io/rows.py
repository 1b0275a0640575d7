"""Rows of numbers kept on disk while a job runs: written in any order, read by blocks."""

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from dvgs.errors import InputError

BLOCK_BYTES = 64 * 2**20


def runs(places):
    """(start, stop) of each run of neighbours among places, which a file takes and gives at once."""
    starts = np.flatnonzero(np.diff(places, prepend=-2) != 1).tolist()
    return zip(starts, [*starts[1:], len(places)], strict=True) if starts else ()


class Rows:
    """A table of numbers in an open file, from an offset on. shape: (rows, columns). A context manager."""

    def __init__(self, file, offset, shape, dtype):
        self.shape, self._file, self._offset, self._dtype = shape, file, offset, np.dtype(dtype)
        self._width = shape[1] * self._dtype.itemsize

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        self._file.close()

    def write(self, places, rows):
        """Put rows (n, columns) at the given places, each place once; ValueError for rows of another width."""
        if rows.shape[1:] != self.shape[1:]:
            raise ValueError(f"rows of {rows.shape[1:]} for {self.shape}")
        if (np.diff(places) < 0).any():
            order = np.argsort(places)
            places, rows = places[order], rows[order]
        rows = np.ascontiguousarray(rows, self._dtype)
        for start, stop in runs(places):
            self._write_at(self._offset + int(places[start]) * self._width, memoryview(rows[start:stop]).cast("B"))

    def _write_at(self, offset, data):
        while len(data):
            written = os.pwrite(self._file.fileno(), data, offset)
            offset, data = offset + written, data[written:]

    def blocks(self, keep=None):
        """Yield the rows in order, some megabytes at a time; of keep, (rows,) bool, those where it is true."""
        step = max(1, BLOCK_BYTES // max(1, self._width))
        for start in range(0, self.shape[0], step):
            rows = self.read(start, min(start + step, self.shape[0]))
            yield rows if keep is None else rows[keep[start : start + step]]

    def read(self, start, stop):
        """Rows [start, stop)."""
        self._file.seek(self._offset + start * self._width)
        return np.fromfile(self._file, self._dtype, (stop - start) * self.shape[1]).reshape(-1, self.shape[1])


class ScratchRows(Rows):
    """Rows in a file without a name in a folder, which is gone when it is closed or the job is killed.

    Raises InputError where the disk has no room for it and for `also` bytes more.
    """

    def __init__(self, folder, shape, dtype, also=0):
        size = shape[0] * shape[1] * np.dtype(dtype).itemsize
        check_space(folder, size + also)
        super().__init__(tempfile.TemporaryFile(dir=folder), 0, shape, dtype)  # noqa: SIM115, it is closed on leaving
        self._file.truncate(size)


def check_space(folder, needed):
    """Raise InputError if the disk of a folder has less than `needed` bytes left."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        problem = f"{needed / 1e9:.1f} GB are needed on this disk, {free / 1e9:.1f} GB are free"
        raise InputError(folder, "disk", problem, "free some space or work in another folder (snakemake --directory)")
