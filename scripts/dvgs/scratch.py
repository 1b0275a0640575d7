"""Rows of numbers kept on disk while a job runs: written in any order, read by blocks."""

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from dvgs.errors import InputError

BLOCK_BYTES = 64 * 2**20


class ScratchRows:
    """A table of n rows in a file without a name, which is gone when it is closed or the job is killed.

    folder: where it lies. shape: (rows, columns). Raises InputError where the disk has no room for it and for `also`
    bytes more. A context manager.
    """

    def __init__(self, folder, shape, dtype, also=0):
        self.shape, self._dtype = shape, np.dtype(dtype)
        self._width = shape[1] * self._dtype.itemsize
        check_space(folder, shape[0] * self._width + also)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._file.truncate(shape[0] * self._width)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._file.close()

    def write(self, places, rows):
        """Put rows (n, columns) at the given places, each place once."""
        order = np.argsort(places)
        places, rows = places[order], np.ascontiguousarray(rows[order], self._dtype)
        starts = np.flatnonzero(np.diff(places, prepend=-2) != 1)  # neighbours are written together
        for start, stop in zip(starts, [*starts[1:], len(places)], strict=True):
            self._write_at(int(places[start]) * self._width, memoryview(rows[start:stop]).cast("B"))

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
        self._file.seek(start * self._width)
        return np.fromfile(self._file, self._dtype, (stop - start) * self.shape[1]).reshape(-1, self.shape[1])


def check_space(folder, needed):
    """Raise InputError if the disk of a folder has less than `needed` bytes left."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        problem = f"{needed / 1e9:.1f} GB are needed on this disk, {free / 1e9:.1f} GB are free"
        raise InputError(folder, "disk", problem, "free some space or work in another folder (snakemake --directory)")
