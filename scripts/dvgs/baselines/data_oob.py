"""Data-OOB: how often trees that have not seen a sample predict its class (Kwon and Zou 2023, arXiv 2304.07718).

    v_i = mean over trees b whose bootstrap sample lacks i of  1[f_b(x_i) = y_i]

The trees are a random forest's. Caveats: the target has no say, so what is common counts as good; classes only. NaN
where every tree has seen a sample.
"""

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier

from dvgs.errors import InputError
from dvgs.jobs import Progress
from dvgs.seeds import derive_seed

PIECE = 50  # trees from one word of progress to the next


def value(task, *, trees=800):
    if not task.n_classes:
        raise InputError("data_oob", "y", "the task has no classes", "leave data_oob out")
    x, y = task.source[0].flatten(1).cpu().numpy(), task.source[1].cpu().numpy()
    seed, jobs = derive_seed(task.seed, "forest") % 2**32, torch.get_num_threads()
    forest = RandomForestClassifier(0, random_state=seed, warm_start=True, n_jobs=jobs)
    progress = Progress("Data-OOB, trees", trees)
    for first in range(0, trees, PIECE):  # the same trees as in one piece
        forest.set_params(n_estimators=min(first + PIECE, trees)).fit(x, y)
        progress.advance(forest.n_estimators - first)
    hits, unseen = np.zeros(task.n), np.zeros(task.n)
    for tree, drawn in zip(forest.estimators_, forest.estimators_samples_, strict=True):
        out = np.ones(task.n, bool)
        out[drawn] = False
        if out.any():
            hits[out] += forest.classes_[tree.predict(x[out]).astype(int)] == y[out]
            unseen += out
    return np.divide(hits, unseen, out=np.full(task.n, np.nan), where=unseen > 0)
