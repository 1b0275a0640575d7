"""ADULT: does a person in the US census of 1994 earn more than 50,000 dollars? (Becker and Kohavi, UCI, CC BY 4.0.)

Preprocessing as published: 6 numbers, and 8 one-hot categories with `?` as one of their values. The official files give
108 features; categories are collected from training and test set together.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from dvgs.errors import InputError

URL = "https://archive.ics.uci.edu/ml/machine-learning-databases/adult/"
FILES = {
    "adult.data": {
        "url": URL + "adult.data",
        "size": 3974305,
        "sha256": "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
    },
    "adult.test": {
        "url": URL + "adult.test",
        "size": 2003153,
        "sha256": "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
    },
}
ROWS = {"adult.data": 32561, "adult.test": 16281}
NUMBERS = ["age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week"]
FIELDS = ["age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation"]
FIELDS += ["relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income"]
CLASSES = {"<=50K": 0, ">50K": 1}


def read(folder: Path) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """(x, y) of the training part and of the test part."""
    parts = [_read_rows(folder / name, n_head) for n_head, name in enumerate(FILES)]
    table = pd.concat(parts, ignore_index=True)
    y = table.pop("income").to_numpy(np.int64)
    x = pd.get_dummies(table, dtype=np.float32).to_numpy(np.float32)
    n = len(parts[0])
    return (x[:n], y[:n]), (x[n:], y[n:])


def _read_rows(path, n_head):
    """The rows of a file. The first line of the test file is not a row, and its labels end with a dot."""
    lines = path.read_text(encoding="latin-1").splitlines()
    rows = []
    for number, line in enumerate(lines[n_head:], n_head + 1):
        fields = [field.strip() for field in line.split(",")]
        if fields == [""]:
            continue
        if len(fields) != len(FIELDS):
            problem = f"{len(fields)} fields instead of {len(FIELDS)}, the file may be cut"
            raise InputError(path, f"line {number}", problem, "get it again")
        fields[-1] = CLASSES.get(fields[-1].removesuffix("."))
        if fields[-1] is None:
            raise InputError(path, f"line {number}", "neither <=50K nor >50K at its end", "get the file again")
        rows.append(fields)
    if len(rows) != ROWS[path.name]:  # a file that is cut at the end of a line looks complete
        raise InputError(path, "rows", f"{len(rows)} instead of {ROWS[path.name]}, the file may be cut", "get it again")
    table = pd.DataFrame(rows, columns=FIELDS)
    for column in NUMBERS:
        table[column] = pd.to_numeric(table[column], errors="coerce").astype(np.float32)
        if wrong := int((~np.isfinite(table[column])).sum()):
            raise InputError(path, column, f"{wrong} are not numbers", "get the file again")
    return table
