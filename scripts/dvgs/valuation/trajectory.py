"""The trajectory: the parameters visited while a model is trained on the target, and the target's gradients.

It is a file, so that profiles can be scored in independent jobs, by the same numbers, at any later time.
A recording that was killed goes on where it was, to the same bytes: see `recording`.
"""

import json
import math
from pathlib import Path

import h5py
import numpy as np
import torch
from scipy.stats import spearmanr

from dvgs.devices import fork_random, seed_device
from dvgs.errors import InputError
from dvgs.gradients.engine import GradientSimilarity, same_buffers
from dvgs.gradients.natural import natural_gradient
from dvgs.progress import Progress, logger
from dvgs.seeds import derive_seed
from dvgs.training.checkpoints import digest
from dvgs.training.fit import fit, make_optimizer, steps_per_epoch
from dvgs.training.models import Autoencoder
from dvgs.valuation.recording import Recording


def record_trajectory(
    path,
    model,
    loss,
    x,
    y,
    *,
    epochs,
    batch_size,
    learning_rate,
    seed,
    restarts=1,
    every=1,
    stable=None,
    pilot=None,
    grad_params=None,
    natural=False,
):
    """Train a model on the target and write what it went through to an HDF5 file.

    x, y: the target, tensors on the model's device. The similarity is to be taken before each step, so row 0 is the
    start (arXiv 2405.08217, algorithm 1); of all steps every `every`-th is written. The first run starts from the
    model as it is, each further restart from weights drawn anew. Frozen parameters and buffers stay as they are. With
    `stable`, the first run ends before its epochs once training has settled and the ranking of the pilot, a pair
    of tensors (x, y) from the source, is that stable (is_settled, rank_agreement); further restarts are as long.
    natural: whether to write the natural gradient of the whole target (natural_gradient), zero for parameters that are
    not compared, in place of the batch's gradient; the training is the same.

    Datasets: `parameters` and `gradients` (rows, parameters) and the target's `loss` (rows,), restart after restart;
    `n_rows` (1,), int64, the rows of one restart; with `stable`, `pilot` (rows of one restart, n), float32, the cosines
    of the pilot in the first run. After an early end the rows of the steps that were left out stay in the file, unused.
    Attributes: `key`, the digest of all inputs; `restarts`; `architecture`, JSON, of an Autoencoder. What was recorded
    from the same inputs before, or begun and killed, is not recorded again. Raises InputError when the loss stops being
    finite.
    """
    n_steps = epochs * steps_per_epoch(len(x), batch_size)
    settings = (epochs, batch_size, learning_rate, seed, restarts, every, stable, natural)
    settings += (grad_params and sorted(grad_params),)
    modes = [module.training for module in model.modules()], [p.requires_grad for p in model.parameters()]
    what = (torch.__version__, x.device.type, repr(model), modes, settings)
    key = digest(what, *model.state_dict().values(), x, y, *(pilot or ()), _first_losses(model, loss, x, y))
    if _is_recorded(path, key):
        return
    recording = Recording(path, key, model, restarts, -(-n_steps // every), len(pilot[0]) if stable else 0)
    engine = GradientSimilarity(model, loss, grad_params)
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    progress = Progress("training on the target, steps", n_steps * (restarts - recording.restart) - recording.step)

    for restart in range(recording.restart, restarts):
        if restart > 0:
            _draw_anew(model, derive_seed(seed, "restart", restart))
        optimizer = make_optimizer(model, learning_rate)
        start = recording.restore(model, optimizer)

        def before_step(step, batch_loss, restart=restart, optimizer=optimizer):
            progress.advance()
            for buffer, value in buffers:
                buffer.copy_(value)
            if step % every:
                return False
            row, value = step // every, batch_loss.item()
            if not math.isfinite(value):
                problem = f"the target's loss is {value} at step {step}"
                raise InputError("trajectory", "learning_rate", problem, "lower it or scale the data")
            found = natural_gradient(engine, x, y, batch_size) if natural else {p: p.grad for p in model.parameters()}
            gradients = [torch.zeros_like(p) if found.get(p) is None else found[p] for p in model.parameters()]
            recording.write(restart * recording.n_rows + row, model, gradients, value)
            if stable and restart == 0:
                recording.pilot.write([row], engine(*pilot, gradients)["cosine"].cpu()[None])
                settled = _is_checkpoint(row + 1) and is_settled(recording.loss.read(0, row + 1))
                if settled and rank_agreement(recording.pilot.read(0, row + 1)) >= stable:
                    logger.info("after %d of %d steps the ranking is stable to %g", step + 1, n_steps, stable)
                    recording.n_rows = row + 1
                    return True
            recording.snapshot(restart, step, model, optimizer)
            return False

        fit(
            model,
            loss,
            x,
            y,
            steps=min(recording.n_rows * every, n_steps) if restart > 0 else n_steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            seed=derive_seed(seed, "order", restart),
            before_step=before_step,
            optimizer=optimizer,
            start=start,
        )
        if stable and restart == 0 and recording.n_rows * every >= n_steps:
            reached = rank_agreement(recording.pilot.read(0, recording.n_rows))
            logger.warning("after all %d steps the ranking is stable to %.4f, not %g", n_steps, reached, stable)
    recording.finish()


def _is_recorded(path, key):
    if not Path(path).exists():
        return False
    with h5py.File(path, "r") as file:
        return file.attrs["key"] == key


def rank_agreement(cosines):
    """Spearman correlation over samples of the mean over all rows of (rows, n) and the mean over their first half."""
    half = np.mean(cosines[: max(1, len(cosines) // 2)], axis=0, dtype=np.float64)
    return spearmanr(half, np.mean(cosines, axis=0, dtype=np.float64)).statistic


def is_settled(losses):
    """Whether the second half of the steps brought less than a tenth of what the loss fell in all.

    Along a training that has hardly begun the ranking does not change either.
    """
    tenth = max(1, len(losses) // 10)
    first, middle, last = (np.mean(part) for part in (
        losses[:1], losses[len(losses) // 2 - tenth // 2 : len(losses) // 2 + (tenth + 1) // 2], losses[-tenth:]
    ))  # fmt: skip
    return first > last and middle - last < 0.1 * (first - last)


def _is_checkpoint(rows):
    """Whether to look at the ranking: from 16 rows on, whenever they have become 4 % more."""
    return rows >= 16 and math.floor(20 * math.log2(rows)) > math.floor(20 * math.log2(rows - 1))


@torch.no_grad()
def _draw_anew(model, seed):
    """Draw the trainable parameters anew; what is frozen, and buffers, stay."""
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
                problem = f"{name or type(module).__name__} cannot draw its weights anew for a restart"
                raise InputError("model", "restarts", problem, "give it a method reset_parameters() or say restarts=1")
    for tensor, before in kept:
        tensor.copy_(before)


@torch.no_grad()
def _first_losses(model, loss, x, y):
    """What tells losses and forward passes apart that print alike."""
    with fork_random(x.device), same_buffers(model):
        seed_device(x.device, 0)
        return loss(model(x[:8]), y[:8])


class Trajectory:
    """A trajectory file open for reading: a context manager, `len()` is its number of rows over all restarts.

    model: the module to put to its parameters; without one, the autoencoder it was recorded with.
    """

    def __init__(self, path, model=None, device="cpu"):
        self._file = h5py.File(path, "r")
        self.key, self.restarts = str(self._file.attrs["key"]), int(self._file.attrs["restarts"])
        self.n_rows = int(self._file["n_rows"][0])
        self.model = (model or Autoencoder(**json.loads(self._file.attrs["architecture"]))).to(device)
        self._device = device

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._file.close()

    def __len__(self):
        return self.restarts * self.n_rows

    @torch.no_grad()
    def at(self, row):
        """Put `model` to the parameters of a row; return the target gradient, one tensor a parameter."""
        parameters = list(self.model.parameters())
        sizes = [p.numel() for p in parameters]
        for p, values in zip(parameters, self._vector("parameters", row).split(sizes), strict=True):
            p.copy_(values.view_as(p))
        gradients = self._vector("gradients", row).split(sizes)
        return [g.view_as(p) for g, p in zip(gradients, parameters, strict=True)]

    def _vector(self, name, row):
        vector = torch.from_numpy(self._file[name][row])
        if torch.device(self._device).type == "cuda":
            vector = vector.pin_memory()  # so that the GPU fetches it when it comes to that, and nothing waits
        return vector.to(self._device, non_blocking=True)
