from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from compute_apc import of_replicates
from dvgs.compendium.ledger import NOT_USABLE
from dvgs.errors import InputError
from dvgs.io.formats import open_matrix
from dvgs.io.gctx import GctxFile, write_gctx
from dvgs.io.h5ad import read_obs, write_h5ad
from dvgs.io.tables import explode_replicates, read_siginfo
from dvgs.replicates.apc import (
    CONSTANT,
    CUT,
    MISSING,
    NO_SIBLING,
    NO_SIGNATURE,
    SINGLE,
    UNKNOWN,
    absent_replicates,
    compare_q75,
    compute_apc,
    compute_replicate_apc,
    plates_of,
)


def slow_apc(profiles):
    """The definition: the mean over pairs of np.corrcoef."""
    return np.mean([np.corrcoef(a, b)[0, 1] for a, b in combinations(profiles.astype(np.float64), 2)])


@pytest.fixture
def level4(tmp_path, rng):
    x = rng.normal(size=(12, 25)).astype(np.float32)
    x[:3] += 2 * rng.normal(size=25)
    x[9] = 4
    path = tmp_path / "level4.gctx"
    write_gctx(path, x, [f"r{i}" for i in range(12)], range(25))
    with GctxFile(path) as file:
        yield file, x


def test_every_signature_gets_an_apc_or_a_reason(level4, rng, tmp_path):
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
    apc, lost = compute_apc(
        file, np.arange(25), explode_replicates(signatures["distil_ids"]), signatures, 50, rng, tmp_path
    )
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


@pytest.mark.parametrize("n_null", [1, 50])  # whether null groups have them or not
def test_single_replicates_that_cannot_be_used_are_told(tmp_path, rng, n_null):
    x = rng.normal(size=(40, 25))
    x[3], x[5] = np.nan, 2
    write_gctx(tmp_path / "x.gctx", x, [f"r{i}" for i in range(40)], range(25))
    distil = pd.Series({f"s{i}": f"r{i}" for i in range(38)} | {"s38": "r38|r39"})
    signatures = pd.DataFrame({"cell_iname": "A", "pert_id": distil.to_numpy()}, index=distil.index)
    members = explode_replicates(distil)
    with GctxFile(tmp_path / "x.gctx") as file:
        apc, lost = compute_apc(file, np.arange(25), members, signatures, n_null, rng, tmp_path)
    assert lost.to_numpy().tolist() == [["s3", "r3", NOT_USABLE], ["s5", "r5", CONSTANT]]
    apc = apc.set_index("sig_id")
    assert apc["n_replicates"].drop(["s3", "s5", "s38"]).eq(1).all() and apc["n_replicates"][["s3", "s5"]].eq(0).all()
    assert (apc.loc[members["sig_id"].iloc[:38], "reason"] == SINGLE).all()


def test_file_order_does_not_matter(tmp_path, level4, rng):
    file, x = level4
    order, genes = rng.permutation(12), rng.permutation(25)
    write_gctx(tmp_path / "other.gctx", x[np.ix_(order, genes)], file.profile_ids[order], file.gene_ids[genes])
    signatures = pd.DataFrame({"cell_iname": "A", "pert_id": ["p", "q"]}, index=["s", "t"])
    members = explode_replicates(pd.Series({"s": "r0|r1|r2", "t": "r4|r5"}))
    with GctxFile(tmp_path / "other.gctx") as other:
        apcs = [
            compute_apc(f, np.arange(25), members, signatures, 5, np.random.default_rng(1), tmp_path)[0]["apc"]
            for f in (file, other)
        ]
    assert np.allclose(*apcs, atol=1e-6)


def test_null_p_is_uniform_without_replicate_agreement(tmp_path, rng):
    n = 300
    write_gctx(tmp_path / "x.gctx", rng.normal(size=(2 * n, 40)), [f"r{i}" for i in range(2 * n)], range(40))
    signatures = pd.DataFrame(
        {"cell_iname": "A", "pert_id": [f"p{i}" for i in range(n)]}, index=[f"s{i}" for i in range(n)]
    )
    members = explode_replicates(pd.Series({f"s{i}": f"r{2 * i}|r{2 * i + 1}" for i in range(n)}))
    with GctxFile(tmp_path / "x.gctx") as file:
        apc, _ = compute_apc(file, np.arange(40), members, signatures, 500, rng, tmp_path)
    assert 0.4 < apc["apc_null_p"].mean() < 0.6 and (apc["apc_null_p"] < 0.05).mean() < 0.1
    assert (apc["apc_fdr"] >= apc["apc_null_p"] - 1e-12).all()


def test_plates_stand_before_the_last_colon():
    assert plates_of(["A_X1:B19:A03", "B:C04"]).tolist() == ["A_X1:B19", "B"]
    assert pd.isna(plates_of(["none"])[0])


def test_null_within_a_plate(tmp_path, rng):
    x = rng.normal(size=(40, 50))
    x[:20] += 3 * rng.normal(size=50)  # a plate with an effect of its own: all on it look like replicates
    ids = [f"{'PQ'[i // 20]}:A{i}" for i in range(40)]
    write_gctx(tmp_path / "x.gctx", x, ids, range(50))
    signatures = pd.DataFrame(
        {"cell_iname": "A", "pert_id": [f"p{i}" for i in range(20)]}, index=[f"s{i}" for i in range(20)]
    )
    members = explode_replicates(pd.Series({f"s{i}": f"{ids[2 * i]}|{ids[2 * i + 1]}" for i in range(20)}))
    with GctxFile(tmp_path / "x.gctx") as file:
        found = {
            within: compute_apc(
                file, np.arange(50), members, signatures, 200, np.random.default_rng(1), tmp_path, within
            )[0]
            for within in ("cell_iname", "plate")
        }
    assert found["plate"]["apc_null_p"][:10].mean() > 2 * found["cell_iname"]["apc_null_p"][:10].mean()


def test_level_4_of_another_release_is_refused(level4, rng, tmp_path):
    signatures = pd.DataFrame({"cell_iname": "A", "pert_id": ["p"]}, index=["s"])
    members = explode_replicates(pd.Series({"s": "x1|x2"}))
    with pytest.raises(InputError, match=r"none of the 2 replicates that siginfo names is in it.*of one release"):
        compute_apc(level4[0], np.arange(25), members, signatures, 5, rng, tmp_path)


def test_apc_of_single_replicates(tmp_path, rng):
    x = rng.normal(size=(9, 30)).astype(np.float32)
    x[:3] += rng.normal(size=30)
    x[6] = 2
    obs = pd.DataFrame(
        {"sig_id": ["s", "s", "s", "t", "t", "", "u", "u", "v"], "cell_iname": "A", "pert_id": list("pppqq-rrs")},
        index=[f"P:{i}" for i in range(9)],
    )
    write_gctx(tmp_path / "x.gctx", x, obs.index, range(30))
    with open_matrix(tmp_path / "x.gctx", "x") as matrix:
        table, lost = compute_replicate_apc(matrix, obs, 50, rng)
    r = np.corrcoef(x.astype(np.float64)[:5])
    expected = [(r[0, 1] + r[0, 2]) / 2, (r[0, 1] + r[1, 2]) / 2, (r[0, 2] + r[1, 2]) / 2, r[3, 4], r[3, 4]]
    assert np.allclose(table["apc"][:5], expected, atol=1e-6) and table["apc"][5:].isna().all()
    assert table["profile_id"].tolist() == obs.index.tolist() and table["n_replicates"].tolist() == [
        3,
        3,
        3,
        2,
        2,
        0,
        1,
        1,
        1,
    ]
    assert table["reason"].tolist()[5:] == [NO_SIGNATURE, CONSTANT, NO_SIBLING, SINGLE]
    assert lost.to_numpy().tolist() == [["u", "P:6", CONSTANT]]
    assert (table["apc_null_p"][:3] < 0.2).all() and table["apc_null_p"][:5].notna().all()


def test_ledger_of_single_replicates(tmp_path, rng):
    x = rng.normal(size=(5, 30)).astype(np.float32)
    x[[3, 4]] = 1
    obs = pd.DataFrame({"sig_id": ["s", "s", "t", "t", "u"], "cell_iname": "A", "pert_id": "p"}, index=list("abcde"))
    write_h5ad(tmp_path / "x.h5ad", x, obs, pd.DataFrame(index=[f"g{i}" for i in range(30)]))
    (tmp_path / "siginfo.txt").write_text("sig_id\tdistil_ids\ns\ta|b|gone\nt\tc|d|unselected\nu\te\n")
    (tmp_path / "ledger.tsv").write_text("profile_id\treason\nunselected\tqc_pass is not 1\n")
    input = {"signatures": tmp_path / "x.h5ad", "siginfo": tmp_path / "siginfo.txt", "ledger": tmp_path / "ledger.tsv"}
    _, lost = of_replicates(SimpleNamespace(keys=input.keys, **input), read_obs(tmp_path / "x.h5ad"), n_null=5, rng=rng)
    assert lost.to_numpy().tolist() == [["s", "gone", MISSING], ["t", "d", CONSTANT], ["u", "e", CONSTANT]]


def test_spearman_q75_is_the_cc_q75_of_the_pipeline(real_data, rng, tmp_path):
    folder = real_data / "l1000/formats"
    with GctxFile(folder / "level5_of_those_replicates_n3x978.gctx") as file:
        metadata = file.metadata("profile")
    members = explode_replicates(metadata["distil_id"])
    signatures = pd.DataFrame({"cell_iname": "HEPG2", "pert_id": metadata["pert_id"]})
    with GctxFile(folder / "level4_replicates_n6x978.gctx") as file:
        apc, _ = compute_apc(file, np.arange(978), members, signatures, 5, rng, tmp_path)
    expected = metadata["distil_cc_q75"].astype(float).replace(-666, np.nan)
    assert np.allclose(apc["spearman_q75"], expected, atol=0.005, equal_nan=True) and expected.notna().sum() == 2


def test_real_release(real_data, rng, tmp_path, monkeypatch):
    """430 signatures, 328 of them with one replicate, one replicate that the file does not hold."""
    folder, quantile = real_data / "l1000/release", np.quantile
    siginfo = read_siginfo(folder / "siginfo_beta.txt")
    members = explode_replicates(siginfo["distil_ids"])
    with GctxFile(folder / "level4_beta_n801x976.gctx") as file:
        apc, lost = compute_apc(file, np.arange(976), members, siginfo, 200, rng, tmp_path)
        x = dict(zip(file.profile_ids, next(file.blocks(np.arange(976)))[1], strict=True))
    assert (apc["reason"] == SINGLE).sum() == 328 and apc["apc"].notna().sum() == 102
    assert lost["profile_id"].tolist() == ["CPC004_A375_6H_X3_B3_DUO52HI53LO:E07"]
    assert lost["reason"].tolist() == [MISSING]
    for row in apc.dropna(subset="apc").itertuples():
        replicates = np.array([x[r] for r in siginfo.loc[row.sig_id, "distil_ids"].split("|") if r in x])
        assert abs(row.apc - slow_apc(replicates)) < 1e-6
    # The siginfo of this small release has a cc_q75 of the same replicates, with numpy's quantile instead of MATLAB's.
    assert "102 signatures)" in (line := compare_q75(apc["spearman_q75"].to_numpy(), siginfo["cc_q75"].to_numpy())), (
        line
    )
    monkeypatch.setattr(np, "quantile", lambda a, q, axis, method: quantile(a, q, axis=axis))
    with GctxFile(folder / "level4_beta_n801x976.gctx") as file:
        apc, _ = compute_apc(file, np.arange(976), members, siginfo, 20, rng, tmp_path)
    known = apc["apc"].notna().to_numpy()
    assert np.allclose(apc["spearman_q75"][known], siginfo["cc_q75"].to_numpy()[known], atol=1e-5)


def test_without_perturbagens_there_is_no_null(level4, rng, tmp_path):
    file, _ = level4
    signatures = pd.DataFrame({"cell_iname": "A", "pert_id": ["", "", "p"]}, index=["s", "t", "u"])
    members = explode_replicates(pd.Series({"s": "r0|r1", "t": "r4|r5", "u": "r6|r7"}))
    apc, _ = compute_apc(file, np.arange(25), members, signatures, 5, rng, tmp_path)
    assert apc["apc"].notna().all() and apc["apc_null_p"].isna().all() and apc["apc_fdr"].isna().all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -666])
def test_unusable_replicates_and_lists_cut_off_are_named(tmp_path, rng, value):
    x = rng.normal(size=(6, 25)).astype(np.float32)
    x[2, 3] = value
    ids = [f"{'r' * 60}{i}" for i in range(6)]
    write_gctx(tmp_path / "x.gctx", x, ids, range(25))
    long = "|".join([ids[3], ids[4], ids[5], "r" * 255])[:255]  # a fourth id lost its end
    signatures = pd.DataFrame({"cell_iname": "A", "pert_id": list("pqr")}, index=["nan", "long", "two"])
    members = explode_replicates(pd.Series({"nan": "|".join(ids[:3]), "long": long, "two": "|".join(ids[1:3])}))
    with GctxFile(tmp_path / "x.gctx") as file:
        apc, lost = compute_apc(file, np.arange(25), members, signatures, 20, rng, tmp_path)
    assert apc["n_replicates"].tolist() == [2, 3, 1]
    assert apc["reason"].tolist() == ["", "", NOT_USABLE]
    assert not apc["apc_null_p"][:2].isna().any()  # a null for as many replicates as were usable
    assert lost["reason"].tolist() == [NOT_USABLE, CUT, NOT_USABLE]


def test_replicates_in_no_file_are_named():
    members = pd.DataFrame({"sig_id": list("sstu"), "profile_id": list("abcd"), "cut": [False, False, True, True]})
    absent = absent_replicates(members, pd.Index(["a", "d"]))
    assert absent.to_numpy().tolist() == [["s", "b", MISSING], ["t", "c", CUT]]
    assert absent_replicates(members, pd.Index(list("abcd"))).empty


def test_agreement_with_cc_q75_in_words():
    ours, theirs = np.array([0.1, 0.2, np.nan, 0.4, 0.5]), np.array([0.105, 0.25, 0.3, np.nan, 0.5])
    assert compare_q75(ours, theirs).endswith("by 0.005 (median of 3 signatures), in 66.7 % by at most 0.01")
    assert compare_q75(ours, np.full(5, np.nan)) == "" == compare_q75(ours[:0], theirs[:0])


@pytest.mark.parametrize("n", [0, 1])
def test_apc_of_no_or_one_replicate(tmp_path, rng, n):
    write_gctx(tmp_path / "x.gctx", rng.normal(size=(n, 5)), [f"r{i}" for i in range(n)], range(5))
    obs = pd.DataFrame({"sig_id": ["s"] * n, "cell_iname": "A", "pert_id": "p"}, index=[f"r{i}" for i in range(n)])
    with open_matrix(tmp_path / "x.gctx", "x") as matrix:
        table, lost = compute_replicate_apc(matrix, obs, 5, rng)
    assert table["reason"].tolist() == [SINGLE] * n and table["apc"].isna().all() and lost.empty
