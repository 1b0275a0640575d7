"""Gradient norm: how far a sample would move a model of the target (GraNd; Paul et al. 2021, arXiv 2107.07075).

    v_i = -‖∇_θ L(f_θ(x_i), y_i)‖,   θ after training on the target

The authors keep samples with a large norm, to learn fast from clean data. Here the sign is negative, because faulty
samples have the largest norms. The published score is from the first epochs, averaged over starts; here it is from the
end of one training. The model is in evaluation mode.
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
    for x, y in zip(*(tensor.split(PREDICTION_CHUNK) for tensor in task.source), strict=True):
        norms.append(similarity(model, task.loss, x, y, anything)["gradient_norm"])
        progress.advance(len(x))
    return -torch.cat(norms).double().cpu().numpy()
