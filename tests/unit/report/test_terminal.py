from dataclasses import replace

import pytest

from dvgs.report.terminal import LINES, summarise
from unit.report.result_examples import make_results, with_target, without_apc


@pytest.fixture
def found(rng):
    return make_results(rng)


def test_summary(found):
    assert summarise(found) == [
        "demo: 125 profiles in, 5 left out, 120 valued; 30 replicates could not be used",
        "general: 70 of 120 profiles kept, 50 dropped (cutoff quantile 0.5); test R² 0.400 → 0.450",
        "general: Pearson of DVGS (cosine) and APC 0.250 [0.150, 0.350], n = 80",
        "general: planted noise found with AUROC DVGS l2 0.800 (best similarity), random 0.500, profile norm 0.900, "
        "reconstruction error 0.600",
    ]


def test_summary_of_many_targets_has_ten_lines(found):
    targets = [replace(found.targets[0], name=f"target{i}") for i in range(5)]
    assert len(summarise(replace(found, targets=targets[:3]))) == LINES
    lines = summarise(replace(found, targets=targets))
    assert len(lines) == LINES == 10 and "report" in lines[-1]


def test_what_is_not_known_is_not_said(found):
    assert not any("planted" in line for line in summarise(with_target(found, truth=None)))
    assert any("no profile has an APC" in line for line in summarise(without_apc(found)))
