"""GCT: expression matrices as text."""

import numpy as np
from cmapPy.pandasGEXpress.parse_gct import parse

from dvgs.io.matrix import Matrix, as_text


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
