"""Other ways to value profiles. One method a file; each gives one number per profile, more is better.

`METHODS` names them; a method is a function value(evidence) -> (n,) float64, NaN where it has no answer.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dvgs.baselines import apc, profile_norm, random, reconstruction_error


@dataclass
class Evidence:
    """What a baseline may look at.

    profiles: (n, genes) float32, scaled. apc: (n,) float64, NaN where there is none. reconstruct: gives the
    reconstruction of all profiles, each by a model that was not trained on it. rng: for this method alone.
    """

    profiles: np.ndarray
    apc: np.ndarray
    reconstruct: Callable[[], np.ndarray]
    rng: np.random.Generator


METHODS = {
    "random": random.value,
    "apc": apc.value,
    "profile_norm": profile_norm.value,
    "reconstruction_error": reconstruction_error.value,
}
