"""Filter curves of a study: how good a model is after training on what each method keeps of the corrupted source."""

import hashlib

import numpy as np
import pandas as pd

from dvgs.curves import DROPS, _alike, keep_mask, n_steps
from dvgs.jobs import Progress
from dvgs.seeds import derive_seed
from dvgs.together import fit_together, group_size

COLUMNS = ["method", "drop", "quantile", "n_train", "steps", "score"]


def trace_study(task, test, methods, *, quantiles, budget, epochs, batch_size, learning_rate):
    """The score on the test set after training on what is left of the source, one replicate.

    test: pair (x, y) as the task's target. methods: DataFrame of values, a column a method; samples without a value
    count as middling. All trainings start from the same weights and, where they keep equally many, see their samples
    in the same order, so methods differ in what they keep alone. Returns a DataFrame of COLUMNS.
    """
    masks, rows = {}, []
    for method in methods:
        value = methods[method].fillna(methods[method].median()).to_numpy()
        for drop in DROPS:
            for quantile in sorted({0.0, *quantiles}):
                mask = keep_mask(value, drop, quantile)
                n_train = int(mask.sum())
                steps = n_steps(budget, epochs, batch_size, n_train, task.n)
                key = steps, hashlib.sha256(mask).digest()  # nothing dropped is the same training for every method
                masks[key] = mask
                rows.append(((method, drop, quantile, n_train, steps), key))
    scores, progress = {}, Progress("filter curves, models", len(masks))
    training = {"batch_size": batch_size, "learning_rate": learning_rate}
    for group in _alike(masks, batch_size, group_size(task.start(), batch_size, task.device)):
        models = fit_together(
            [task.start() for _ in group],
            task.loss,
            *task.source,
            [np.flatnonzero(masks[key]) for key in group],
            steps=group[0][0],
            **training,
            seeds=[derive_seed(task.seed, "curve")] * len(group),
        )
        scores |= {key: task.score(model, *test) for key, model in zip(group, models, strict=True)}
        progress.advance(len(group))
    return pd.DataFrame([(*row, scores[key]) for row, key in rows], columns=COLUMNS)
