"""Files of profiles of every kind, opened by what they are."""

from pathlib import Path

from dvgs.io.gct import GctFile
from dvgs.io.gctx import GctxFile, GctxFolder
from dvgs.io.h5ad import H5adFile


def open_matrix(path, field):
    """Open profiles (see Matrix): an .h5ad, a text .gct, a folder of .gctx files, or a .gctx."""
    kinds = {".h5ad": H5adFile, ".gct": GctFile}
    kind = GctxFolder if Path(path).is_dir() else kinds.get(Path(path).suffix.lower(), GctxFile)
    return kind(path, field)
