"""Writes the file of a trajectory, and the checkpoint from which a killed recording goes on."""

import json
import os
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

from dvgs.io.rows import open_rows, place_datasets
from dvgs.progress import logger
from dvgs.training.checkpoints import Checkpoint
from dvgs.training.fit import Training
from dvgs.training.models import Autoencoder


class Recording:
    """The file of a trajectory while it is written.

    Its HDF5 structure is written once. Then rows go straight to their places in the file, so a kill cannot spoil it.
    Every few seconds a checkpoint of parameters and optimizer is written beside it. A recording that was killed goes on
    from there: it writes the rows after the checkpoint again, with the same numbers.

    key: the digest of everything that determines the numbers; a checkpoint with another key is ignored. model: gives
    the number of parameters and their dtype. max_rows: rows of one restart, unless it ends early. n_pilot: samples
    whose cosines are kept, 0 for none. Attributes: `restart` and `step`, where to go on; `n_rows`, the rows of one
    restart.
    """

    def __init__(self, path: Path | str, key: str, model: nn.Module, restarts: int, max_rows: int, n_pilot: int):
        self._path = Path(path)
        self._partial = self._path.with_name(f".partial.{self._path.name}")
        self._checkpoint = Checkpoint(self._path.with_name(f".checkpoint.{self._path.name}"), key)
        self._state = self._checkpoint.load() if self._partial.exists() else None
        if self._state is None:
            self._checkpoint.remove()
            self.restart, self.step = 0, 0
            place_datasets(self._partial, *_layout(key, model, restarts, max_rows, n_pilot))
        else:
            self.restart, self.step = self._state["restart"], self._state["step"]
            logger.info("going on at step %d of restart %d", self.step, self.restart)
        self._rows = open_rows(self._partial)
        if self._state is None:
            self.n_rows = max_rows

    @property
    def n_rows(self) -> int:
        return int(self._rows["n_rows"].read(0, 1).item())

    @n_rows.setter
    def n_rows(self, n: int) -> None:
        self._rows["n_rows"].write([0], np.array([[n]]))

    def write(self, row: int, model: nn.Module, gradients: list[torch.Tensor], loss: float) -> None:
        """Write a step to its row of the file; gradients has one tensor for each parameter."""
        self._rows["parameters"].write([row], _numbers(model.parameters()))
        self._rows["gradients"].write([row], _numbers(gradients))
        self._rows["loss"].write([row], np.array([[loss]]))

    def write_pilot(self, row: int, cosines: torch.Tensor) -> None:
        """Put the cosines of the pilot at a row of the first training."""
        self._rows["pilot"].write([row], cosines.cpu().numpy()[None])

    def losses(self, n: int) -> np.ndarray:
        """The target's loss in the first n rows, (n, 1)."""
        return self._rows["loss"].read(0, n)

    def pilot(self, n: int) -> np.ndarray:
        """The cosines of the pilot in the first n rows, (n, samples)."""
        return self._rows["pilot"].read(0, n)

    def keep(self, restart: int, training: Training) -> None:
        """Write a checkpoint of a training, before its step, unless the last one is only seconds old."""
        if self._checkpoint.due():
            self._checkpoint.save({"restart": restart, **training.state_dict()})

    def resume(self, training: Training) -> None:
        """Load the state that was found into a training; only the first call does something."""
        state, self._state = self._state, None
        if state is not None:
            training.load_state_dict(state)

    def finish(self) -> None:
        """Give the complete file its name, and remove the checkpoint."""
        for rows in self._rows.values():
            rows.close()
        os.replace(self._partial, self._path)
        self._checkpoint.remove()


def _layout(key, model, restarts, max_rows, n_pilot):
    """Shapes and dtypes of the datasets by name, and the attributes of the file."""
    n = sum(p.numel() for p in model.parameters())
    dtype = np.float64 if any(p.dtype == torch.float64 for p in model.parameters()) else np.float32
    shapes: dict[str, tuple] = {name: ((restarts * max_rows, n), dtype) for name in ("parameters", "gradients")}
    shapes |= {"loss": ((restarts * max_rows,), dtype), "n_rows": ((1,), np.int64)}
    shapes["pilot"] = ((max_rows, n_pilot), np.float32)
    attributes = {"key": key, "restarts": restarts}
    if isinstance(model, Autoencoder):
        attributes["architecture"] = json.dumps(model.architecture)
    return shapes, attributes


def _numbers(tensors):
    vector = parameters_to_vector(tensors).detach().cpu()
    return (vector.float() if vector.dtype in (torch.bfloat16, torch.float16) else vector).numpy()[None]
