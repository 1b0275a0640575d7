"""Files that exist whole or not at all."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends well.

    Whatever stops the block, an older file at `path` stays as it was. A partial file remains only where the job was
    killed. The next try overwrites it, because it has the same name. So one job at a time may write to `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial.{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_parquet(path: str | Path, frame: pd.DataFrame) -> None:
    """Write a DataFrame as parquet, without its index, whole or not at all."""
    with written_whole(path) as partial:
        frame.to_parquet(partial, index=False)


def write_csv(path: str | Path, frame: pd.DataFrame, sep: str = ",") -> None:
    """Write a DataFrame as text, without its index, whole or not at all.

    A carriage return becomes a space: pandas does not quote it when it writes, and ends a line there when it reads.
    """
    text = {name: frame[name].replace("\r", " ", regex=True) for name in frame.select_dtypes(object)}
    with written_whole(path) as partial:
        frame.assign(**text).to_csv(partial, sep=sep, index=False)


def write_npz(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a dict of arrays as .npz, whole or not at all."""
    with written_whole(path) as partial, open(partial, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy has a bool among its keywords


def write_json(path: str | Path, numbers: Mapping[str, Any]) -> None:
    """Write a dict of text and numbers as JSON, whole or not at all; NaN and infinity, which JSON lacks, are null."""
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in numbers.items()}
    with written_whole(path) as partial:
        partial.write_text(json.dumps(finite, indent=2, allow_nan=False) + "\n")


def read_json(path: str | Path) -> dict[str, Any]:
    """The dict that write_json wrote; null is NaN."""
    return {k: math.nan if v is None else v for k, v in json.loads(Path(path).read_text()).items()}
