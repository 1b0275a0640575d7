"""Data Shapley by truncated Monte Carlo (Ghorbani and Zou 2019, arXiv 1904.02868).

    v_i = mean over permutations π of  V(those before i in π, and i) - V(those before i in π)

V(S) is the score on the target of a model trained on S; for the empty S, of the untrained model. Once V stays within a
tolerance of V(N) for more than `patience` samples, all later samples of the permutation get 0.

The standard error is that of the mean over permutations. Caveats: up to as many trainings for each permutation as
there are samples; the truncation is a bias that the standard error does not see; all trainings share one start, so
values are for that start only; V(N) is trained with one order of the samples, each permutation ends with another one.

Published settings: 200 full-batch steps of Adam at 1e-4, tolerance 3 % of V(N), patience 5, 200 to 1,000 permutations,
ended when the last five Spearman correlations of consecutive running means average more than .999.

Several permutations go through their positions side by side, so that coalitions of one size are trained together. The
stopping rule looks at permutations in their order, so values do not depend on how many go side by side.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata

from dvgs.methods.task import Task
from dvgs.methods.utility import at_once, check_hours, utilities
from dvgs.progress import Progress, logger
from dvgs.seeds import generator
from dvgs.training.schedule import Schedule

WINDOW = 5  # correlations that the stopping rule averages


def value(
    task: Task,
    *,
    steps: int = 200,
    learning_rate: float = 1e-4,
    tolerance: float = 0.03,
    patience: int = 5,
    least: int = 200,
    most: int = 1000,
    converged: float = 0.999,
    size: int | None = None,
) -> pd.DataFrame:
    """DataFrame `value, se`. size: permutations side by side, by default as many as are fast here."""
    size = size or at_once(task, max(task.n // 2, 1))
    schedule = Schedule(steps=steps, batch_size=task.n, learning_rate=learning_rate)
    checkpoint = task.checkpoint("data_shapley", schedule, tolerance, patience, size)
    state = checkpoint.load() or {"done": torch.empty(0, task.n, dtype=torch.float64), "round": None}
    contributions = state["done"][:most].numpy()
    left = max(min(least, most) - len(contributions), 0) * task.n
    half = max(task.n // 2, 1)  # samples in a coalition, on average
    check_hours(task, "data_shapley", left, replace(schedule, batch_size=half), size)
    if most > least:
        logger.info("data_shapley: up to %.2g times as long if values settle late", most / least)
    x, y = task.target
    nothing = task.score(task.start(), x, y)
    everything = utilities(task, [np.arange(task.n)], schedule)[0]
    progress = Progress("Data Shapley, trainings at most", (most - len(contributions)) * task.n)
    while (count := n_needed(contributions, least, converged)) is None and len(contributions) < most:
        first = len(contributions)
        last = min(first + size, least if first < least < most else most)  # more than `least` may not be needed
        permutations = [generator(task.seed, "permutation", k).permutation(task.n) for k in range(first, last)]
        begun = state["round"] if state["round"] and len(state["round"]["before"]) == len(permutations) else None
        walk = _Walk(permutations, nothing, begun)
        while walk.active:
            coalitions = walk.coalitions()
            walk.go(utilities(task, coalitions, schedule), everything, tolerance, patience)
            ended = len(coalitions) - len(walk.active)
            progress.skip(ended * (task.n - len(coalitions[0])))
            progress.advance(len(coalitions))
            if checkpoint.due():
                checkpoint.save({"done": torch.from_numpy(contributions), "round": walk.state()})
        contributions, state["round"] = np.concatenate([contributions, walk.contributions]), None
    counted = contributions[:count]
    logger.info("Data Shapley: %d permutations", len(counted))
    error = counted.std(0, ddof=1) / np.sqrt(len(counted)) if len(counted) > 1 else np.full(task.n, np.nan)
    return pd.DataFrame({"value": counted.mean(0), "se": error})


class _Walk:
    """Permutations that go from position to position side by side."""

    def __init__(self, permutations, nothing, state):
        self.permutations = permutations
        self.contributions = np.zeros((len(permutations), len(permutations[0])))
        self._position, self._before, self._near = 0, [nothing] * len(permutations), [0] * len(permutations)
        self.active = list(range(len(permutations)))
        if state:
            self.contributions = state["contributions"].numpy()
            self._position, self._before, self._near = state["position"], state["before"], state["near"]
            self.active = state["active"]

    def state(self):
        state = {"contributions": torch.from_numpy(self.contributions), "position": self._position}
        return state | {"before": self._before, "near": self._near, "active": self.active}

    def coalitions(self):
        return [self.permutations[k][: self._position + 1] for k in self.active]

    def go(self, scores, everything, tolerance, patience):
        for k, score in zip(self.active, scores, strict=True):
            self.contributions[k, self.permutations[k][self._position]] = score - self._before[k]
            self._before[k] = score
            self._near[k] = self._near[k] + 1 if abs(everything - score) < tolerance * abs(everything) else 0
        self._position += 1
        self.active = [k for k in self.active if self._near[k] <= patience]
        if self._position == self.contributions.shape[1]:
            self.active = []


def n_needed(contributions: np.ndarray, least: int, converged: float) -> int | None:
    """After how many permutations the stopping rule is met; None if not yet."""
    n = len(contributions)
    if n < max(least, WINDOW + 1):
        return None
    means = np.cumsum(contributions, axis=0) / np.arange(1, n + 1)[:, None]
    ranks = rankdata(means, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    ranks /= np.maximum(np.linalg.norm(ranks, axis=1, keepdims=True), 1e-300)
    agreement = (ranks[1:] * ranks[:-1]).sum(axis=1)
    recent = np.convolve(agreement, np.ones(WINDOW) / WINDOW, "valid")  # recent[k] needs k + WINDOW + 1 permutations
    met = np.flatnonzero(recent > converged) + WINDOW + 1
    met = met[met >= least]
    return int(met[0]) if len(met) else None
