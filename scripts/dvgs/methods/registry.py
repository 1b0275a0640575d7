"""Other ways to value profiles. One method a file; each gives one number per profile, more is better.

A method is a function value(evidence) -> (n,) float64, NaN where it has no answer. `METHODS` names those for the
profiles of a compendium, whose evidence is read from files. `studies.experiment.METHODS` names those for the samples of
a `task.Task`, which is in memory and can be trained on; random, profile_norm and reconstruction_error take both.
"""

from dvgs.methods import apc, profile_norm, random, reconstruction_error

METHODS = {
    "random": random.value,
    "apc": apc.value,
    "profile_norm": profile_norm.value,
    "reconstruction_error": reconstruction_error.value,
}
