"""Small tasks for tests."""

import numpy as np
import torch

from dvgs.methods.task import Task
from dvgs.training.models import make_autoencoder, make_classifier


def blobs(rng, n=40, n_target=30, n_classes=2, wrong=0, hidden=(6,), dropout=0.3, **options):
    """Clouds of four numbers, one for each class; the first `wrong` of the source have another class."""

    def cloud(size):
        y = np.arange(size) % max(n_classes, 1)
        x = (rng.normal(size=(size, 4)) + 2 * np.eye(4)[y]).astype(np.float32)
        return torch.from_numpy(x), torch.from_numpy(y)

    source, target = cloud(n), cloud(n_target)
    if n_classes == 0:
        source, target = (source[0], source[0]), (target[0], target[0])
        return Task(source, target, lambda seed: make_autoencoder(4, [5], 2, seed), 0, 1, **options)
    source[1][:wrong] = (source[1][:wrong] + 1) % n_classes

    def make_model(seed):
        return make_classifier(4, hidden, n_classes, seed, dropout=dropout, norm=True)

    return Task(source, target, make_model, n_classes, 1, **options)
