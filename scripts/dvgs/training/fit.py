"""How models are trained, and R² in one pass."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from torch import nn

from dvgs.devices import fork_random, seed_device
from dvgs.seeds import derive_seed
from dvgs.training.schedule import Schedule

PREDICTION_CHUNK = 8192  # samples
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # of a prediction and y, one per sample
Samples = tuple[Any, Any]  # x and y, which may be the same: tensors, or what reads batches of many
Before = Callable[[int, torch.Tensor], bool | None]


def make_optimizer(model: nn.Module, learning_rate: float) -> torch.optim.Adam:
    """Adam with torch's defaults, fused: one pass over the parameters a step."""
    return torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)


class Training:
    """A training with Adam that can be left before any step and go on later as if nothing had happened.

    model: trained in place; it stays in the mode it is in. loss(prediction, y) gives one loss per sample; its mean over
    a batch is minimised. seed: shuffles epochs and draws the masks of dropout. `step`: the steps that are done.
    """

    def __init__(self, model: nn.Module, loss: Loss, schedule: Schedule, seed: int):
        self.model, self.step = model, 0
        self._loss, self._schedule, self._seed = loss, schedule, seed
        self._optimizer = make_optimizer(model, schedule.learning_rate)

    def state_dict(self) -> dict[str, Any]:
        """Where the training stands: references to its tensors, not copies."""
        return {"step": self.step, "model": self.model.state_dict(), "optimizer": self._optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])

    def run(self, samples: Samples, rows: torch.Tensor | None = None, before_step: Before | None = None) -> nn.Module:
        """Take the steps that are left, and return the model.

        samples: x and y on the model's device; x may be profiles.Batches, and y x itself. rows: positions of the
        samples to train on, integers on the CPU, or None for all. before_step(step, loss) is called when the gradients
        of a step are there and the parameters have not moved yet; if it returns true, the training ends there.
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
                batch_loss = self._loss(self.model(batch), batch if y is x else y[drawn]).mean()
                batch_loss.backward()
                if before_step is not None and before_step(self.step, batch_loss):
                    break
                self._optimizer.step()
                self.step += 1
        return self.model


def fit(
    model: nn.Module, loss: Loss, samples: Samples, schedule: Schedule, seed: int, rows: torch.Tensor | None = None
) -> nn.Module:
    """Train a model, in place, and return it; arguments as for Training."""
    return Training(model, loss, schedule, seed).run(samples, rows)


def batches(n: int, batch_size: int, seed: int) -> Iterator[torch.Tensor]:
    """Yield the positions of one batch of n samples after the other, without end; every pass is in another order."""
    rng = torch.Generator().manual_seed(seed)
    if batch_size >= n:
        while True:
            yield torch.arange(n)
    # What an epoch leaves over begins the next one. A short batch, of one profile at worst, would weigh as much as a
    # whole one and spoil the model that ends on it.
    rows = torch.empty(0, dtype=torch.long)
    while True:
        if len(rows) < batch_size:
            rows = torch.cat([rows, torch.randperm(n, generator=rng)])
        yield rows[:batch_size]
        rows = rows[batch_size:]


@torch.no_grad()
def predict(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What a model in evaluation mode predicts for x; the model is back in its mode afterwards."""
    mode = model.training
    model.eval()
    found = torch.cat([model(chunk) for chunk in x.split(PREDICTION_CHUNK)])
    model.train(mode)
    return found


@torch.no_grad()
def r2(model: nn.Module, x: torch.Tensor) -> float:
    """R² of the reconstruction of x (n, genes), averaged uniformly over genes, in one pass.

    Sums are float64, taken about the first profile so that a large mean costs no digits.
    """
    model.eval()
    origin = x[:1].double()
    total = squares = residual = torch.zeros_like(origin[0])
    for chunk in x.split(PREDICTION_CHUNK):
        centred = chunk.double() - origin
        total = total + centred.sum(0)
        squares = squares + centred.square().sum(0)
        residual = residual + (chunk.double() - model(chunk).double()).square().sum(0)
    return explained(residual, squares - total.square() / len(x), squares).mean().item()


def explained(residual: torch.Tensor, variance: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
    """R² of each feature from sums over samples: of squared residuals, about the mean, and about a sample.

    One without variance counts 1 if it is predicted exactly and 0 if not, as in scikit-learn's r2_score.
    """
    constant = variance <= 1e-12 * squares
    return torch.where(constant, (residual == 0).double(), 1 - residual / variance)
