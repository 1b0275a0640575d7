"""Random values: the control that every curve is read against.

    v_i ~ U[0, 1)

Whatever beats it has found something; whatever does not is an expensive way to draw lots. Caveat: in a single draw some
methods beat it by chance, so it is drawn anew in every replicate. The control of Ghorbani and Zou 2019
(arXiv 1904.02868) and of those who followed.
"""


def value(evidence):
    return evidence.rng.random(evidence.n)
