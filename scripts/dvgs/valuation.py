"""Values: the similarity of each profile's gradient to the target's, averaged along a trajectory (DVGS).

v_i = mean over θ of sim(∇L(f_θ(x_i)), ∇L(f_θ(target)))        (arXiv 2405.08217)
"""

import numpy as np
import pandas as pd
import torch

from dvgs.gradients import similarity
from dvgs.jobs import Progress
from dvgs.models import reconstruction_loss
from dvgs.values import MEASURES

CHUNK = 512  # profiles scored together; their activations stay in cache
WINDOW = 16  # chunks held in memory, over which one reading of the trajectory is shared


def plan_shard(n, shard, n_shards):
    """The rows [start, stop) of n that belong to one shard.

    Shards end where chunks end: a matrix product of other rows may round differently, so a profile must
    meet the same chunk however many shards there are. Then any number of shards gives the same bytes.
    """
    n_chunks = -(-n // CHUNK)
    first, last = shard * n_chunks // n_shards, (shard + 1) * n_chunks // n_shards
    return min(first * CHUNK, n), min(last * CHUNK, n)


def score(trajectory, read, n, loss=reconstruction_loss, device="cpu"):
    """Values of n profiles along a trajectory.

    trajectory: an open Trajectory. read(start, stop): those profiles, (stop - start, genes) float32.
    Memory: one window of profiles and their similarities at every step, whatever n.
    Returns a DataFrame of MEASURES, the means over all steps, and `cosine_se`, float64, one row per profile.
    """
    size = CHUNK * WINDOW
    progress = Progress("scoring, steps x windows", -(-n // size) * len(trajectory))
    windows = []
    for start in range(0, n, size):
        x = torch.from_numpy(np.ascontiguousarray(read(start, min(start + size, n)))).to(device)
        steps = np.empty((len(MEASURES), len(trajectory), len(x)), np.float32)
        for t in range(len(trajectory)):
            target_gradient = trajectory.at(t)
            found = [similarity(trajectory.model, loss, c, c, target_gradient) for c in x.split(CHUNK)]
            for k, name in enumerate(MEASURES):
                steps[k, t] = torch.cat([f[name] for f in found]).cpu().numpy()
            progress.advance()
        window = dict(zip(MEASURES, steps.mean(axis=1, dtype=np.float64), strict=True))
        windows.append(pd.DataFrame(window | {"cosine_se": standard_error(steps[0])}))
    if not windows:
        return pd.DataFrame(columns=[*MEASURES, "cosine_se"], dtype=float)
    return pd.concat(windows, ignore_index=True)


def standard_error(steps):
    """Standard error of the mean over steps (axis 0) of a correlated series, by batch means.

    steps: (T, n). Neighbouring steps are nearly the same model, so their similarities are no
    independent draws; √T batches of consecutive steps nearly are. NaN for fewer than four steps.
    """
    n_batches = int(np.sqrt(len(steps)))
    if n_batches < 2:
        return np.full(steps.shape[1], np.nan)
    length = len(steps) // n_batches
    rest = len(steps) - length * n_batches  # the first, fastest steps are left out when T is no multiple
    batches = steps[rest:].reshape(n_batches, length, -1).mean(axis=1, dtype=np.float64)
    return batches.std(axis=0, ddof=1) / np.sqrt(n_batches)
