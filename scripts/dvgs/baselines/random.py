"""Random values: the control that every curve is read against.

    v_i ~ U[0, 1)

Whatever beats it has found something; whatever does not is an expensive way to draw lots.
"""


def value(evidence):
    return evidence.rng.random(evidence.n)
