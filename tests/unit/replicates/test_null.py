import numpy as np
import pytest

from dvgs.replicates.null import draw_null_groups, false_discovery, null_p


def test_null_p_is_the_share_of_the_null_that_is_as_high(rng):
    null = {size: np.append(rng.normal(size=30).round(1), np.nan) for size in (2, 9, 10)} | {3: np.empty(0)}
    n_used = np.array([2, 3, 9, 10, 11, 500, 2, 1])
    agreement = np.append(rng.normal(size=6).round(1), [np.nan, 0])
    expected = []
    for value, n in zip(agreement, n_used, strict=True):
        of = [] if np.isnan(value) else [v for v in null.get(min(n, 10), []) if not np.isnan(v)]
        expected.append((1 + sum(v >= value for v in of)) / (1 + len(of)) if of else np.nan)
    assert np.array_equal(null_p(agreement, n_used, null), expected, equal_nan=True)
    assert np.isfinite(expected).tolist() == [True, False, True, True, True, True, False, False]


def test_null_groups_are_no_replicates(rng):
    cell = rng.choice(["A", "B"], 60)
    perturbagen = rng.choice(list("pqrstu"), 60)
    groups = draw_null_groups(np.arange(100, 160), cell, perturbagen, {2, 4, 9}, 30, rng)
    assert groups[2].shape == (30, 2) and groups[4].shape == (30, 4)
    for group in [*groups[2], *groups[4]]:
        inside = group - 100
        assert len(set(cell[inside])) == 1
        assert len(set(perturbagen[inside])) == len(inside)
    assert len(groups[9]) == 0  # six perturbagens cannot fill it


@pytest.mark.parametrize("missing", ["stratum", "perturbagen"])
def test_unknown_profiles_take_no_part(rng, missing):
    columns = {"stratum": np.array(["A"] * 6, object), "perturbagen": np.array(list("pqrpqr"), object)}
    columns[missing][[0, 4]] = np.nan
    groups = draw_null_groups(np.arange(6), **columns, sizes=[2], n_groups=300, rng=rng)
    assert set(groups[2].ravel()) == {1, 2, 3, 5}


def test_null_groups_of_nothing(rng):
    nobody = np.empty(0, object)
    assert draw_null_groups(np.empty(0, int), nobody, nobody, [], 5, rng) == {}
    assert draw_null_groups(np.empty(0, int), nobody, nobody, [2, 3], 5, rng)[3].shape == (0, 3)
    some = draw_null_groups(np.arange(2), np.array(["A", "A"]), np.array(["p", "q"]), [2], 0, rng)
    assert some[2].shape == (0, 2)


def test_strata_are_drawn_by_their_profiles_and_members_evenly(rng):
    """30 profiles of A, 10 of B: three quarters of the groups are of A; each profile of a perturbagen is as likely."""
    stratum, perturbagen = np.repeat(["A", "B"], [30, 10]), np.array(list("pqrst") * 8)
    groups = draw_null_groups(np.arange(40), stratum, perturbagen, [3], 8000, rng)[3]
    assert (groups[:, 0] < 30).mean() == pytest.approx(0.75, abs=0.03)
    times = np.bincount(groups.ravel(), minlength=40) / 8000
    assert np.allclose(times[:30], 0.75 * 3 / 30, atol=0.02) and np.allclose(times[30:], 0.25 * 3 / 10, atol=0.02)


def test_p_without_agreement_or_null():
    assert np.isnan(null_p(np.array([0.5, np.nan]), np.array([2, 2]), {})).all()
    assert np.isnan(null_p(np.array([0.5]), np.array([2]), {2: np.array([np.nan])})).all()
    ties = null_p(np.array([0.5, 0.2, 0.9]), np.array([2, 2, 2]), {2: np.array([0.5, 0.5, 0.2, 0.1])})
    assert ties.tolist() == [3 / 5, 4 / 5, 1 / 5]


def test_false_discovery_is_that_of_benjamini_and_hochberg(rng):
    p = np.concatenate([rng.random(30), rng.random(10) / 1000, [np.nan] * 3, [0.5] * 4])
    rng.shuffle(p)
    known = p[~np.isnan(p)]
    expected = [
        np.nan if np.isnan(one) else min(1, *(q * len(known) / (known <= q).sum() for q in known if q >= one))
        for one in p
    ]
    assert np.allclose(false_discovery(p), expected, equal_nan=True)
    assert np.isnan(false_discovery(np.full(3, np.nan))).all() and len(false_discovery(np.empty(0))) == 0
