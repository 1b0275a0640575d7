"""The methods: one row each, with everything that other wings need to know about them.

A method is a file of this wing with a function value(evidence) -> (n,) float64; higher is better, NaN is no value. Its
`evidence` depends on what the method needs:

- methods that need neither training nor classes take an Evidence: they value the profiles of a compendium, which stay
  in their file;
- methods that need no replicates take a Task, and settings by name: they value samples in memory. A Task also has the
  methods of an Evidence, so random, profile norm and reconstruction error take both.

Nothing is imported before a method is loaded: rule files read this table, and torch takes seconds.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """A row of the table.

    name: of the file, and in configs and tables. label: for people. colour: in every picture; with None it gets the
    next free colour. needs: some of "profiles", "replicates" (APC), "training" (models, of samples in memory),
    "classes" and "target". variants: whether a study may use it several times, as `name_` and another word.
    """

    name: str
    label: str
    colour: str | None = None
    needs: frozenset[str] = frozenset()
    variants: bool = False

    def load(self) -> Callable:
        """The function that values."""
        return importlib.import_module(f"dvgs.methods.{self.name}").value


def _method(name: str, label: str, *needs: str, colour: str | None = None, variants: bool = False) -> Method:
    return Method(name, label, colour, frozenset(needs), variants)


# Colours of Okabe and Ito: colour-blind readers can tell them apart.
METHODS = {
    method.name: method
    for method in (
        _method("dvgs", "DVGS", "profiles", "training", "target", colour="#0072B2", variants=True),
        _method("random", "random", colour="#7A7A7A"),
        _method("apc", "APC", "replicates", colour="#D55E00"),
        _method("profile_norm", "profile norm", "profiles", colour="#009E73"),
        _method("reconstruction_error", "reconstruction error", "profiles", "target", colour="#CC79A7"),
        _method("leave_one_out", "leave-one-out", "profiles", "training", "target"),
        _method("data_shapley", "Data Shapley", "profiles", "training", "target"),
        _method("dvrl", "DVRL", "profiles", "training", "target"),
        _method("knn_shapley", "KNN-Shapley", "profiles", "classes", "target"),
        _method("data_oob", "Data-OOB", "profiles", "classes"),
        _method("final_loss", "final loss", "profiles", "training", "target", variants=True),
        _method("gradient_norm", "gradient norm", "profiles", "training", "target"),
    )
}
# BASELINES value every compendium, besides DVGS; studies may use OF_TASKS.
BASELINES = [name for name, method in METHODS.items() if not method.needs & {"training", "classes"}]
OF_TASKS = [name for name, method in METHODS.items() if "replicates" not in method.needs]


def row_of(name: str) -> Method | None:
    """The row of a method or, for a variant, of its method; None if there is no such method."""
    variants = (method for method in METHODS.values() if method.variants and name.startswith(f"{method.name}_"))
    return METHODS.get(name) or next(variants, None)


def label_of(name: str) -> str:
    """The name of a method for readers: "DVGS l2" for `dvgs_l2`, "profile norm" for `profile_norm`."""
    row = row_of(name)
    return (row.label + name.removeprefix(row.name) if row else name).replace("_", " ")
