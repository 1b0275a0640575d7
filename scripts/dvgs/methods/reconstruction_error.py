"""Reconstruction error: what an outlier detector with an autoencoder would use (Hawkins et al. 2002, DaWaK).

    v_i = -‖x_i - f(x_i)‖² / genes, f trained on the target without x_i

Caveat: a short profile has a small error whatever it is, so this follows the profile norm.
"""

import numpy as np

from dvgs.methods.evidence import Evidence


def value(evidence: Evidence) -> np.ndarray:
    def errors():
        for rows, x in evidence.blocks():
            yield np.square(x.astype(np.float64) - evidence.reconstruct(rows, x)).mean(axis=1)

    return -np.concatenate(list(errors()))
