from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from dvgs.io.rows import ScratchRows
from dvgs.replicates.correlation import GroupSums, centre, doubled_ranks, rank_dtype, spearman_quantile


def slow_apc(profiles):
    """The definition: the mean over pairs of np.corrcoef."""
    return np.mean([np.corrcoef(a, b)[0, 1] for a, b in combinations(profiles.astype(np.float64), 2)])


@pytest.mark.parametrize("order", ["C", "F"])  # in memory
def test_average_pearson_is_the_mean_over_pairs(rng, order):
    x = (rng.normal(size=(40, 30)) + rng.normal(size=30) + 1000).astype(np.float32)
    row, group = [], []
    for g, size in enumerate([2, 3, 7, 12, 1]):  # groups that share profiles, too
        row += rng.choice(40, size, replace=False).tolist()
        group += [g] * size
    blocks = [(np.arange(s, min(s + 9, 40)), x[s : s + 9].copy(order)) for s in range(0, 40, 9)]
    sums = GroupSums(blocks, np.array(row), np.array(group), 5, 30)
    apc = sums.means()
    expected = [slow_apc(x[[r for r, k in zip(row, group, strict=True) if k == g]]) for g in range(4)]
    assert np.allclose(apc[:4], expected, atol=1e-10) and np.isnan(apc[4])
    assert sums.n_used.tolist() == [2, 3, 7, 12, 1] and not sums.constant and not sums.not_finite
    correlation = np.corrcoef(x.astype(np.float64))
    where, position, found = sums.with_siblings(blocks)
    assert sorted(zip(where, position, strict=True)) == sorted(zip(group[:-1], row[:-1], strict=True))
    for g, r, value in zip(where, position, found, strict=True):
        others = [k for k, h in zip(row, group, strict=True) if h == g and k != r]
        assert value == pytest.approx(correlation[r, others].mean(), abs=1e-10)


def test_constant_and_nan_profiles_are_set_aside(rng):
    x = rng.normal(size=(5, 20)).astype(np.float32)
    x[1] = 0.1
    x[3, 0] = np.nan
    sums = GroupSums([(np.arange(5), x)], np.arange(5), np.zeros(5, int), 1, 20)
    assert (sums.constant, sums.not_finite) == ([1], [3]) and sums.n_used.tolist() == [3]
    assert np.isclose(sums.means()[0], slow_apc(x[[0, 2, 4]]), atol=1e-10)


def test_doubled_ranks_are_those_of_scipy(rng):
    x = np.vstack([rng.normal(size=(3, 40)), rng.integers(0, 9, (3, 40)), np.clip(5 * rng.normal(size=(2, 40)), -3, 3)])
    assert np.array_equal(doubled_ranks(x.astype(np.float32)), 2 * stats.rankdata(x.astype(np.float32), axis=1))
    assert doubled_ranks(x).dtype == np.uint16
    assert doubled_ranks(np.arange(40_000)[None, ::-1])[0, :2].tolist() == [80_000, 79_998]


def test_spearman_quantile_is_that_of_the_pairs(tmp_path, rng, monkeypatch):
    monkeypatch.setattr("dvgs.replicates.correlation.BLOCK_MEMBERS", 1)  # a few groups at a time
    x = rng.integers(-4, 5, (40, 30)) + 2 * rng.normal(size=30)
    group = np.repeat([0, 1, 2, 4, 5, 6], [2, 1, 7, 20, 3, 7])
    usable = np.ones(40, bool)
    usable[[4, 30, 31]] = False
    with ScratchRows(tmp_path, (40, 30), np.uint16) as ranks:
        ranks.write(np.arange(40)[::-1], doubled_ranks(x)[::-1])
        found = spearman_quantile(ranks, group, usable, 7, 0.75)
    for g in range(7):
        rows = x[(group == g) & usable]
        pairs = [stats.spearmanr(a, b).statistic for a, b in combinations(rows, 2)]
        expected = np.quantile(pairs, 0.75, method="hazen") if pairs else np.nan
        assert found[g] == pytest.approx(expected, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_centred_rows_and_one_over_their_norms(rng, dtype):
    x = (100 * rng.normal(size=(30, 17)) + rng.normal(size=(30, 1)) * 1000).astype(dtype)
    x[4] = 7
    before = x.copy()
    centred, scale = centre(x)
    exact = x.astype(np.float64) - x.astype(np.float64).mean(axis=1, keepdims=True)
    norm = np.linalg.norm(exact, axis=1)
    varies = np.arange(30) != 4
    assert centred.dtype == np.float64 and np.allclose(centred, exact, atol=1e-10) and np.array_equal(x, before)
    assert np.allclose(scale[varies], 1 / norm[varies], rtol=1e-12) and scale[4] == 0


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([0.0, 0, 0, 0], 0), ([0.1, 0.1, 0.1, 0.1], 0), ([1e8, 1e8, 1e8, 1e8 + 1], 0), ([1e30] * 4, 0),
        ([1.0, np.nan, 2, 3], np.nan), ([np.inf, 1, 2, 3], np.nan), ([-np.inf, np.inf, 2, 3], np.nan),
        ([1.0, 0, 0, 0], 1 / np.sqrt(0.75)), ([1e-30, 0, 0, 0], 1e30 / np.sqrt(0.75)),
    ],
)  # fmt: skip
def test_rows_without_a_correlation(row, expected):
    with np.errstate(invalid="ignore"):
        _, scale = centre(np.array([row]))
    assert scale[0] == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_chunks_do_not_matter(rng, monkeypatch):
    x, row = rng.normal(size=(30, 12)).astype(np.float32), rng.integers(0, 30, 50)
    group = rng.integers(-1, 6, 50)
    row, group = np.unique(np.stack([row, group]), axis=1)  # a profile is in a group once
    every = np.arange(30)
    expected = GroupSums([(every, x)], row, group, 6, 12)
    siblings = expected.with_siblings([(every, x)])
    monkeypatch.setattr("dvgs.replicates.correlation.CHUNK_PROFILES", 4)
    found = GroupSums([(every, x)], row, group, 6, 12)
    assert np.allclose(found.means(), expected.means(), atol=1e-12, equal_nan=True)
    assert np.array_equal(found.n_used, np.bincount(group[group >= 0], minlength=6))
    for one, other in zip(found.with_siblings([(every, x)]), siblings, strict=True):
        assert np.allclose(one, other, atol=1e-12)


def test_profiles_that_are_only_looked_at_and_empty_groups(rng):
    x = rng.normal(size=(4, 9))
    x[3] = 1
    sums = GroupSums([(np.arange(4), x)], np.array([0, 1, 2, 3]), np.array([2, 2, -1, -1]), 4, 9)
    assert sums.n_used.tolist() == [0, 0, 2, 0] and sums.constant == [3]
    assert np.isnan(sums.means()).tolist() == [True, True, False, True]
    where, position, correlation = sums.with_siblings([(np.arange(4), x)])
    assert where.tolist() == [2, 2] and position.tolist() == [0, 1]
    assert np.allclose(correlation, np.corrcoef(x[:2])[0, 1], atol=1e-12)


def test_without_blocks_there_is_nothing():
    sums = GroupSums([], np.empty(0, int), np.empty(0, int), 2, 5)
    assert np.isnan(sums.means()).all() and sums.constant == [] and sums.n_used.tolist() == [0, 0]


@pytest.mark.parametrize(("n_genes", "dtype"), [(2, np.uint16), (32_767, np.uint16), (32_768, np.uint32)])
def test_ranks_fit_what_they_are_kept_in(n_genes, dtype):
    assert rank_dtype(n_genes) is dtype
    ranks = doubled_ranks(np.arange(n_genes, dtype=np.float32)[None])
    assert ranks.dtype == dtype and ranks[0, -1] == 2 * n_genes


def test_ranks_of_ties_and_of_constant_rows():
    x = np.array([[3.0, 1, 2, 1], [5, 5, 5, 5], [0.0, -0.0, 1, -1]])
    assert doubled_ranks(x).tolist() == [[8, 3, 6, 3], [5, 5, 5, 5], [5, 5, 8, 2]]
    assert doubled_ranks(np.empty((0, 4))).shape == (0, 4)


@pytest.mark.parametrize("quantile", [0, 0.5, 0.75, 1])
def test_quantiles_of_identical_and_opposite_replicates(tmp_path, rng, quantile):
    x = rng.normal(size=30)
    with ScratchRows(tmp_path, (5, 30), np.uint16) as ranks:
        ranks.write(np.arange(5), doubled_ranks(np.stack([x, x, x, x, -x])))
        found = spearman_quantile(ranks, np.array([0, 0, 0, 2, 2]), np.ones(5, bool), 4, quantile)
        unusable = spearman_quantile(ranks, np.array([0, 0, 0, 2, 2]), np.zeros(5, bool), 4, quantile)
    assert np.allclose(found[[0, 2]], [1, -1], atol=1e-6) and np.isnan(found[[1, 3]]).all()
    assert np.isnan(unusable).all()
