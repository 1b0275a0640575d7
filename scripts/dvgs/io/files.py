"""Files that exist whole or not at all."""

import json
import math
import os
from contextlib import contextmanager
from pathlib import Path

import numpy as np


@contextmanager
def written_whole(path):
    """Give a temporary path beside `path`; rename it to `path` when the block ends well.

    Whatever stops the block, an older file at `path` stays as it was. A partial one remains where the job was killed
    alone; the next try overwrites it, for it has the same name. So one job at a time may write to `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial.{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_parquet(path, frame):
    """Write a DataFrame as parquet, without its index, whole or not at all."""
    with written_whole(path) as partial:
        frame.to_parquet(partial, index=False)


def write_csv(path, frame, sep=","):
    """Write a DataFrame as text, without its index, whole or not at all.

    A carriage return, which pandas does not quote but takes for the end of a line, becomes a space.
    """
    text = {name: frame[name].replace("\r", " ", regex=True) for name in frame.select_dtypes(object)}
    with written_whole(path) as partial:
        frame.assign(**text).to_csv(partial, sep=sep, index=False)


def write_npz(path, arrays):
    """Write a dict of arrays as .npz, whole or not at all."""
    with written_whole(path) as partial, open(partial, "wb") as file:
        np.savez(file, **arrays)


def write_json(path, numbers):
    """Write a dict of text and numbers as JSON, whole or not at all; null for what JSON has not, NaN and infinity."""
    told = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in numbers.items()}
    with written_whole(path) as partial:
        partial.write_text(json.dumps(told, indent=2, allow_nan=False) + "\n")


def read_json(path):
    """The dict that write_json wrote; null is NaN."""
    return {k: math.nan if v is None else v for k, v in json.loads(Path(path).read_text()).items()}
