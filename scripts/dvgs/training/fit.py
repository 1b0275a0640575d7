"""Training of models, and R² in one pass."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from torch import nn

from dvgs.devices import fork_random, seed_device
from dvgs.seeds import derive_seed
from dvgs.training.schedule import Schedule

PREDICTION_CHUNK = 8192  # samples
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # takes a prediction and y, gives one loss per sample
Samples = tuple[Any, Any]  # x and y, which may be the same: tensors, or objects that read batches
Before = Callable[[int, torch.Tensor], bool | None]


def make_optimizer(model: nn.Module, learning_rate: float) -> torch.optim.Adam:
    """Adam with torch's defaults; fused, it takes one pass over the parameters in a step."""
    return torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)


class Training:
    """A training with Adam that can stop before any step and go on later with the same numbers.

    model: it is trained in place and stays in its mode. loss(prediction, y) gives one loss per sample; its mean over a
    batch is minimised. seed: of the order of samples and of the masks of dropout. `step`: number of finished steps.
    """

    def __init__(self, model: nn.Module, loss: Loss, schedule: Schedule, seed: int):
        self.model, self.step = model, 0
        self._loss, self._schedule, self._seed = loss, schedule, seed
        self._optimizer = make_optimizer(model, schedule.learning_rate)

    def state_dict(self) -> dict[str, Any]:
        """The state of the training, with references to its tensors, not copies."""
        return {"step": self.step, "model": self.model.state_dict(), "optimizer": self._optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])

    def run(self, samples: Samples, rows: torch.Tensor | None = None, before_step: Before | None = None) -> nn.Module:
        """Take the steps that are left, and return the model.

        samples: x and y on the model's device; x may be profiles.Batches, and y x itself. rows: positions of the
        samples to train on, integers on the CPU, or None for all. before_step(step, loss) is called when a step has its
        gradients, before the parameters change; if it returns true, the training ends there.
        """
        x, y = samples
        rows = torch.arange(len(x)) if rows is None else rows
        order = islice(batches(len(rows), self._schedule.batch_size, self._seed), self.step, None)
        with fork_random(x.device):
            while self.step < self._schedule.n_steps(len(rows)):
                seed_device(x.device, derive_seed(self._seed, "step", self.step))
                drawn = rows[next(order)].to(x.device)
                self._optimizer.zero_grad()
                batch = x[drawn]
                target = batch.clone() if y is x else y[drawn]  # a model may write to what it is given
                batch_loss = self._loss(self.model(batch), target).mean()
                batch_loss.backward()
                if before_step is not None and before_step(self.step, batch_loss):
                    break
                self._optimizer.step()
                self.step += 1
        return self.model


def fit(
    model: nn.Module, loss: Loss, samples: Samples, schedule: Schedule, seed: int, rows: torch.Tensor | None = None
) -> nn.Module:
    """Train a model in place and return it; arguments as for Training."""
    return Training(model, loss, schedule, seed).run(samples, rows)


def batches(n: int, batch_size: int, seed: int) -> Iterator[torch.Tensor]:
    """Yield the positions of batches of n samples, without end; every pass has another order."""
    rng = torch.Generator().manual_seed(seed)
    if batch_size >= n:
        while True:
            yield torch.arange(n)
    # Samples that are left at the end of an epoch go into the first batch of the next one. A short batch (of a single
    # profile in the worst case) would count as much as a whole one, and spoil a model whose training ends with it.
    rows = torch.empty(0, dtype=torch.long)
    while True:
        if len(rows) < batch_size:
            rows = torch.cat([rows, torch.randperm(n, generator=rng)])
        yield rows[:batch_size]
        rows = rows[batch_size:]


@torch.no_grad()
def predict(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The prediction for x in evaluation mode; afterwards the model has its old mode again."""
    mode = model.training
    model.eval()
    found = torch.cat([model(chunk.clone()) for chunk in x.split(PREDICTION_CHUNK)])
    model.train(mode)
    return found


@torch.no_grad()
def r2(model: nn.Module, x: torch.Tensor) -> float:
    """R² of the reconstruction of x (n, genes), averaged uniformly over genes, in one pass.

    Sums are float64. The first profile is subtracted before, so that a large mean costs no precision.
    """
    model.eval()
    origin = x[:1].double()
    total = squares = residual = torch.zeros_like(origin[0])
    for chunk in x.split(PREDICTION_CHUNK):
        centred = chunk.double() - origin
        total = total + centred.sum(0)
        squares = squares + centred.square().sum(0)
        residual = residual + (chunk.double() - model(chunk.clone()).double()).square().sum(0)
    return explained(residual, squares - total.square() / len(x), squares).mean().item()


def explained(residual: torch.Tensor, variance: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
    """R² of each feature, from sums over samples: of squared residuals, of squares about the mean and about a sample.

    A feature without variance has R² 1 if it is predicted exactly, else 0, as in scikit-learn's r2_score.
    """
    constant = variance <= 1e-12 * squares
    return torch.where(constant, (residual == 0).double(), 1 - residual / variance)
