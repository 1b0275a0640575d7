"""A task in memory: source, target and a kind of model, for methods that train on samples."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dvgs.errors import InputError
from dvgs.progress import Progress
from dvgs.seeds import derive_seed, generator
from dvgs.statistics import share_below
from dvgs.training.checkpoints import Checkpoint, digest
from dvgs.training.fit import Samples, Training, explained, predict
from dvgs.training.models import make_autoencoder, reconstruction_loss
from dvgs.training.schedule import Schedule

TARGET_SCHEDULE = Schedule(epochs=100, batch_size=500, learning_rate=1e-3)  # of DVGS and other methods


@dataclass
class Task:
    """What a method may look at to value the source. It returns one float64 per sample; higher is better.

    source, target: pairs (x, y) of tensors on one device, x float32 (n, ...). With classes, y is int64 (n,), numbered
    from 0. Without classes, n_classes is 0 and y is the output that a model should give for x. make_model(seed): a
    model in training mode. seed: of all random numbers. work: a folder where a killed valuation is found and continued,
    or None. most_hours: longer valuations are refused. Raises InputError for numbers that are not finite, for labels in
    another form and if the target lacks a class.
    """

    source: tuple[torch.Tensor, torch.Tensor]
    target: tuple[torch.Tensor, torch.Tensor]
    make_model: Callable[[int], nn.Module]
    n_classes: int
    seed: int
    work: Path | None = None
    most_hours: float = 24

    def __post_init__(self):
        for name, pair in (("source", self.source), ("target", self.target)):
            for what, tensor in zip("xy", pair, strict=True):
                if not tensor.isfinite().all():
                    raise InputError(name, what, "not all numbers are finite", "leave those samples out")
        if self.n_classes:
            for name, (x, y) in (("source", self.source), ("target", self.target)):
                if y.ndim != 1 or y.dtype != torch.int64 or len(y) != len(x) or not _within(y, self.n_classes):
                    problem = f"not a class number, int64, from 0 to {self.n_classes - 1} for each sample"
                    raise InputError(name, "y", problem, "number the classes from 0")
            counts = torch.bincount(self.target[1], minlength=self.n_classes)
            if (counts == 0).any():
                problem = f"class {int(counts.argmin())} is absent"
                raise InputError("target", "y", problem, "draw a larger target, or leave the class out everywhere")

    @property
    def n(self) -> int:
        return len(self.source[0])

    @property
    def device(self) -> torch.device:
        return self.source[0].device

    @property
    def rng(self) -> np.random.Generator:
        return generator(self.seed, "method")

    def start(self, *restart: int) -> nn.Module:
        """The model from which every training starts, or another one for each restart."""
        return self.make_model(derive_seed(self.seed, "start", *restart)).to(self.device)

    def loss(self, prediction: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """One loss per sample; for classes, y may also be weights of them (n, classes)."""
        if self.n_classes:
            return F.cross_entropy(prediction, y, reduction="none")
        return (prediction - y).square().flatten(1).mean(1)

    def score(self, model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
        """`quality` of what a model predicts for x."""
        return self.quality(predict(model, x), y)

    def quality(self, prediction: torch.Tensor, y: torch.Tensor) -> float:
        """How good a prediction is: AUROC for two classes, accuracy for more, else R² averaged over features."""
        if self.n_classes == 2:
            return auroc_of(prediction[:, 1] - prediction[:, 0], y)
        if self.n_classes:
            return (prediction.argmax(1) == y).double().mean().item()
        residual = (prediction.double() - y.double()).flatten(1)
        about_first = (y.double() - y[:1].double()).flatten(1)
        about_mean = about_first - about_first.mean(0)
        sums = (each.square().sum(0) for each in (residual, about_mean, about_first))
        return explained(*sums).mean().item()

    def train_on_target(
        self, schedule: Schedule = TARGET_SCHEDULE, restart: int = 0, class_balance: bool = False
    ) -> nn.Module:
        """A model trained on the target alone, as for DVGS; in evaluation mode."""
        x, y = self.target
        if class_balance and self.n_classes:
            y = balanced(y, self.n_classes)
        own = [restart] if restart else []  # the first has the same start as all other trainings
        training = Training(self.start(*own), self.loss, schedule, derive_seed(self.seed, "target", *own))
        return self._run(f"target-{restart}", training, (x, y), schedule)

    def _run(self, name: str, training: Training, samples: Samples, schedule: Schedule) -> nn.Module:
        """Train and return the model, in evaluation mode; logs progress, and a killed training goes on where it was."""
        x, y = samples
        checkpoint = self.checkpoint(name, schedule, digest(y))
        if state := checkpoint.load():
            training.load_state_dict(state)
        progress = Progress("training on the target, steps", schedule.n_steps(len(x)) - training.step)

        def before_step(step, _):
            if checkpoint.due():
                checkpoint.save(training.state_dict())
            progress.advance()

        return training.run(samples, before_step=before_step).eval()

    def checkpoint(self, name: str, *settings: Any) -> Checkpoint:
        """The checkpoint of a computation; its key includes data, settings, device and version of torch."""
        if not self.work:
            return Checkpoint(None, "")
        start = self.start()
        made_by = settings, self.seed, self.device.type, torch.__version__
        key = digest(repr(start), *made_by, *start.state_dict().values(), *self.source, *self.target)
        return Checkpoint(Path(self.work) / f"{name}.pt", key)

    # What the baselines of a compendium ask for (see evidence.Evidence).
    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        yield np.arange(self.n), self.source[0].flatten(1).cpu().numpy()

    def reconstruct(self, rows: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The samples (k, features) as an autoencoder of the target reconstructs them."""
        samples = torch.from_numpy(x).to(self.device)
        if not self.n_classes:
            samples = samples.reshape(-1, *self.source[0].shape[1:])
        return predict(self._autoencoder, samples).flatten(1).cpu().numpy()

    @cached_property
    def _autoencoder(self):
        if not self.n_classes:
            return self.train_on_target()
        x = self.target[0].flatten(1)
        model = make_autoencoder(x.shape[1], [100], 32, derive_seed(self.seed, "autoencoder")).to(self.device)
        schedule = Schedule(steps=300, batch_size=500, learning_rate=1e-3)
        training = Training(model, reconstruction_loss, schedule, self.seed)
        return self._run("autoencoder", training, (x, x), schedule)


def _within(y, n_classes):
    return len(y) == 0 or 0 <= int(y.min()) <= int(y.max()) < n_classes


def balanced(y: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Weights (n, classes) that give every class the same share in a mean of cross entropies; they are 1 on average."""
    n = torch.bincount(y, minlength=n_classes)
    return F.one_hot(y, n_classes) * (len(y) / (n_classes * n[y]))[:, None]


def auroc_of(score: torch.Tensor, y: torch.Tensor) -> float:
    """Area under the ROC curve of a score, (n,) tensor, (two classes, 1 is positive); ties count one half."""
    values, positive = score.double().cpu().numpy(), y.cpu().numpy() == 1
    return float(share_below(values[positive], values[~positive]).mean()) if 0 < positive.sum() < len(y) else np.nan
