"""Put known faults into clean data, to test whether a method finds them."""

import numpy as np

from dvgs.errors import InputError


def corrupt_labels(
    y: np.ndarray, n_classes: int, rate: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Give a share of the samples another class; all other classes are equally likely.

    y: (n,) int, classes from 0. rate: share in [0, 1]; exactly int(rate n) samples change. Returns the new y and (n,)
    bool, which samples changed. Raises InputError for an impossible rate and for labels that are not class numbers.
    """
    y = np.asarray(y)
    if not 0 <= rate <= 1:
        raise InputError("corruption", "rate", f"{rate} is no share", "give a number from 0 to 1")
    if y.ndim != 1 or y.dtype.kind not in "iu" or (len(y) and not 0 <= y.min() <= y.max() < n_classes):
        problem = f"the labels are no list of class numbers below {n_classes}"
        raise InputError("corruption", "y", problem, "number the classes from 0, one for each sample")
    if n_classes < 2 and rate > 0:
        raise InputError("corruption", "y", "there is no other class to give", "corrupt labels of two or more classes")
    chosen = rng.permutation(len(y))[: int(rate * len(y))]
    changed = np.zeros(len(y), bool)
    changed[chosen] = True
    new = y.copy()
    new[chosen] = (y[chosen] + rng.integers(1, n_classes, len(chosen))) % n_classes
    return new, changed


def add_noise(x: np.ndarray, largest_sd: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian noise on every sample, its standard deviation drawn for each from U[0, largest_sd].

    x: (n, ...) float32. Returns the noisy x, float32, and (n,) float64, the standard deviations.
    """
    if not 0 <= largest_sd < np.inf:
        raise InputError("corruption", "noise_sd", f"{largest_sd} is no standard deviation", "give 0 or more")
    sd = rng.uniform(0, largest_sd, len(x))
    scale = sd.reshape(-1, *[1] * (x.ndim - 1)).astype(np.float32)
    return x + scale * rng.standard_normal(x.shape, dtype=np.float32), sd
