"""Opens a file of profiles, whatever its format."""

from pathlib import Path

from dvgs.io.gct import GctFile
from dvgs.io.gctx import GctxFile, GctxFolder
from dvgs.io.h5ad import H5adFile
from dvgs.io.matrix import Matrix

FORMATS: dict[str, type[Matrix]] = {".h5ad": H5adFile, ".gct": GctFile}


def open_matrix(path: str | Path, field: str) -> Matrix:
    """Open profiles (see Matrix): an .h5ad, a text .gct, a folder of .gctx files, or a .gctx."""
    if Path(path).is_dir():
        return GctxFolder(path, field)
    return FORMATS.get(Path(path).suffix.lower(), GctxFile)(path, field)
