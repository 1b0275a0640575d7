import pytest
from conftest import ROOT

from dvgs.methods.registry import BASELINES, METHODS, OF_TASKS, label_of, row_of

ROOMS = ("__init__", "registry", "evidence", "task", "utility")


def test_every_method_has_a_row_and_a_file():
    files = {path.stem for path in (ROOT / "scripts/dvgs/methods").glob("*.py")} - {*ROOMS}
    assert files == set(METHODS) == {*BASELINES, *OF_TASKS}
    assert all(
        method.name == name and method.load().__module__ == f"dvgs.methods.{name}" for name, method in METHODS.items()
    )


def test_methods_of_a_compendium_train_nothing():
    assert BASELINES == ["random", "apc", "profile_norm", "reconstruction_error"]


@pytest.mark.parametrize(
    "name, label",
    [("dvgs", "DVGS"), ("dvgs_l2", "DVGS l2"), ("dvrl", "DVRL"), ("final_loss_long_run", "final loss long run"),
     ("random_walk", "random walk"), ("apc", "APC")],
)  # fmt: skip
def test_labels(name, label):
    assert label_of(name) == label


def test_variants_are_of_the_methods_that_may_have_some():
    assert row_of("dvgs_natural") is METHODS["dvgs"] and row_of("final_loss_10") is METHODS["final_loss"]
    assert row_of("random_2") is None and row_of("dvgsx") is None
