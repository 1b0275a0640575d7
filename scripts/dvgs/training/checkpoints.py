"""What a long valuation has so far, kept in a file, so that after a kill it goes on from there."""

import hashlib
import time
from pathlib import Path

import torch

from dvgs.io.files import written_whole

SECONDS = 10  # from one writing to the next


class Kept:
    """The state of one valuation, a dict of numbers, tensors and dicts of these.

    task: a Task; without its folder nothing is kept. method, settings: what else the state is a state of; one of other
    data or settings, of another kind of device or version of torch is not taken up. The folder is for the caller to
    remove in the end.
    """

    def __init__(self, task, method, settings):
        self._path = task.work and Path(task.work) / f"{method}.pt"
        self._last = time.monotonic()
        if self._path:
            start = task.start()
            made_by = settings, task.seed, task.device.type, torch.__version__
            self._key = digest(repr(start), *made_by, *start.state_dict().values(), *task.source, *task.target)

    def load(self):
        """The state, or None."""
        if not self._path or not self._path.exists():
            return None
        kept = torch.load(self._path, weights_only=True, map_location="cpu")
        return kept["state"] if kept["key"] == self._key else None

    def due(self):
        """Whether there is a file to write to, and that was not done just now."""
        return self._path and time.monotonic() - self._last >= SECONDS

    def save(self, state):
        """Write the state to the file if that is due."""
        if self.due():
            with written_whole(self._path) as partial:
                torch.save({"key": self._key, "state": state}, partial)
            self._last = time.monotonic()


def digest(*things):
    """A hex string that tells inputs apart: tensors by their numbers, all else by what it prints."""
    found = hashlib.blake2b(digest_size=16)
    for thing in things:
        if torch.is_tensor(thing):
            found.update(f"{thing.dtype} {tuple(thing.shape)}".encode())
            found.update(thing.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        else:
            found.update(repr(thing).encode())
        found.update(b"\0")
    return found.hexdigest()
