"""Filter curves of a study: how good a model is after training on what each method keeps of the corrupted source."""

from itertools import product

import numpy as np
import pandas as pd
import torch

from dvgs.curves import DROPS, Trainings, keep_mask, n_steps
from dvgs.seeds import derive_seed

COLUMNS = ["method", "drop", "quantile", "with_target", "n_train", "steps", "score"]


def trace_study(task, test, methods, *, quantiles, budget, epochs, batch_size, learning_rate):
    """The score on the test set after training on what is left of the source, one replicate.

    test: pair (x, y) as the task's target. methods: DataFrame of values, a column a method; samples without a value
    count as middling. Every training is there without and with the target (`with_target`), for who has a clean target
    may train on it as well; the method "target" is the target alone, whatever the share. All trainings start from the
    same weights and, where they keep equally many, see their samples in the same order, so methods differ in what they
    keep alone. Returns a DataFrame of COLUMNS.
    """
    values = {method: methods[method].fillna(methods[method].median()).to_numpy() for method in methods}
    trainings, rows = Trainings(), []
    for which in product([*values, "target"], DROPS, sorted({0.0, *quantiles}), (False, True)):
        method, drop, quantile, with_target = which
        mask = np.zeros(task.n, bool) if method == "target" else keep_mask(values[method], drop, quantile)
        mask = np.append(mask, np.full(len(task.target[0]), with_target or method == "target"))
        n_train = int(mask.sum())
        steps = n_steps(budget, epochs, batch_size, n_train, task.n)
        rows.append(((*which, n_train, steps), trainings.add(steps, mask)))
    x, y = (torch.cat(parts) for parts in zip(task.source, task.target, strict=True))
    options = {"batch_size": batch_size, "learning_rate": learning_rate, "seed": derive_seed(task.seed, "curve")}
    trained = trainings.run(task.start, task.loss, x, y, **options)
    scores = {key: task.score(model, *test) for key, model in trained}
    return pd.DataFrame([(*row, scores[key]) for row, key in rows], columns=COLUMNS)
