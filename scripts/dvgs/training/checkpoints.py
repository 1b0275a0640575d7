"""The state of a long computation in a file: after a kill the computation goes on from there."""

import hashlib
import time
from pathlib import Path
from typing import Any

import torch

from dvgs.io.files import written_whole

SECONDS = 10  # at least this long between two writings


class Checkpoint:
    """The state of one computation in a file: a dict of numbers, text, tensors and lists and dicts of these.

    path: the file; with None nothing is kept. key: the digest of everything that determines the state; a state with
    another key is ignored. The caller removes the file once it has the result.
    """

    def __init__(self, path: Path | None, key: str):
        self._path, self._key = path, key
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The state, with tensors on the CPU; None if there is no file, or if it has another key."""
        if not self._path or not self._path.exists():
            return None
        kept = torch.load(self._path, weights_only=True, map_location="cpu")
        return kept["state"] if kept["key"] == self._key else None

    def save(self, state: dict[str, Any]) -> None:
        """Write the whole state, or nothing."""
        if self._path:
            with written_whole(self._path) as partial:
                torch.save({"key": self._key, "state": state}, partial)
            self._last = time.monotonic()

    def due(self) -> bool:
        """Whether there is a file to write to and the last writing was at least SECONDS ago."""
        return self._path is not None and time.monotonic() - self._last >= SECONDS

    def remove(self) -> None:
        if self._path:
            self._path.unlink(missing_ok=True)


def digest(*things: Any) -> str:
    """A hex string that differs for different inputs: tensors count by their numbers, everything else by its repr."""
    found = hashlib.blake2b(digest_size=16)
    for thing in things:
        if torch.is_tensor(thing):
            found.update(f"{thing.dtype} {tuple(thing.shape)}".encode())
            found.update(thing.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        else:
            found.update(repr(thing).encode())
        found.update(b"\0")
    return found.hexdigest()
