"""The evidence: what a baseline may look at to value the profiles of a compendium; and all baselines at once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from dvgs.methods.registry import BASELINES, METHODS
from dvgs.training.fit import predict
from dvgs.valuation.trajectory import Trajectory


@dataclass
class Evidence:
    """What a baseline may look at.

    apc: (n,) float64, NaN where there is none. blocks() yields (positions, profiles) of all profiles, block by block;
    profiles are (k, genes) float32, scaled. reconstruct(positions, profiles): the profiles as models reconstruct them,
    each by a model that was not trained on it. rng: for this method alone.
    """

    apc: np.ndarray
    blocks: Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]
    reconstruct: Callable[[np.ndarray, np.ndarray], np.ndarray]
    rng: np.random.Generator

    @property
    def n(self) -> int:
        return len(self.apc)


def trained(path: Path | str) -> nn.Module:
    """The model at the end of a trajectory."""
    with Trajectory(path) as trajectory:
        trajectory.at(len(trajectory) - 1)
        return trajectory.model


def value(
    profiles: Any,
    apc: np.ndarray,
    models: list[tuple[np.ndarray, nn.Module]],
    rng_of: Callable[[str], np.random.Generator],
) -> pd.DataFrame:
    """The values of a compendium by all baselines: a DataFrame with a column for each baseline, a row for each profile.

    profiles: Profiles, scaled. apc: (n,) float64. models: pairs (positions, model); the model was not trained on the
    profiles at these positions, and every profile is in one pair. rng_of(name): a numpy Generator for one method.
    """

    def reconstruct(rows, x):
        found = np.empty_like(x)
        for own, model in models:
            inside = np.isin(rows, own)
            found[inside] = predict(model, torch.from_numpy(x[inside])).numpy()
        return found

    methods = {name: METHODS[name].load() for name in BASELINES}
    return pd.DataFrame(
        {name: method(Evidence(apc, profiles.blocks, reconstruct, rng_of(name))) for name, method in methods.items()}
    )
