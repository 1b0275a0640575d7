"""GCT: expression matrices as text."""

import numpy as np
import pandas as pd
from cmapPy.pandasGEXpress.parse_gct import parse

from dvgs.io.matrix import MatrixFile, as_text


class GctFile(MatrixFile):
    """A text .gct, versions 1.2 and 1.3, read by cmapPy into memory."""

    def _open(self) -> None:
        try:
            self._data = parse(str(self.path))
        except Exception as error:  # cmapPy has no error of its own for a file that is no GCT
            raise self.error(f"cmapPy cannot read it ({error})", "give a GCT file of version 1.2 or 1.3") from error

    def close(self) -> None:
        """Nothing is open: the file is in memory."""

    def _read_ids(self) -> tuple[np.ndarray, np.ndarray]:
        frame = self._data.data_df
        return as_text(frame.columns.to_numpy()), as_text(frame.index.to_numpy())

    def _check(self) -> None:
        self._values = np.ascontiguousarray(self._data.data_df.to_numpy(np.float32).T)

    def metadata(self, axis: str) -> pd.DataFrame:
        frame = self._data.row_metadata_df if axis == "gene" else self._data.col_metadata_df
        return frame.set_axis(self.gene_ids if axis == "gene" else self.profile_ids)

    def _read(self, rows: np.ndarray, genes: np.ndarray) -> np.ndarray:
        return self._values[np.ix_(rows, genes)]
