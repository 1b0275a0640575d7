"""Loss at the end of training: what models of the target make of a sample (see Arpit et al. 2017, arXiv 1706.05394).

    v_i = -mean over starts of L(f_θ(x_i), y_i),   θ after training on the target

The first method to try on wrong labels; every other method has to beat it. Caveat: hard samples have a large loss as
well, and for autoencoders it follows the norm of x. The models are in evaluation mode.
"""

import numpy as np
import torch

from dvgs.methods.task import Task
from dvgs.training.fit import predict
from dvgs.training.schedule import Schedule


def value(
    task: Task,
    *,
    epochs: int = 100,
    restarts: int = 3,
    batch_size: int = 500,
    learning_rate: float = 1e-3,
    class_balance: bool = False,
) -> np.ndarray:
    """class_balance: whether all classes of the target have the same weight in the training, as for DVGS."""
    schedule = Schedule(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    (x, y), total = task.source, torch.zeros(task.n, dtype=torch.float64, device=task.device)
    for restart in range(restarts):
        model = task.train_on_target(schedule, restart, class_balance)
        total += task.loss(predict(model, x), y).double()
    return -(total / restarts).cpu().numpy()
