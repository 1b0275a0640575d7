"""Files that exist whole or not at all."""

import os
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path):
    """Give a temporary path beside `path`; rename it to `path` when the block ends well.

    Whatever stops the block, an older file at `path` stays as it was and no partial one remains.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}.partial.{path.name}")
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
    """Write a DataFrame as text, without its index, whole or not at all."""
    with written_whole(path) as partial:
        frame.to_csv(partial, sep=sep, index=False)
