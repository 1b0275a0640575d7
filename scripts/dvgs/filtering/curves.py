"""Filter curves: how good a model is after the worst, or the best, profiles were dropped before its training."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from dvgs.progress import Progress
from dvgs.seeds import derive_seed
from dvgs.training.fit import Loss, Samples, r2
from dvgs.training.models import make_autoencoder, reconstruction_loss
from dvgs.training.schedule import Schedule
from dvgs.training.stacked import fit_together, group_size

CURVE_COLUMNS = ["profiles", "method", "drop", "quantile", "replicate", "n_train", "steps", "r2", "r2_validation"]
DROPS = ("low", "high")
STUDY_CURVE_COLUMNS = ["method", "drop", "quantile", "with_target", "n_train", "steps", "score"]


def keep_mask(value: np.ndarray, drop: str, quantile: float) -> np.ndarray:
    """Which profiles stay: value >= quantile(q) if low values are dropped, <= quantile(1 - q) if high values are."""
    if drop == "low":
        return value >= np.quantile(value, quantile)
    return value <= np.quantile(value, 1 - quantile)


@dataclass(frozen=True)
class CurveSettings:
    """How filter curves are traced.

    quantiles: shares to drop. schedule: of one training, in epochs. budget: with "equal_steps" every training has as
    many steps as one on all profiles; with "fixed_epochs" it goes over the remaining profiles for all epochs. The
    published curves have fixed epochs: a model on 5 % of the profiles gets a twentieth of the steps, so it is worse not
    only because of its data, but also because its training is shorter.
    """

    quantiles: list[float]
    schedule: Schedule
    budget: str = "equal_steps"

    @classmethod
    def from_config(cls, quantiles: list[float], **settings: Any) -> "CurveSettings":
        schedule, others = Schedule.split(settings)
        return cls(quantiles, schedule, **others)

    def n_steps(self, n_train: int, n_all: int) -> int:
        """Steps of a training on n_train of n_all profiles."""
        return self.schedule.n_steps(n_all if self.budget == "equal_steps" else n_train)


def curve_trainings(methods: pd.DataFrame, quantiles: list[float]) -> list[tuple[str, str, str, float]]:
    """The trainings of one curve replicate: (profiles, method, drop, quantile).

    Methods that have a value for every profile are compared on all profiles. Where some have none for some profiles
    (APC), all methods are also compared on the profiles for which every method has one.
    """
    complete = [name for name, value in methods.items() if not np.isnan(value).any()]
    populations = {"all": complete}
    if len(complete) < len(methods.columns) and methods.notna().all(axis=1).sum() >= 2:
        populations["with_apc"] = list(methods.columns)
    return [
        (profiles, method, drop, q)
        for profiles, names in populations.items()
        for method in names
        for drop in DROPS
        for q in quantiles
    ]


def trace_curve(
    sets: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    methods: pd.DataFrame,
    settings: CurveSettings,
    model: dict[str, Any],
    replicate: int,
    seed: int,
) -> pd.DataFrame:
    """R² on the test set after training on what each method keeps, one curve replicate.

    sets: source, validation and test, (n, genes) each. methods: values of the source, one column a method, n rows, NaN
    where a method has none. model: dict `hidden, latent`. All trainings of a replicate start from the same weights and,
    if they keep equally many, see their profiles in the same order, so methods differ only in what they keep.
    Returns a DataFrame of CURVE_COLUMNS.
    """
    x, x_validation, x_test = sets
    known = methods.notna().all(axis=1).to_numpy()
    trainings, rows = Trainings(), []
    for profiles, method, drop, quantile in curve_trainings(methods, settings.quantiles):
        candidates = known if profiles == "with_apc" else np.ones(len(x), bool)
        mask = candidates.copy()
        mask[candidates] = keep_mask(methods[method].to_numpy()[candidates], drop, quantile)
        n_train = int(mask.sum())
        steps = settings.n_steps(n_train, int(candidates.sum()))
        rows.append(((profiles, method, drop, quantile, replicate, n_train, steps), trainings.add(steps, mask)))

    def make():
        return make_autoencoder(x.shape[1], **model, seed=seed).to(x.device)

    trained = {
        key: (r2(network, x_test), r2(network, x_validation))
        for key, network in trainings.run(make, reconstruction_loss, (x, x), settings.schedule, seed)
    }
    return pd.DataFrame([(*row, *trained[key]) for row, key in rows], columns=CURVE_COLUMNS)


class Trainings:
    """The different trainings of filter curves: what they keep of the samples, and their steps."""

    def __init__(self):
        self._masks: dict[tuple[int, bytes], np.ndarray] = {}

    def add(self, steps: int, mask: np.ndarray) -> tuple[int, bytes]:
        """Add a training and return its key. Equal trainings have one key, e.g. all those that drop nothing."""
        key = steps, hashlib.sha256(mask.data).digest()
        self._masks[key] = mask
        return key

    def run(
        self, make: Callable[[], nn.Module], loss: Loss, samples: Samples, schedule: Schedule, seed: int
    ) -> Iterator[tuple[tuple[int, bytes], nn.Module]]:
        """Yield (key, model) of every training; several are trained together if that is faster.

        make(): the model from which all start. schedule: only its batches and learning rate count; a key has the steps.
        """
        progress = Progress("filter curves, models", len(self._masks))
        for group in self._of_one_length(
            schedule.batch_size, group_size(make(), schedule.batch_size, samples[0].device)
        ):
            rows = [np.flatnonzero(self._masks[key]) for key in group]
            models, own = [make() for _ in group], schedule.with_steps(group[0][0])
            yield from zip(group, fit_together(models, loss, samples, rows, own, [seed] * len(group)), strict=True)
            progress.advance(len(group))

    def _of_one_length(self, batch_size, size):
        """Groups of at most `size` keys; trainings of a group have equal steps and equally long batches."""
        same = defaultdict(list)
        for key, mask in self._masks.items():
            same[key[0], min(mask.sum(), batch_size)].append(key)
        return [keys[i : i + size] for keys in same.values() for i in range(0, len(keys), size)]


def trace_study(task: Any, test: Samples, methods: pd.DataFrame, settings: CurveSettings) -> pd.DataFrame:
    """The score on the test set after training on what each method keeps of the source, one replicate.

    task: a methods.task.Task. test: pair (x, y) as the task's target. methods: values, one column a method; samples
    without a value get the median. Every training is done without and with the target (`with_target`), because users
    who have a clean target may train on it too. The method "target" is the target alone, for every share. All trainings
    start from the same weights and, if they keep equally many, see their samples in the same order, so methods differ
    only in what they keep. Returns a DataFrame of STUDY_CURVE_COLUMNS.
    """
    values = {method: methods[method].fillna(methods[method].median()).to_numpy() for method in methods}
    trainings, rows = Trainings(), []
    for which in product([*values, "target"], DROPS, sorted({0.0, *settings.quantiles}), (False, True)):
        method, drop, quantile, with_target = which
        mask = np.zeros(task.n, bool) if method == "target" else keep_mask(values[method], drop, quantile)
        mask = np.append(mask, np.full(len(task.target[0]), with_target or method == "target"))
        n_train = int(mask.sum())
        steps = settings.n_steps(n_train, task.n)
        rows.append(((*which, n_train, steps), trainings.add(steps, mask)))
    x, y = (torch.cat(both) for both in zip(task.source, task.target, strict=True))
    trained = trainings.run(task.start, task.loss, (x, y), settings.schedule, derive_seed(task.seed, "curve"))
    scores = {key: task.score(model, *test) for key, model in trained}
    return pd.DataFrame([(*row, scores[key]) for row, key in rows], columns=STUDY_CURVE_COLUMNS)
