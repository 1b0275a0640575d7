"""Values of the samples for any PyTorch model: train it on the target, and score along the trajectory."""

import copy
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch import nn

from dvgs.columns import VALUE_COLUMNS
from dvgs.devices import PRECISIONS, fork_random, keep_freed_memory, pick_device
from dvgs.errors import InputError
from dvgs.gradients.engine import GradientSimilarity
from dvgs.gradients.factors import same_buffers
from dvgs.seeds import derive_seed
from dvgs.training.fit import Loss
from dvgs.training.schedule import Schedule
from dvgs.valuation.scoring import ScoreSettings, score
from dvgs.valuation.shards import Shard
from dvgs.valuation.trajectory import Trajectory, TrajectorySettings, record_trajectory
from dvgs.valuation.values import convergence

PILOT = 512  # source samples whose ranking decides when training may stop


def value(
    model: nn.Module,
    loss: Loss,
    source: tuple,
    target: tuple,
    *,
    epochs: int = 100,
    restarts: int = 1,
    lr: float = 1e-3,
    batch_size: int | None = None,
    every: int = 1,
    seed: int = 0,
    device: str = "auto",
    precision: str = "float32",
    grad_params: Sequence[str] | None = None,
    natural: bool = False,
    stable: float | None = None,
    work: Path | str | None = None,
) -> pd.DataFrame:
    """The value of every source sample for the task that the target defines (DVGS, arXiv 2405.08217).

    A copy of the model is trained on the target alone with Adam. A sample's value is the similarity of its gradient to
    the target's, averaged over the steps. The model stays in its mode: in training mode, dropout is active.

    model: any nn.Module without batch statistics.
    loss(prediction, y): one loss per sample, shape (n,).
    source, target: pairs (x, y) of tensors or arrays, a row per sample; floating numbers are converted to the model's
        dtype; y None means x (an autoencoder).
    epochs: passes over the target.
    restarts: trainings to average over: the first starts from the model's weights, the others from new random ones.
    lr: learning rate.
    batch_size: target samples in a step, by default all.
    every: steps from one comparison of gradients to the next.
    seed: of batches, dropout and restarts.
    device: "auto" (CUDA where there is one), "cpu" or "cuda".
    precision: "float32" (the model's own numbers), "tf32" or "bf16", for scoring.
    grad_params: names of the parameters to compare, by default all that are trainable.
    natural: compare with the natural gradient of the whole target instead of its batch's gradient
        (`dvgs.gradients.natural`); the compared parameters must belong to Linear layers. Each comparison costs a pass
        over the target. The length of a natural gradient means nothing, and `dot` and `l2` depend on it.
    stable: stop the training once the loss has settled and two sets of values have this Spearman correlation: over all
        steps so far, and over their first half.
    work: a folder where a killed run is found and continued; the caller removes it in the end. It holds parameters and
        gradients of every compared step; by default they go to a temporary folder.

    Returns a DataFrame with a row per source sample, in order, float64: `cosine` and its standard error `cosine_se`,
    `dot`, `projection`, `l2` (negative distance), `gradient_norm`, `loss`, all means over the steps. Its
    `attrs["convergence"]` shows how far the ranking depends on the steps (values.convergence).
    Raises InputError, a ValueError, for data that cannot be used.
    """
    on = pick_device(device)
    counts = {"epochs": epochs, "restarts": restarts, "every": every}
    _check_options(precision, stable, lr, **counts, batch_size=1 if batch_size is None else batch_size)
    keep_freed_memory()
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    source, target = _samples("source", source, dtype), _samples("target", target, dtype)
    _check_together(source, target)
    given, model = model, copy.deepcopy(model).to(on)
    x, y = (t.to(on) for t in target)
    with fork_random(on):  # raises at once if model, loss and data do not fit together
        GradientSimilarity(model, loss, grad_params)(x[:2], y[:2], [None] * len(list(model.parameters())))
        _refuse_parameters_of(given, model, loss, x[:2], y[:2])
    schedule = Schedule(epochs=epochs, batch_size=len(x) if batch_size is None else batch_size, learning_rate=lr)
    settings = TrajectorySettings(
        schedule=schedule,
        seed=seed,
        restarts=restarts,
        every=every,
        stable=stable,
        grad_params=grad_params,
        natural=natural,
    )
    with tempfile.TemporaryDirectory() if work is None else nullcontext(work) as folder:
        path = Path(folder) / "trajectory.h5"
        record_trajectory(path, model, loss, (x, y), settings, _pilot(source, seed, on) if stable else None)
        with Trajectory(path, model, on) as trajectory:
            table = score(
                trajectory,
                loss,
                lambda start, stop: _rows(source, slice(start, stop)),
                Shard.of(len(source[0])),
                ScoreSettings(precision=precision, grad_params=grad_params, seed=seed),
                work and Path(work) / "scored",
            )
    found = table[list(VALUE_COLUMNS)]
    found.attrs["convergence"] = convergence(table).to_dict("records")
    return found


def _refuse_parameters_of(given, model, loss, x, y):
    """Raise InputError if the loss of a copy depends on parameters of the given model, which is not trained."""
    own = {id(p) for p in given.parameters()}
    with torch.enable_grad(), same_buffers(model):
        losses = loss(model(x.clone()), y.clone())
    nodes, seen = [losses.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if id(getattr(node, "variable", None)) in own:
            problem = "it uses parameters of the model, of which a copy is trained, so their values would stand still"
            raise InputError("value", "loss", problem, "let the loss depend on the prediction and y alone")
        nodes += [following for following, _ in node.next_functions]


def _samples(name, pair, dtype):
    """A pair of checked tensors, floating numbers in the model's dtype; y is x itself for an autoencoder."""
    x, y = pair
    x = _tensor(x, dtype)
    y = x if y is None else _tensor(y, dtype)
    if len(x) != len(y):
        raise InputError(name, "y", f"{len(y)} rows for {len(x)} samples in x", "give one row of y for each sample")
    if len(x) == 0:
        raise InputError(name, "x", "there are no samples", "give at least one")
    for field, values in (("x", x), ("y", y)):
        bad = ~torch.isfinite(values).flatten(1).all(dim=1) if values.ndim > 1 else ~torch.isfinite(values)
        if bad.any():
            problem = f"{int(bad.sum())} of {len(x)} samples hold NaN or infinity, sample {int(bad.nonzero()[0])} first"
            raise InputError(name, field, problem, "leave them out or fill them in")
    return x, y


def _tensor(values, dtype):
    if not torch.is_tensor(values):
        values = torch.as_tensor(np.ascontiguousarray(values.toarray() if sparse.issparse(values) else values))
    tensor = values.detach()
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _check_together(source, target):
    if len(target[0]) < 2:
        raise InputError("target", "x", "one sample defines no task", "give at least two, better hundreds")
    for field, s, t in zip("xy", source, target, strict=True):
        if s.shape[1:] != t.shape[1:]:
            problem = f"samples have shape {tuple(s.shape[1:])}, those of the target {tuple(t.shape[1:])}"
            raise InputError("source", field, problem, "give both the same features in the same order")
        if s.dtype != t.dtype:
            raise InputError("source", field, f"{s.dtype}, but {t.dtype} in the target", "convert one of them")


def _check_options(precision, stable, lr, **counts):
    if precision not in PRECISIONS:
        raise InputError("value", "precision", f"{precision} is not known", f"choose one of {', '.join(PRECISIONS)}")
    for name, number in counts.items():
        if not isinstance(number, int | np.integer) or number < 1:
            raise InputError("value", name, f"{number} is not a count", "give a whole number of at least 1")
    if not lr > 0:
        raise InputError("value", "lr", f"{lr} is not a learning rate", "give a number above 0, 0.001 say")
    if stable is not None and not 0 < stable < 1:
        raise InputError("value", "stable", f"{stable} is not a correlation between 0 and 1", "0.99 is usual")


def _pilot(source, seed, device):
    rng = np.random.default_rng(derive_seed(seed, "pilot"))
    rows = np.sort(rng.choice(len(source[0]), min(PILOT, len(source[0])), replace=False))
    x, y = _rows(source, torch.from_numpy(rows))
    return x.to(device), y.to(device)


def _rows(pair, rows):
    x, y = pair
    found = x[rows]
    return found, found if y is x else y[rows]
