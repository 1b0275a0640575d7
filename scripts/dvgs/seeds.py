"""Every random draw has its own seed, derived from the seed in the config and from the name of the draw."""

import hashlib

import numpy as np


def derive_seed(seed: int, *names: object) -> int:
    """A seed in [0, 2^63) for one draw, e.g. derive_seed(1, "split", "general").

    Draws with different names are independent. A new draw changes none of the others.
    """
    text = "\x1f".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def generator(seed: int, *names: object) -> np.random.Generator:
    """A numpy Generator for one draw."""
    return np.random.default_rng(derive_seed(seed, *names))
