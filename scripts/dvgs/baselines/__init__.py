"""Other ways to value profiles. One method a file; each gives one number per profile, more is better.

A method is a function value(evidence) -> (n,) float64, NaN where it has no answer. `METHODS` names those for the
profiles of a compendium, whose evidence is read from files. `studies.METHODS` names those for the samples of a
`tasks.Task`, which is in memory and can be trained on; random, profile_norm and reconstruction_error take both.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from dvgs.baselines import apc, profile_norm, random, reconstruction_error


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


METHODS = {
    "random": random.value,
    "apc": apc.value,
    "profile_norm": profile_norm.value,
    "reconstruction_error": reconstruction_error.value,
}
