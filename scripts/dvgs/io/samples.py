"""Source and target from one file of a user's own."""

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from dvgs.errors import InputError
from dvgs.io.h5ad import read_obs_and_x

Samples = tuple[np.ndarray, np.ndarray | None]  # x and y


def read_samples(
    path: Path, target_column: str | None = None, label_column: str | None = None
) -> tuple[np.ndarray, Samples, Samples]:
    """Read source and target from an .npz or .h5ad.

    Returns the names of the source samples, (x, y) of the source and (x, y) of the target: x float32 (n, features),
    y int64 class numbers or None. Raises InputError for files that are not so.
    """
    if not path.is_file():
        raise InputError(path, "data", "is not there", "check the path")
    if path.suffix == ".npz":
        return _read_npz(path, target_column or label_column)
    if path.suffix == ".h5ad":
        return _read_h5ad(path, target_column, label_column)
    raise InputError(path, "data", "is neither .npz nor .h5ad", "convert it to one of these")


def _read_npz(path: Path, column: str | None) -> tuple[np.ndarray, Samples, Samples]:
    if column:
        raise InputError(path, column, "an .npz has no columns", "leave out --target and --label")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, TypeError, OSError, zipfile.BadZipFile) as error:  # TypeError: a single array
        raise InputError(
            path, "data", f"cannot be read as an .npz of plain numbers ({error})", "write it again"
        ) from None
    for name in ("source_x", "target_x"):
        if name not in arrays:
            raise InputError(path, name, f"is missing among {', '.join(arrays)}", "add it; see --help")
    if ("source_y" in arrays) != ("target_y" in arrays):
        raise InputError(path, "source_y, target_y", "one is there without the other", "add it or leave out both")
    source, target = (
        (_features(path, f"{who}_x", arrays[f"{who}_x"]), _classes(path, f"{who}_y", arrays.get(f"{who}_y")))
        for who in ("source", "target")
    )
    return np.arange(len(source[0])), source, target


def _read_h5ad(path: Path, target_column: str | None, label_column: str | None) -> tuple[np.ndarray, Samples, Samples]:
    try:
        obs, x = read_obs_and_x(path)
    except Exception as error:  # whatever HDF5 and anndata find wrong with it
        raise InputError(path, "data", f"cannot be read as an .h5ad ({error})", "write it again") from None
    for column, option in ((target_column, "--target"), (label_column, "--label")):
        if column is not None and column not in obs:
            raise InputError(path, f".obs[{column!r}]", "is not there", f"{option} takes one of {', '.join(obs)}")
    if target_column is None:
        raise InputError(path, "--target", "is missing", "name the boolean column of .obs that marks the target")
    names = obs.index.to_numpy(str)
    mark = _mark(path, target_column, obs[target_column])
    x = _features(path, ".X", x, names)
    y = None if label_column is None else _class_numbers(path, label_column, obs[label_column])
    source, target = ((x[rows], None if y is None else y[rows]) for rows in (~mark, mark))
    return names[~mark], source, target


def _mark(path: Path, column: str, mark: pd.Series) -> np.ndarray:
    """Which samples are the target, (n,) bool."""
    if not pd.api.types.is_bool_dtype(mark) or mark.isna().any() or not 0 < mark.sum() < len(mark):
        problem = f"is {mark.dtype} with {mark.nunique()} different values, {mark.isna().sum()} missing"
        raise InputError(path, f".obs[{column!r}]", problem, "make it boolean, true for the target alone")
    return mark.to_numpy(bool)


def _class_numbers(path: Path, column: str, labels: pd.Series) -> np.ndarray:
    codes, _ = pd.factorize(labels, sort=True)
    if (codes < 0).any():
        problem = f"{int((codes < 0).sum())} samples have none"
        raise InputError(path, f".obs[{column!r}]", problem, "leave them out or label them")
    return codes.astype(np.int64)


def _features(path: Path, name: str, values: np.ndarray | None, names: np.ndarray | None = None) -> np.ndarray:
    if values is None or values.ndim != 2 or values.dtype.kind not in "fiub":
        raise InputError(path, name, "is no table of numbers, samples x features", "give one row per sample")
    if len(values) == 0:
        raise InputError(path, name, "there are no samples", "give at least one")
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        first = bad[0] if names is None else repr(str(names[bad[0]]))
        problem = f"{len(bad)} of {len(values)} samples hold NaN or infinity, sample {first} first"
        raise InputError(path, name, problem, "leave them out or fill them in")
    return np.ascontiguousarray(values, np.float32)


def _classes(path: Path, name: str, values: np.ndarray | None) -> np.ndarray | None:
    if values is None:
        return None
    if values.ndim != 1 or values.dtype.kind not in "iub" or (len(values) and values.min() < 0):
        raise InputError(path, name, "is no list of class numbers 0, 1, 2, ...", "number the classes from 0")
    return values.astype(np.int64)
