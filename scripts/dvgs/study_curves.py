"""Filter curves of a study: how good a model is after training on what each method keeps of the corrupted source."""

import pandas as pd

from dvgs.curves import DROPS, Trainings, keep_mask, n_steps
from dvgs.seeds import derive_seed

COLUMNS = ["method", "drop", "quantile", "n_train", "steps", "score"]


def trace_study(task, test, methods, *, quantiles, budget, epochs, batch_size, learning_rate):
    """The score on the test set after training on what is left of the source, one replicate.

    test: pair (x, y) as the task's target. methods: DataFrame of values, a column a method; samples without a value
    count as middling. All trainings start from the same weights and, where they keep equally many, see their samples
    in the same order, so methods differ in what they keep alone. Returns a DataFrame of COLUMNS.
    """
    trainings, rows = Trainings(), []
    for method in methods:
        value = methods[method].fillna(methods[method].median()).to_numpy()
        for drop in DROPS:
            for quantile in sorted({0.0, *quantiles}):
                mask = keep_mask(value, drop, quantile)
                n_train = int(mask.sum())
                steps = n_steps(budget, epochs, batch_size, n_train, task.n)
                rows.append(((method, drop, quantile, n_train, steps), trainings.add(steps, mask)))
    options = {"batch_size": batch_size, "learning_rate": learning_rate, "seed": derive_seed(task.seed, "curve")}
    trained = trainings.run(task.start, task.loss, *task.source, **options)
    scores = {key: task.score(model, *test) for key, model in trained}
    return pd.DataFrame([(*row, scores[key]) for row, key in rows], columns=COLUMNS)
