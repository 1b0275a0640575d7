"""Experiments: some samples of the source get faults, and methods that do not know which must find them."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from dvgs.compendium.profiles import Profiles
from dvgs.errors import InputError
from dvgs.methods.registry import row_of
from dvgs.methods.task import Task
from dvgs.progress import logger
from dvgs.seeds import derive_seed, generator
from dvgs.statistics import share_below
from dvgs.studies.corruption import add_noise, corrupt_labels
from dvgs.training.fit import fit
from dvgs.training.models import make_autoencoder, make_classifier, make_conv_autoencoder, make_image_classifier
from dvgs.training.schedule import Schedule

DROPOUT = 0.5  # of the classifiers, as published


def draw(
    train: tuple,
    test: tuple | None,
    *,
    source: int,
    target: int,
    test_size: int | None,
    corruption: dict[str, float],
    scaling: str | None,
    task: str,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Draw one replicate of a study: source, target and test set, scaled, with faults in the source. A dict of arrays.

    train, test: pairs (x, y), y None without classes. The source is drawn from train; target and test set from test or,
    if test is None, from the rest of train. test_size: most samples in the test set, None for all. corruption: dict
    `labels`, the share of the source that gets another class, or `noise_sd`, the largest sd of noise on its features.
    scaling: "source" or "joint" scales every feature to [0, 1], by the source or by all three sets (as published, but
    then the scaling sees the test set); "ranks" replaces it by its rank in the source, from -1 to 1; None does not
    change x. task: "classify"; "reconstruct", with the noisy x as y, as published; "denoise", with the clean x as y.

    Keys: source_x, source_y, target_x, target_y, test_x, test_y; corrupted (n,) bool, noise_sd (n,); and n_classes.
    Raises InputError for too few samples, and if the target lacks a class.
    """
    parts = _split(train, test, source, target, test_size, rng)
    if scaling == "ranks":
        parts = _to_ranks(parts)
    elif scaling:
        parts = _scale(parts, joint=scaling == "joint")
    (x, y), clean = parts["source"], parts["source"][0]
    n_classes = 1 + int(max(part[1].max() for part in parts.values())) if task == "classify" else 0
    if task == "classify" and (absent := {*range(n_classes)} - {*parts["target"][1].tolist()}):
        problem = f"class {min(absent)} is absent among its {len(parts['target'][0])} samples"
        raise InputError("studies", "target", problem, "ask for more")
    corrupted, sd = np.zeros(len(x), bool), np.zeros(len(x))
    if "labels" in corruption:
        y, corrupted = corrupt_labels(y, n_classes, corruption["labels"], rng)
    else:
        x, sd = add_noise(x, corruption["noise_sd"], rng)
        corrupted = sd > corruption["noise_sd"] / 2  # the noisier half, because there is noise on all
    found = {f"{who}_x": part[0] for who, part in parts.items()}
    found |= {f"{who}_y": part[1] if task == "classify" else part[0] for who, part in parts.items()}
    found["source_y"] = {"classify": y, "reconstruct": x, "denoise": clean}[task]
    return found | {"source_x": x, "corrupted": corrupted, "noise_sd": sd, "n_classes": np.array(n_classes)}


def _split(train, test, source, target, test_size, rng):
    order = rng.permutation(len(train[0]))
    rows = {"source": (train, order[:source])}
    if test is None:
        left, whole = order[source:], train
    else:
        left, whole = rng.permutation(len(test[0])), test
    rows |= {"target": (whole, left[:target]), "test": (whole, left[target:][:test_size])}
    for who, n in (("source", source), ("target", target), ("test", 1)):
        if len(rows[who][1]) < n:
            problem = f"{len(train[0])} samples for the source, {len(left)} for target and test"
            raise InputError("studies", who, problem, "ask for fewer")
    return {who: tuple(None if part is None else part[own] for part in pair) for who, (pair, own) in rows.items()}


def _scale(parts, joint):
    """Scale features to [0, 1]; values outside the fitted range are clipped, and constant features are 0."""
    seen = np.concatenate([x for x, _ in parts.values()]) if joint else parts["source"][0]
    low, high = seen.min(axis=0), seen.max(axis=0)
    width = np.where(high > low, high - low, np.inf)
    return {who: (np.clip((x - low) / width, 0, 1).astype(np.float32), y) for who, (x, y) in parts.items()}


def _to_ranks(parts):
    """Replace features by ranks in the source, from -1 to 1, 0 on average: share of lower minus share of higher."""
    seen = parts["source"][0].reshape(len(parts["source"][0]), -1)

    def ranks(x):
        columns = zip(x.reshape(len(x), -1).T, seen.T, strict=True)
        return np.stack([2 * share_below(*both) - 1 for both in columns], axis=1).reshape(x.shape).astype(np.float32)

    return {who: (ranks(x), y) for who, (x, y) in parts.items()}


def make_task(
    drawn: Mapping[str, np.ndarray],
    *,
    hidden: list[int],
    latent: int | None = None,
    norm: bool = True,
    seed: int,
    device: torch.device,
    work: Path | None = None,
    most_hours: float = 24,
) -> Task:
    """The Task of one replicate: the published kind of model for its data.

    drawn: what `draw` gives. hidden, latent: widths of an autoencoder of vectors; latent None is a classifier. norm:
    whether a classifier has norms.
    """
    arrays = {name: torch.from_numpy(drawn[name]) for name in ("source_x", "source_y", "target_x", "target_y")}
    tensors = {name: array.to(device) for name, array in arrays.items()}
    n_classes, shape = int(drawn["n_classes"]), drawn["source_x"].shape[1:]

    def make_model(start):
        if n_classes:
            if len(shape) == 3:
                return make_image_classifier(hidden, n_classes, start, dropout=DROPOUT, norm=norm)
            return make_classifier(shape[0], hidden, n_classes, start, dropout=DROPOUT, norm=norm)
        if len(shape) == 3:
            return make_conv_autoencoder(start)
        assert latent is not None  # an autoencoder of vectors needs it
        return make_autoencoder(shape[0], hidden, latent, start)

    source, target = ((tensors[f"{who}_x"], tensors[f"{who}_y"]) for who in ("source", "target"))
    return Task(source, target, make_model, n_classes, seed, work, most_hours)


def value_task(task: Task, method: str, settings: dict[str, Any] | None) -> tuple[pd.DataFrame, float]:
    """Values of one method, a DataFrame `value, se`, and the seconds of the valuation alone.

    method: a name in the registry, or a variant of it with other settings, named with "_" and another word.
    """
    row = row_of(method)
    assert row is not None, method
    value = row.load()
    x, y = task.source
    once = Schedule(steps=1, batch_size=2, learning_rate=1e-3)
    fit(task.start(), task.loss, (x[:2], y[:2]), once, seed=0)  # torch warms up
    if task.source[0].is_cuda:
        torch.cuda.synchronize()
    started = time.perf_counter()
    found = value(task, **(settings or {}))
    seconds = time.perf_counter() - started
    if not isinstance(found, pd.DataFrame):
        found = pd.DataFrame({"value": found, "se": np.nan})
    return found, seconds


def seed_of(seed: int, study: str, replicate: int | str) -> int:
    """The seed of a replicate: every method in it sees the same split, faults and start."""
    return derive_seed(seed, "study", study, replicate)


def generator_of(seed: int, study: str, replicate: int | str) -> np.random.Generator:
    return generator(seed_of(seed, study, replicate), "draw")


def read_profiles(signatures: Path | str, apc: Path | str, min_apc: float) -> tuple:
    """The profiles of the compendium that have a high APC, as one set without classes."""
    rows = np.flatnonzero(pd.read_parquet(apc)["apc"].to_numpy() > min_apc)
    if len(rows) < 4:
        problem = f"only {len(rows)} profiles have an APC above {min_apc}"
        raise InputError(apc, "studies.min_apc", problem, "lower it")
    logger.info("%d profiles have an APC above %g", len(rows), min_apc)
    return (Profiles(signatures).rows(rows), None), None
