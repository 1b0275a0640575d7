"""Every random draw has a seed of its own, derived from the one in the config and from what is drawn."""

import hashlib

import numpy as np


def derive_seed(seed, *names):
    """A seed in [0, 2^63) for one draw, e.g. derive_seed(1, "split", "general").

    Draws with different names are independent, and adding a draw changes no other.
    """
    text = "\x1f".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def generator(seed, *names):
    """A numpy Generator for one draw."""
    return np.random.default_rng(derive_seed(seed, *names))
