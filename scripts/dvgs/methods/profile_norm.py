"""Profile norm: the obvious rival, which needs no model.

    v_i = -‖x_i‖

Additive noise makes z-scored profiles longer, so a short profile counts as good. Caveat: a strong perturbation makes
them longer too, so on clean data this drops the strongest signatures first. Related to the strength of a signature,
which counts the genes with |z| of 2 or more (Subramanian et al. 2017, Cell 171).
"""

import numpy as np

from dvgs.methods.evidence import Evidence


def value(evidence: Evidence) -> np.ndarray:
    return -np.concatenate([np.linalg.norm(x.astype(np.float64), axis=1) for _, x in evidence.blocks()])
