"""Replicate agreement: the average Pearson correlation of a signature's replicates (arXiv 2405.08217).

    v_i = mean over pairs of replicates (j, k) of r(x_j, x_k)

Caveats: it does not exist for single replicates (44 % of LINCS level 5), it is noisy for two, and
replicates that share a plate or a mistake agree for the wrong reason.
"""

import numpy as np

from dvgs.methods.evidence import Evidence


def value(evidence: Evidence) -> np.ndarray:
    return evidence.apc
