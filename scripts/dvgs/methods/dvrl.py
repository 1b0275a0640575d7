"""Data valuation by reinforcement learning (DVRL; Yoon, Arik and Pfister 2020, arXiv 1909.11671).

    v_i = h_φ(x_i, y_i, m_i),   φ ← φ + β (V(s) - δ) ∇_φ log π_φ(s),   s_i ~ Bernoulli(h_φ(x_i, y_i, m_i))

An estimator h gives the probability that a sample is selected. A predictor is trained on the selection s. The reward is
its score on the target V(s) minus δ, a moving average of earlier scores (REINFORCE). m is the error of a model that was
trained on the target alone: |one-hot(y) - predicted probabilities|, or the loss if there are no classes. A mean
probability outside [.1, .9] gets a penalty.

Caveats: one number rewards thousands of choices, so runs differ and the estimator may select all or hardly anything;
each of the outer iterations trains a predictor. As in the authors' program, it starts from the same weights each time.
There are two differences: the 100 inner iterations are steps, not passes over the selection, and if nothing is selected
the untrained predictor is scored.
Published settings: 2,000 outer iterations at 1e-2, 100 inner ones at 1e-3 in batches of 256.
"""

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dvgs.devices import seeded
from dvgs.methods.task import Task
from dvgs.methods.utility import check_hours
from dvgs.progress import Progress
from dvgs.seeds import derive_seed
from dvgs.training.fit import fit, make_optimizer, predict
from dvgs.training.schedule import Schedule

WINDOW = 20  # scores in the moving average, about
EXPLORED, PENALTY = 0.9, 1e3


class Estimator(nn.Module):
    """Probabilities (n,) of samples: a perceptron of x and y; m enters near its end."""

    def __init__(self, n_features: int, n_marginals: int):
        super().__init__()
        hidden, combined = 100, 10
        sizes = [n_features, hidden, hidden, hidden]
        layers = [module for a, b in pairwise(sizes) for module in (nn.Linear(a, b), nn.ReLU())]
        self.samples = nn.Sequential(*layers, nn.Linear(hidden, combined), nn.ReLU())
        self.together = nn.Sequential(nn.Linear(combined + n_marginals, combined), nn.ReLU(), nn.Linear(combined, 1))

    def forward(self, samples: torch.Tensor, marginals: torch.Tensor) -> torch.Tensor:
        return self.together(torch.cat([self.samples(samples), marginals], dim=1))[:, 0].sigmoid()


def value(
    task: Task,
    *,
    outer: int = 2000,
    inner: int = 100,
    outer_batch: int = 2000,
    batch_size: int = 256,
    learning_rate: float = 1e-2,
    inner_rate: float = 1e-3,
) -> np.ndarray:
    schedule = Schedule(steps=inner, batch_size=batch_size, learning_rate=inner_rate)
    checkpoint = task.checkpoint("dvrl", schedule, outer, outer_batch, learning_rate)
    state = checkpoint.load()
    check_hours(task, "dvrl", outer - (state["next"] if state else 0), schedule)
    samples, marginals = _describe(task, schedule)
    with seeded(derive_seed(task.seed, "estimator")):
        estimator = Estimator(samples.shape[1], marginals.shape[1]).to(task.device)
    optimizer = make_optimizer(estimator, learning_rate)
    if state:
        estimator.load_state_dict(state["estimator"])
        optimizer.load_state_dict(state["optimizer"])
        first, baseline = state["next"], state["baseline"]
    else:
        first, baseline = 0, _reward(task, torch.arange(task.n), schedule, "baseline")
    progress = Progress("DVRL, outer iterations", outer - first)
    for iteration in range(first, outer):
        draw = torch.Generator().manual_seed(derive_seed(task.seed, "dvrl", iteration))
        batch = torch.randperm(task.n, generator=draw)[:outer_batch]
        p = estimator(samples[batch], marginals[batch]).clamp(1e-6, 1 - 1e-6)
        chosen = torch.rand(len(batch), generator=draw) < p.detach().cpu()
        score = _reward(task, batch[chosen], schedule, iteration)
        log_likelihood = torch.where(chosen.to(task.device), p, 1 - p).log().sum()
        penalty = PENALTY * (F.relu(p.mean() - EXPLORED) + F.relu(1 - EXPLORED - p.mean()))
        optimizer.zero_grad()
        (penalty - (score - baseline) * log_likelihood).backward()
        optimizer.step()
        baseline += (score - baseline) / WINDOW
        if checkpoint.due():
            networks = {"estimator": estimator.state_dict(), "optimizer": optimizer.state_dict()}
            checkpoint.save({"next": iteration + 1, "baseline": baseline, **networks})
        progress.advance()
    with torch.no_grad():
        return estimator(samples, marginals).double().cpu().numpy()


def _reward(task, rows, schedule, name):
    """The score of a predictor trained on these rows, or of an untrained one if there are no rows."""
    model = task.start()
    if len(rows):
        fit(model, task.loss, task.source, schedule, derive_seed(task.seed, "dvrl", "fit", name), rows)
    return task.score(model, *task.target)


def _describe(task, schedule):
    """What the estimator sees of the source: x with one-hot y, and m."""
    x, y = task.source
    model = fit(task.start(), task.loss, task.target, schedule, derive_seed(task.seed, "dvrl", "target"))
    if not task.n_classes:
        return x.flatten(1), task.loss(predict(model, x), y)[:, None]
    classes = F.one_hot(y, task.n_classes).to(x.dtype)
    return torch.cat([x.flatten(1), classes], 1), (classes - predict(model, x).softmax(1)).abs()
