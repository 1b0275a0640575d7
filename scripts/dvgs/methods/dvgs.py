"""DVGS of the samples of a Task."""

from typing import Any

import numpy as np
import pandas as pd
import torch

from dvgs.methods.task import Task, balanced
from dvgs.seeds import derive_seed
from dvgs.valuation.api import value as value_by_gradients


def value(
    task: Task,
    *,
    epochs: int = 100,
    restarts: int = 3,
    batch_size: int = 500,
    learning_rate: float = 1e-3,
    class_balance: bool = True,
    similarity: str = "cosine",
    natural: bool = False,
    layers: int | None = None,
) -> pd.DataFrame:
    """DataFrame `value, se`; se is NaN except for the cosine.

    class_balance: whether all classes of the target have the same weight; classes of the source are never weighted.
    similarity: a column of the table of dvgs.value; "loss" is the mean loss over the same steps, where lower is better.
    natural: as for dvgs.value. layers: how many of the last layers with parameters are compared, None for all.
    """
    table = value_by_similarities(
        task,
        class_balance,
        batch_size=batch_size,
        epochs=epochs,
        restarts=restarts,
        lr=learning_rate,
        natural=natural,
        grad_params=_last_parameters(task.start(), layers) if layers else None,
    )
    chosen = -table["loss"] if similarity == "loss" else table[similarity]
    return pd.DataFrame({"value": chosen, "se": table["cosine_se"] if similarity == "cosine" else np.nan})


def _last_parameters(model, layers):
    """Names of the parameters of the last layers that have any."""
    own = [[p for p, _ in m.named_parameters(name, recurse=False)] for name, m in model.named_modules()]
    return [p for parameters in [names for names in own if names][-layers:] for p in parameters]


def value_by_similarities(task: Task, class_balance: bool, *, batch_size: int, **training: Any) -> pd.DataFrame:
    """The table of `dvgs.value`, with all similarities. batch_size, training: its arguments."""
    (x, y), (target_x, target_y) = task.source, task.target
    if task.n_classes:
        y = torch.nn.functional.one_hot(y, task.n_classes).to(x.dtype)
        classes = torch.nn.functional.one_hot(target_y, task.n_classes).to(x.dtype)
        target_y = balanced(target_y, task.n_classes) if class_balance else classes
    return value_by_gradients(
        task.start(),
        task.loss,
        (x, y),
        (target_x, target_y),
        batch_size=min(batch_size, len(target_x)),
        seed=derive_seed(task.seed, "dvgs"),
        device=task.device.type,
        work=task.work,
        **training,
    )
