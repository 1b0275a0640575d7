"""What a baseline may look at to value the profiles of a compendium, which stay in their file."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from dvgs.compendium.profiles import Profiles
from dvgs.compendium.splits import valued_rows
from dvgs.methods.registry import METHODS
from dvgs.seeds import generator
from dvgs.training.fit import predict
from dvgs.valuation.trajectory import Trajectory


@dataclass
class Evidence:
    """What a baseline may look at.

    apc: (n,) float64, NaN where there is none. blocks() goes over the profiles, yielding (positions, profiles), the
    latter (k, genes) float32 and scaled. reconstruct(positions, profiles) is what models make of them, each by one
    that was not trained on it. rng: for this method alone.
    """

    apc: np.ndarray
    blocks: Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]
    reconstruct: Callable[[np.ndarray, np.ndarray], np.ndarray]
    rng: np.random.Generator

    @property
    def n(self):
        return len(self.apc)


def trained(path):
    """The model at the end of a trajectory."""
    with Trajectory(path) as trajectory:
        trajectory.at(len(trajectory) - 1)
        return trajectory.model


def value(target, signatures, apc, split, scaling, first, second, seed):
    """A DataFrame `profile_id` and a column for each of METHODS."""
    profiles = Profiles(signatures, scaling)
    models = [(valued_rows(split, draw), trained(path)) for draw, path in (("first", first), ("second", second))]

    def reconstruction(rows, x):
        found = np.empty_like(x)
        for own, model in models:
            inside = np.isin(rows, own)
            found[inside] = predict(model, torch.from_numpy(x[inside])).numpy()
        return found

    table = {"profile_id": split["profile_id"]}
    for name, method in METHODS.items():
        table[name] = method(Evidence(apc, profiles.blocks, reconstruction, generator(seed, "baseline", name, target)))
    return pd.DataFrame(table)
