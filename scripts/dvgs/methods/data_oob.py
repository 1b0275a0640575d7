"""Data-OOB: how often trees that have not seen a sample predict its class (Kwon and Zou 2023, arXiv 2304.07718).

    v_i = mean over trees b whose bootstrap sample lacks i of  1[f_b(x_i) = y_i]

The trees are a random forest's. Caveats: the target is not used, so common samples count as good; classes only. NaN
if every tree has seen a sample.
"""

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier

from dvgs.errors import InputError
from dvgs.methods.task import Task
from dvgs.progress import Progress
from dvgs.seeds import derive_seed

TREE_CHUNK = 50  # trees between two reports of progress


def value(task: Task, *, trees: int = 800) -> np.ndarray:
    if not task.n_classes:
        raise InputError("data_oob", "y", "the task has no classes", "leave data_oob out")
    x, y = task.source[0].flatten(1).cpu().numpy(), task.source[1].cpu().numpy()
    checkpoint = task.checkpoint("data_oob", trees)
    state = checkpoint.load() or {"done": 0, "counts": torch.zeros(2, task.n, dtype=torch.float64)}
    hits, unseen = counts = state["counts"].numpy()
    draws = np.random.RandomState(derive_seed(task.seed, "forest") % 2**32)
    draws.randint(np.iinfo(np.int32).max, size=state["done"])  # skip one random number for each finished tree
    progress = Progress("Data-OOB, trees", trees - state["done"])
    for first in range(state["done"], trees, TREE_CHUNK):  # the same trees as in a single forest
        n = min(TREE_CHUNK, trees - first)
        forest = RandomForestClassifier(n, random_state=draws, n_jobs=torch.get_num_threads()).fit(x, y)
        for tree, drawn in zip(forest.estimators_, forest.estimators_samples_, strict=True):
            out = np.ones(task.n, bool)
            out[drawn] = False
            if out.any():
                hits[out] += forest.classes_[tree.predict(x[out]).astype(int)] == y[out]
                unseen += out
        if checkpoint.due():
            checkpoint.save({"done": first + n, "counts": torch.from_numpy(counts)})
        progress.advance(n)
    return np.divide(hits, unseen, out=np.full(task.n, np.nan), where=unseen > 0)
