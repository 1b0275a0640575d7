"""Gradient norm: how far a sample would move a model of the target (GraNd; Paul et al. 2021, arXiv 2107.07075).

    v_i = -‖∇_θ L(f_θ(x_i), y_i)‖,   θ after training on the target

They keep what has a large norm, for learning fast from clean data; among faults those have the largest norms, hence the
sign. The published score is of the first epochs and averaged over starts. The model is in evaluation mode.
"""

import numpy as np
import torch

from dvgs.gradients.engine import similarity
from dvgs.methods.task import Task
from dvgs.progress import Progress
from dvgs.training.fit import PREDICTION_CHUNK
from dvgs.training.schedule import Schedule


def value(task: Task, *, epochs: int = 100, batch_size: int = 500, learning_rate: float = 1e-3) -> np.ndarray:
    model = task.train_on_target(Schedule(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate))
    anything = [torch.zeros_like(p) for p in model.parameters()]
    progress, norms = Progress("gradient norms, samples", task.n), []
    for x, y in zip(*(part.split(PREDICTION_CHUNK) for part in task.source), strict=True):
        norms.append(similarity(model, task.loss, x, y, anything)["gradient_norm"])
        progress.advance(len(x))
    return -torch.cat(norms).double().cpu().numpy()
