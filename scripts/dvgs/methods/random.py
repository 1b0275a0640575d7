"""Random values: the control that every curve is read against.

    v_i ~ U[0, 1)

What beats it has found something; what does not is an expensive way to draw random numbers. Caveat: in a single draw
some methods beat it by chance, so it is drawn again in every replicate. The control of Ghorbani and Zou 2019
(arXiv 1904.02868) and of later papers.
"""

import numpy as np

from dvgs.methods.evidence import Evidence


def value(evidence: Evidence) -> np.ndarray:
    return evidence.rng.random(evidence.n)
