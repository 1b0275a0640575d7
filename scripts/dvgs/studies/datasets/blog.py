"""BLOG: will a blog post get a comment within a day? (BlogFeedback; Buza, UCI, CC BY 4.0.)

Preprocessing as published: 280 numbers as they are; the class is whether the number of comments is above 0. The test
part is 60 files, each a day of 2012; the training part is from 2010 and 2011.
"""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from dvgs.errors import InputError

FILES = {
    "BlogFeedback.zip": {
        "url": "https://archive.ics.uci.edu/ml/machine-learning-databases/00304/BlogFeedback.zip",
        "size": 2583605,
        "sha256": "1ba74e5ad920f7cd037502b2968581cc695146a226a73eff52fe8ad875ed4bcf",
    },
}
TRAIN, DAYS = "blogData_train.csv", 60
N_FEATURES = 280


def read(folder: Path) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """(x, y) of the training part and of the test part."""
    path = folder / "BlogFeedback.zip"
    try:
        with zipfile.ZipFile(path) as archive:
            days = sorted(name for name in archive.namelist() if name.startswith("blogData_test-"))
            if TRAIN not in archive.namelist():
                raise InputError(path, "blog", f"it lacks {TRAIN}", "get it again")
            if len(days) != DAYS:
                raise InputError(path, "blog", f"{len(days)} files blogData_test-*.csv, not {DAYS}", "get it again")
            train = _read_rows(archive, path, TRAIN)
            test = np.concatenate([_read_rows(archive, path, day) for day in days])
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(path, "blog", f"not a whole zip archive ({error})", "get it again") from None
    return _split(train), _split(test)


def _read_rows(archive, path, name):
    try:
        with archive.open(name) as file:
            rows = pd.read_csv(file, header=None).to_numpy(np.float64)
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(path, name, f"no table of numbers ({error})", "get it again") from None
    if rows.shape[1] != N_FEATURES + 1 or not np.isfinite(rows).all():
        problem = f"not {N_FEATURES + 1} numbers in every row, the file may be cut"
        raise InputError(path, name, problem, "get it again")
    return rows


def _split(rows):
    return rows[:, :-1].astype(np.float32), (rows[:, -1] > 0).astype(np.int64)
