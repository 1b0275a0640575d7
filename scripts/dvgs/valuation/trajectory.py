"""The trajectory: the parameters visited while a model is trained on the target, and the target's gradients.

It is a file, so that independent jobs can score profiles at any later time, with the same parameters.
A recording that was killed goes on where it was and gives the same bytes: see `recording`.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from scipy.stats import spearmanr
from torch import nn

from dvgs.devices import fork_random, seed_device
from dvgs.errors import InputError
from dvgs.gradients.engine import GradientSimilarity
from dvgs.gradients.factors import same_buffers
from dvgs.gradients.natural import natural_gradient
from dvgs.progress import Progress, logger
from dvgs.seeds import derive_seed
from dvgs.training.checkpoints import digest
from dvgs.training.fit import Loss, Training
from dvgs.training.models import Autoencoder
from dvgs.training.schedule import Schedule
from dvgs.valuation.recording import Recording


@dataclass(frozen=True, kw_only=True)
class TrajectorySettings:
    """How a trajectory is recorded.

    schedule: of one training. seed: of batches, dropout and restarts. restarts: number of trainings; the first starts
    from the model's weights, the others from new random ones. every: steps from one row of the file to the next.
    stable: the rank correlation at which the first training may end early (see record_trajectory). grad_params: names
    of the parameters to compare, by default all that are trainable. natural: whether to write the natural gradient of
    the whole target instead of the batch's gradient, zero for parameters that are not compared; the training itself
    does not change.
    """

    schedule: Schedule
    seed: int
    restarts: int = 1
    every: int = 1
    stable: float | None = None
    grad_params: Sequence[str] | None = None
    natural: bool = False

    @classmethod
    def from_config(cls, seed: int, **settings: Any) -> "TrajectorySettings":
        schedule, others = Schedule.split(settings)
        return cls(schedule=schedule, seed=seed, **others)


def record_trajectory(
    path: Path | str,
    model: nn.Module,
    loss: Loss,
    target: tuple[torch.Tensor, torch.Tensor],
    settings: TrajectorySettings,
    pilot: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> None:
    """Train a model on the target and write its trajectory to an HDF5 file.

    target: x and y, tensors on the model's device. A row is written before each step, so row 0 is the start (arXiv
    2405.08217, algorithm 1). Frozen parameters and buffers do not change. pilot: x and y from the source, for `stable`.
    With `stable`, the first training ends early once its loss has settled (is_settled) and the ranking of the pilot is
    that stable (rank_agreement); the other restarts are as long.

    Datasets: `parameters` and `gradients` (rows, parameters) and the target's `loss` (rows,), restart after restart;
    `n_rows` (1,), int64, the rows of one restart; with `stable`, `pilot` (rows of one restart, n), float32, the cosines
    of the pilot in the first training. After an early end, the rows of the steps that were left out stay in the file,
    unused. Attributes: `key`, the digest of all inputs; `restarts`; `architecture`, JSON, of an Autoencoder. Rows that
    an earlier call wrote for the same inputs, finished or killed, are used again. Raises InputError when the loss is no
    longer finite.
    """
    pilot = pilot if settings.stable else None
    key = _digest_of_inputs(model, loss, target, settings, pilot)
    if _is_recorded(path, key):
        return
    recorder = _Recorder(path, key, model, loss, target, settings, pilot)
    for restart in range(recorder.recording.restart, settings.restarts):
        recorder.run(restart)
    recorder.recording.finish()


def _digest_of_inputs(model, loss, target, settings, pilot):
    modes = [module.training for module in model.modules()], [p.requires_grad for p in model.parameters()]
    names = settings.grad_params and sorted(settings.grad_params)
    what = (torch.__version__, target[0].device.type, repr(model), modes, replace(settings, grad_params=names))
    return digest(what, *model.state_dict().values(), *target, *(pilot or ()), _first_losses(model, loss, *target))


class _Recorder:
    """Runs the trainings of a trajectory, and writes a row before each of their steps."""

    def __init__(self, path, key, model, loss, target, settings, pilot):
        self._model, self._loss, self._target, self._settings, self._pilot = model, loss, target, settings, pilot
        self._n_steps = settings.schedule.n_steps(len(target[0]))
        max_rows = -(-self._n_steps // settings.every)
        self.recording = Recording(path, key, model, settings.restarts, max_rows, len(pilot[0]) if pilot else 0)
        self._engine = GradientSimilarity(model, loss, settings.grad_params)
        self._buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
        left = self._n_steps * (settings.restarts - self.recording.restart) - self.recording.step
        self._progress = Progress("training on the target, steps", left)

    def run(self, restart):
        """Run one training, or the rest of it after a kill."""
        if restart > 0:
            _draw_again(self._model, derive_seed(self._settings.seed, "restart", restart))
        rows = self.recording.n_rows
        steps = min(rows * self._settings.every, self._n_steps) if restart > 0 else self._n_steps
        seed = derive_seed(self._settings.seed, "order", restart)
        training = Training(self._model, self._loss, self._settings.schedule.with_steps(steps), seed)
        self.recording.resume(training)
        training.run(self._target, before_step=lambda step, loss: self._before_step(restart, training, step, loss))
        if self._settings.stable and restart == 0 and self.recording.n_rows * self._settings.every >= self._n_steps:
            reached = rank_agreement(self.recording.pilot(self.recording.n_rows))
            words = "after all %d steps the ranking is stable to %.4f, not %g"
            logger.warning(words, self._n_steps, reached, self._settings.stable)

    def _before_step(self, restart, training, step, batch_loss):
        """Write the row of a step; returns true if the training may end."""
        self._progress.advance()
        for buffer, value in self._buffers:
            buffer.copy_(value)
        if step % self._settings.every:
            return False
        row, value = step // self._settings.every, batch_loss.item()
        if not math.isfinite(value):
            problem = f"the target's loss is {value} at step {step}"
            raise InputError("trajectory", "learning_rate", problem, "lower it or scale the data")
        gradients = self._gradients()
        self.recording.write(restart * self.recording.n_rows + row, self._model, gradients, value)
        if self._settings.stable and restart == 0 and self._is_stable(row, gradients):
            logger.info(
                "after %d of %d steps the ranking is stable to %g", step + 1, self._n_steps, self._settings.stable
            )
            self.recording.n_rows = row + 1
            return True
        self.recording.keep(restart, training)
        return False

    def _gradients(self):
        """The target's gradient at the model's parameters, one tensor for each parameter."""
        if self._settings.natural:
            x, y = self._target
            found = natural_gradient(self._engine, x, y, self._settings.schedule.batch_size)
        else:
            found = {p: p.grad for p in self._model.parameters()}
        return [torch.zeros_like(p) if found.get(p) is None else found[p] for p in self._model.parameters()]

    def _is_stable(self, row, gradients):
        """Write the cosines of the pilot; returns whether the loss has settled and their ranking is stable."""
        recording, (x, y) = self.recording, self._pilot
        recording.write_pilot(row, self._engine(x, y, gradients)["cosine"])
        settled = _is_looked_at(row + 1) and is_settled(recording.losses(row + 1))
        return settled and rank_agreement(recording.pilot(row + 1)) >= self._settings.stable


def _is_recorded(path, key):
    if not Path(path).exists():
        return False
    with h5py.File(path, "r") as file:
        return file.attrs["key"] == key


def rank_agreement(cosines: np.ndarray) -> float:
    """Spearman correlation over samples of the mean over all rows of (rows, n) and the mean over their first half."""
    half = np.mean(cosines[: max(1, len(cosines) // 2)], axis=0, dtype=np.float64)
    return spearmanr(half, np.mean(cosines, axis=0, dtype=np.float64)).statistic


def is_settled(losses: np.ndarray) -> bool:
    """Whether less than a tenth of the fall of the loss was in the second half of the steps.

    A stable ranking is not enough: it does not change either while a training has hardly begun.
    """
    tenth = max(1, len(losses) // 10)
    first, middle, last = (np.mean(some) for some in (
        losses[:1], losses[len(losses) // 2 - tenth // 2 : len(losses) // 2 + (tenth + 1) // 2], losses[-tenth:]
    ))  # fmt: skip
    return first > last and middle - last < 0.1 * (first - last)


def _is_looked_at(rows):
    """Whether to look at the ranking: from 16 rows on, each time their number has grown by 4 %."""
    return rows >= 16 and math.floor(20 * math.log2(rows)) > math.floor(20 * math.log2(rows - 1))


@torch.no_grad()
def _draw_again(model, seed):
    """Draw the trainable parameters again; frozen ones and buffers do not change."""
    kept = [(t, t.clone()) for t in [*model.parameters(), *model.buffers()] if not t.requires_grad]
    device = next(model.parameters()).device
    with fork_random(device):
        seed_device(device, seed)
        for name, module in model.named_modules():
            if not any(p.requires_grad for p in module.parameters(recurse=False)):
                continue
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
            else:
                problem = f"{name or type(module).__name__} cannot draw its weights again for a restart"
                raise InputError("model", "restarts", problem, "give it a method reset_parameters() or say restarts=1")
    for tensor, before in kept:
        tensor.copy_(before)


@torch.no_grad()
def _first_losses(model, loss, x, y):
    """Losses of some samples: they differ for losses and models that differ but have the same repr."""
    with fork_random(x.device), same_buffers(model):
        seed_device(x.device, 0)
        return loss(model(x[:8].clone()), y[:8].clone())


class Trajectory:
    """A trajectory file that is open for reading, a context manager. `len()` is its number of rows over all restarts.

    model: the module that gets its parameters; without one, the autoencoder with which it was recorded.
    """

    def __init__(self, path: Path | str, model: nn.Module | None = None, device: torch.device | str = "cpu"):
        self._file = h5py.File(path, "r")
        self.key, self.restarts = str(self._file.attrs["key"]), int(self._file.attrs["restarts"])
        self.n_rows = int(self._file["n_rows"][0])
        self.model = (model or Autoencoder(**json.loads(self._file.attrs["architecture"]))).to(device)
        self._device = device

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._file.close()

    def __len__(self) -> int:
        return self.restarts * self.n_rows

    @torch.no_grad()
    def at(self, row: int) -> list[torch.Tensor]:
        """Give `model` the parameters of a row; return the target gradient, one tensor for each parameter."""
        parameters = list(self.model.parameters())
        sizes = [p.numel() for p in parameters]
        for p, values in zip(parameters, self._vector("parameters", row).split(sizes), strict=True):
            p.copy_(values.view_as(p))
        gradients = self._vector("gradients", row).split(sizes)
        return [g.view_as(p) for g, p in zip(gradients, parameters, strict=True)]

    def _vector(self, name, row):
        vector = torch.from_numpy(self._file[name][row])
        if torch.device(self._device).type == "cuda":
            vector = vector.pin_memory()  # so that the copy to the GPU runs in the background
        return vector.to(self._device, non_blocking=True)
