"""KNN-Shapley: exact Shapley values of a K-nearest-neighbour classifier (Jia et al. 2019, arXiv 1908.08619).

For one target sample with the source sorted by distance, x_1 the nearest of n:

    s_n = 1[y_n = y] min(K, n) / (K n),   s_i = s_(i+1) + (1[y_i = y] - 1[y_(i+1) = y]) / K · min(K, i) / i

and v_i is the mean over the target. Cost: one sort for each target sample, no training. Caveats: it values samples for
a KNN classifier on these features, which is bad where Euclidean distance means little (raw pixels); classes only. The
order of equally near samples, common among one-hot features, depends on the rounding of distances.
"""

import numpy as np
import torch

from dvgs.errors import InputError
from dvgs.methods.task import Task
from dvgs.progress import Progress

TARGET_CHUNK = 128  # target samples at a time


def value(task: Task, *, k: int = 5) -> np.ndarray:
    """k: neighbours that vote."""
    if not task.n_classes:
        raise InputError("knn_shapley", "y", "the task has no classes", "leave knn_shapley out")
    (x, y), n = task.source, task.n
    position = torch.arange(1, n + 1, device=x.device, dtype=torch.float64)
    weight = position.clamp(max=k) / (k * position)
    checkpoint, n_target = task.checkpoint("knn_shapley", k), len(task.target[0])
    state = checkpoint.load() or {"done": 0, "total": torch.zeros(n, dtype=torch.float64)}
    total = state["total"].to(x.device)
    progress = Progress("KNN-Shapley, samples of the target", n_target - state["done"])
    for first in range(state["done"], n_target, TARGET_CHUNK):
        chunk, classes = (tensor[first : first + TARGET_CHUNK] for tensor in task.target)
        order = torch.cdist(chunk.flatten(1), x.flatten(1)).argsort(dim=1, stable=True)
        hit = (y[order] == classes[:, None]).double()
        steps = torch.cat([(hit[:, :-1] - hit[:, 1:]) * weight[:-1], hit[:, -1:] * weight[-1]], dim=1)
        shapley = steps.flip(1).cumsum(1).flip(1)
        total += torch.zeros_like(shapley).scatter_(1, order, shapley).sum(0)
        if checkpoint.due():
            checkpoint.save({"done": first + len(chunk), "total": total})
        progress.advance(len(chunk))
    return (total / n_target).cpu().numpy()
