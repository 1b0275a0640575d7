"""Files of profiles of every kind, opened by what they are."""

from pathlib import Path

import numpy as np
import pandas as pd
from cmapPy.pandasGEXpress.parse_gct import parse

from dvgs.gctx import GctxFile, gctx_files
from dvgs.h5ad import H5adFile
from dvgs.matrix import Matrix, as_text


def open_matrix(path, field):
    """Open profiles (see Matrix): an .h5ad, a text .gct, a folder of .gctx files, or a .gctx."""
    kinds = {".h5ad": H5adFile, ".gct": GctFile}
    kind = GctxFolder if Path(path).is_dir() else kinds.get(Path(path).suffix.lower(), GctxFile)
    return kind(path, field)


class GctFile(Matrix):
    """A text .gct, versions 1.2 and 1.3, read by cmapPy into memory."""

    def _open(self):
        try:
            self._data = parse(str(self.path))
        except Exception as error:  # cmapPy has no error of its own for a file that is no GCT
            raise self.error(f"cmapPy cannot read it ({error})", "give a GCT file of version 1.2 or 1.3") from error

    def _check(self):
        frame = self._data.data_df
        self.profile_ids, self.gene_ids = as_text(frame.columns.to_numpy()), as_text(frame.index.to_numpy())
        self._values = np.ascontiguousarray(frame.to_numpy(np.float32).T)
        super()._check()

    def metadata(self, axis):
        frame = self._data.row_metadata_df if axis == "gene" else self._data.col_metadata_df
        return frame.set_axis(self.gene_ids if axis == "gene" else self.profile_ids)

    def _read(self, rows, genes):
        return self._values[np.ix_(rows, genes)]


class GctxFolder(Matrix):
    """The GCTX files of a folder as one matrix, in the order of their names, over the genes that all have."""

    def _open(self):
        paths = gctx_files(self.path)
        if not paths:
            raise self.error("no .gctx file in this folder", "give a folder of GCTX files")
        self._files = []
        try:
            for path in paths:
                self._files.append(GctxFile(path, self._field))
        except BaseException:
            self.close()
            raise

    def close(self):
        for file in self._files:
            file.close()

    def _check(self):
        self.profile_ids = np.concatenate([file.profile_ids for file in self._files])
        first, *others = self._files
        common = set(first.gene_ids).intersection(*(file.gene_ids for file in others))
        self.gene_ids = np.array([gene for gene in first.gene_ids if gene in common], dtype=object)
        super()._check()

    def metadata(self, axis):
        frames = [file.metadata(axis) for file in self._files]
        return frames[0].loc[self.gene_ids] if axis == "gene" else pd.concat(frames)

    def blocks(self, genes, profiles=None):
        wanted = np.arange(self.shape[0]) if profiles is None else np.unique(profiles)
        start = 0
        for file in self._files:
            own = wanted[(wanted >= start) & (wanted < start + file.shape[0])] - start
            places = pd.Index(file.gene_ids).get_indexer(self.gene_ids[genes])
            for positions, values in file.blocks(places, own):
                yield start + positions, values
            start += file.shape[0]
