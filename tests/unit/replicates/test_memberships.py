from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from dvgs.replicates.memberships import NOWHERE, Memberships


@pytest.fixture
def members():
    """Group 0 has profiles 5 and 3, group 1 profile 5, group 2 none, group 3 profiles 1, 2 and 5; 4 is in no group."""
    return Memberships(np.array([5, 1, 5, 4, 3, 2, 5]), np.array([0, 3, 1, NOWHERE, 0, 3, 3]), 4)


def pairs(memberships):
    return list(zip(memberships.row.tolist(), memberships.group.tolist(), strict=True))


def test_counting_and_finding(members):
    assert members.counts().tolist() == [2, 1, 0, 3] and len(members) == 7
    assert members.groups_of_several().tolist() == [0, 3]
    assert members.are([5, 4]).tolist() == [True, False, True, True, False, False, True]
    assert members.are([]).tolist() == [False] * 7
    some = members.where(members.are([5]))
    assert pairs(some) == [(5, 0), (5, 1), (5, 3)] and some.counts().tolist() == [1, 1, 0, 1]
    assert pairs(members.grouped) == [(5, 0), (1, 3), (5, 1), (3, 0), (2, 3), (5, 3)]


def test_groups_of_several_are_numbered_in_order_and_single_ones_stand_behind(members):
    found = members.grouped.to_correlate()
    assert pairs(found) == [(5, 0), (3, 0), (1, 1), (2, 1), (5, 1), (5, NOWHERE)] and found.n_groups == 2
    assert pairs(found.grouped) == pairs(found)[:5]


def test_null_groups_stand_behind(members):
    null = {2: np.array([[7, 1], [8, 9]]), 3: np.empty((0, 3), int), 4: np.array([[1, 2, 3, 4]])}
    found, null_groups = members.with_null(null)
    assert found.n_groups == 7 and {size: groups.tolist() for size, groups in null_groups.items()} == {
        2: [4, 5], 3: [], 4: [6],
    }  # fmt: skip
    assert pairs(found) == pairs(members) + [(7, 4), (1, 4), (8, 5), (9, 5), (1, 6), (2, 6), (3, 6), (4, 6)]
    assert found.counts().tolist() == [2, 1, 0, 3, 2, 2, 4]


@pytest.mark.parametrize("n_groups", [0, 3])
def test_of_no_profiles(n_groups):
    nobody = Memberships(np.empty(0, int), np.empty(0, int), n_groups)
    assert nobody.counts().tolist() == [0] * n_groups and len(nobody.groups_of_several()) == 0
    assert len(nobody.to_correlate()) == 0 and nobody.to_correlate().n_groups == 0
    found, null_groups = nobody.with_null({})
    assert len(found) == 0 and found.n_groups == n_groups and null_groups == {}


def test_frozen(members):
    with pytest.raises(FrozenInstanceError):
        members.n_groups = 3
