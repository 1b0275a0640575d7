from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from dvgs.gctx import GctxFile, write_gctx
from dvgs.replicates import (
    CONSTANT,
    CUT,
    MISSING,
    NOT_FINITE,
    SINGLE,
    UNKNOWN,
    average_pearson,
    compute_apc,
    draw_null_groups,
    modz,
)
from dvgs.tables import explode_replicates, read_siginfo


def slow_apc(profiles):
    """The definition: the mean over pairs of np.corrcoef."""
    return np.mean([np.corrcoef(a, b)[0, 1] for a, b in combinations(profiles.astype(np.float64), 2)])


def test_average_pearson_is_the_mean_over_pairs(rng):
    x = (rng.normal(size=(40, 30)) + rng.normal(size=30) + 1000).astype(np.float32)
    row, group = [], []
    for g, size in enumerate([2, 3, 7, 12, 1]):  # groups that share profiles, too
        row += rng.choice(40, size, replace=False).tolist()
        group += [g] * size
    blocks = [(np.arange(s, min(s + 9, 40)), x[s : s + 9]) for s in range(0, 40, 9)]
    apc, n_used, constant, not_finite = average_pearson(blocks, np.array(row), np.array(group), 5, 30)
    expected = [slow_apc(x[[r for r, k in zip(row, group, strict=True) if k == g]]) for g in range(4)]
    assert np.allclose(apc[:4], expected, atol=1e-10) and np.isnan(apc[4])
    assert n_used.tolist() == [2, 3, 7, 12, 1] and not constant and not not_finite


def test_constant_and_nan_profiles_are_set_aside(rng):
    x = rng.normal(size=(5, 20)).astype(np.float32)
    x[1] = 0.1
    x[3, 0] = np.nan
    apc, n_used, constant, not_finite = average_pearson([(np.arange(5), x)], np.arange(5), np.zeros(5, int), 1, 20)
    assert (constant, not_finite) == ([1], [3]) and n_used.tolist() == [3]
    assert np.isclose(apc[0], slow_apc(x[[0, 2, 4]]), atol=1e-10)


@pytest.fixture
def level4(tmp_path, rng):
    x = rng.normal(size=(12, 25)).astype(np.float32)
    x[:3] += 2 * rng.normal(size=25)
    x[9] = 4
    path = tmp_path / "level4.gctx"
    write_gctx(path, x, [f"r{i}" for i in range(12)], range(25))
    with GctxFile(path) as file:
        yield file, x


def test_every_signature_gets_an_apc_or_a_reason(level4, rng):
    file, x = level4
    distil = {
        "good": "r0|r2|r1",
        "partly": "r3|r4|gone",
        "single": "r5",
        "missing": "r6|gone",
        "lost": "gone",
        "constant": "r9|r8",
        "unnamed": np.nan,
        "pair": "r10|r11|r10",
    }
    signatures = pd.DataFrame(
        {"cell_iname": "A375", "pert_id": [f"p{i}" for i in range(8)], "distil_ids": pd.Series(distil)}
    )
    apc, lost = compute_apc(file, np.arange(25), explode_replicates(signatures["distil_ids"]), signatures, 50, rng)
    apc = apc.set_index("sig_id")
    assert list(apc.index) == list(distil)
    assert np.isclose(apc.loc["good", "apc"], slow_apc(x[:3]), atol=1e-6)
    assert np.isclose(apc.loc["partly", "apc"], slow_apc(x[3:5]), atol=1e-6)
    assert np.isclose(apc.loc["pair", "apc"], slow_apc(x[10:12]), atol=1e-6)
    assert apc["reason"].to_dict() == {
        "good": "", "partly": "", "single": SINGLE, "missing": MISSING, "lost": MISSING, "constant": CONSTANT,
        "unnamed": UNKNOWN, "pair": "",
    }  # fmt: skip
    assert apc["n_replicates"].tolist() == [3, 2, 1, 1, 0, 1, 0, 2]
    assert apc.loc["good", "apc_null_p"] == pytest.approx(1 / 51)
    assert lost.to_numpy().tolist() == [
        ["partly", "gone", MISSING], ["missing", "gone", MISSING], ["lost", "gone", MISSING],
        ["constant", "r9", CONSTANT],
    ]  # fmt: skip


def test_file_order_does_not_matter(tmp_path, level4, rng):
    file, x = level4
    order, genes = rng.permutation(12), rng.permutation(25)
    write_gctx(tmp_path / "other.gctx", x[np.ix_(order, genes)], file.profile_ids[order], file.gene_ids[genes])
    signatures = pd.DataFrame({"cell_iname": "A", "pert_id": ["p", "q"]}, index=["s", "t"])
    members = explode_replicates(pd.Series({"s": "r0|r1|r2", "t": "r4|r5"}))
    with GctxFile(tmp_path / "other.gctx") as other:
        apcs = [
            compute_apc(f, np.arange(25), members, signatures, 5, np.random.default_rng(1))[0]["apc"]
            for f in (file, other)
        ]
    assert np.allclose(*apcs, atol=1e-6)


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


def test_null_p_is_uniform_without_replicate_agreement(tmp_path, rng):
    n = 300
    write_gctx(tmp_path / "x.gctx", rng.normal(size=(2 * n, 40)), [f"r{i}" for i in range(2 * n)], range(40))
    signatures = pd.DataFrame(
        {"cell_iname": "A", "pert_id": [f"p{i}" for i in range(n)]}, index=[f"s{i}" for i in range(n)]
    )
    members = explode_replicates(pd.Series({f"s{i}": f"r{2 * i}|r{2 * i + 1}" for i in range(n)}))
    with GctxFile(tmp_path / "x.gctx") as file:
        apc, _ = compute_apc(file, np.arange(40), members, signatures, 500, rng)
    assert 0.4 < apc["apc_null_p"].mean() < 0.6 and (apc["apc_null_p"] < 0.05).mean() < 0.1
    assert (apc["apc_fdr"] >= apc["apc_null_p"] - 1e-12).all()


def test_modz_reproduces_the_level_5_of_its_own_pipeline(real_data):
    folder = real_data / "l1000/formats"
    with GctxFile(folder / "level5_of_those_replicates_n3x978.gctx") as file:
        ids = file.metadata("profile")["distil_id"].str.split("|").to_dict()
        level5 = dict(zip(file.profile_ids, next(file.blocks(range(978)))[1], strict=True))
        genes5 = file.gene_ids
    with GctxFile(folder / "level4_replicates_n6x978.gctx") as file:
        genes = pd.Index(file.gene_ids).get_indexer(genes5)
        level4 = dict(zip(file.profile_ids, next(file.blocks(genes))[1], strict=True))
    found = {sig: modz(np.array([level4[r] for r in reps])) for sig, reps in ids.items()}
    for sig, (signature, _) in found.items():
        assert np.allclose(signature, level5[sig], atol=1e-5)
    weights = next(w for _, w in found.values() if len(w) == 3)
    assert sorted(np.round(weights, 3)) == [0.219, 0.334, 0.447]


def test_modz_of_one_two_and_disagreeing_replicates(rng):
    x = rng.normal(size=(3, 50))
    assert np.array_equal(modz(x[:1])[0], x[0])
    assert np.allclose(modz(x[:2])[0], x[:2].mean(axis=0))
    assert np.allclose(modz(np.array([[20.0, -20, 0]]))[0], [10, -10, 0])
    _, weights = modz(np.array([x[0], x[0], x[0], -x[0]]))
    assert weights[3] < 0.02 and np.isclose(weights.sum(), 1)


def test_real_release(real_data, rng):
    """430 signatures, 328 of them with one replicate, one replicate that the file does not hold."""
    folder = real_data / "l1000/release"
    siginfo = read_siginfo(folder / "siginfo_beta.txt")
    members = explode_replicates(siginfo["distil_ids"])
    with GctxFile(folder / "level4_beta_n801x976.gctx") as file:
        apc, lost = compute_apc(file, np.arange(976), members, siginfo, 200, rng)
        x = dict(zip(file.profile_ids, next(file.blocks(np.arange(976)))[1], strict=True))
    assert (apc["reason"] == SINGLE).sum() == 328 and apc["apc"].notna().sum() == 102
    assert lost["profile_id"].tolist() == ["CPC004_A375_6H_X3_B3_DUO52HI53LO:E07"]
    assert lost["reason"].tolist() == [MISSING]
    for row in apc.dropna(subset="apc").itertuples():
        replicates = np.array([x[r] for r in siginfo.loc[row.sig_id, "distil_ids"].split("|") if r in x])
        assert abs(row.apc - slow_apc(replicates)) < 1e-6


def test_without_perturbagens_there_is_no_null(level4, rng):
    file, _ = level4
    signatures = pd.DataFrame({"cell_iname": "A", "pert_id": ["", "", "p"]}, index=["s", "t", "u"])
    members = explode_replicates(pd.Series({"s": "r0|r1", "t": "r4|r5", "u": "r6|r7"}))
    apc, _ = compute_apc(file, np.arange(25), members, signatures, 5, rng)
    assert apc["apc"].notna().all() and apc["apc_null_p"].isna().all() and apc["apc_fdr"].isna().all()


def test_unusable_replicates_and_lists_cut_off_are_named(tmp_path, rng):
    x = rng.normal(size=(6, 25)).astype(np.float32)
    x[2, 3] = np.nan
    ids = [f"{'r' * 60}{i}" for i in range(6)]
    write_gctx(tmp_path / "x.gctx", x, ids, range(25))
    long = "|".join([ids[3], ids[4], ids[5], "r" * 255])[:255]  # a fourth id lost its end
    signatures = pd.DataFrame({"cell_iname": "A", "pert_id": list("pqr")}, index=["nan", "long", "two"])
    members = explode_replicates(pd.Series({"nan": "|".join(ids[:3]), "long": long, "two": "|".join(ids[1:3])}))
    with GctxFile(tmp_path / "x.gctx") as file:
        apc, lost = compute_apc(file, np.arange(25), members, signatures, 20, rng)
    assert apc["n_replicates"].tolist() == [2, 3, 1]
    assert apc["reason"].tolist() == ["", "", NOT_FINITE]
    assert not apc["apc_null_p"][:2].isna().any()  # a null for as many replicates as were usable
    assert lost["reason"].tolist() == [NOT_FINITE, CUT, NOT_FINITE]
