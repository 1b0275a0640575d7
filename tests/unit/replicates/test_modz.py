from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from collapse import main as collapse_cleaned
from dvgs.compendium.profiles import Profiles
from dvgs.io.gctx import GctxFile
from dvgs.io.h5ad import write_h5ad
from dvgs.io.tables import explode_replicates
from dvgs.replicates.modz import ALL_DROPPED, collapse, landmarks, lost_signatures, modz, write_level5


def slow_modz(replicates, columns):
    """The definition, replicate by replicate."""
    clipped = np.clip(np.asarray(replicates, np.float64), -10, 10)
    n = len(clipped)
    weights = np.ones(n)
    for i in range(n if n > 2 else 0):
        others = [stats.spearmanr(clipped[i, columns], clipped[j, columns]).statistic for j in range(n) if j != i]
        weights[i] = max(np.mean(others), 0.01)
    weights /= weights.sum()
    return sum(weight * row for weight, row in zip(weights, clipped, strict=True)), weights


@pytest.mark.parametrize("n", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("columns", [slice(None), np.array([0, 3, 4, 9, 11, 30])])
@pytest.mark.parametrize("ties", [False, True])
def test_modz_is_its_definition(rng, n, columns, ties):
    x = 5 * (rng.normal(size=(n, 40)) + rng.normal(size=40))
    x = (x.round() if ties else x).astype(np.float32)
    for found, expected in zip(modz(x, columns), slow_modz(x, columns), strict=True):
        assert found.dtype == np.float64 and np.allclose(found, expected, atol=1e-12)


def test_nothing_left_to_collapse(tmp_path, rng):
    obs = pd.DataFrame({"sig_id": ["s", "s", ""], "cell_iname": "A"}, index=list("abc"))
    for name, rows in (("before", [0, 1, 2]), ("cleaned", [2])):
        write_h5ad(tmp_path / name, rng.normal(size=(len(rows), 4)), obs.iloc[rows], pd.DataFrame(index=list("wxyz")))
    output = SimpleNamespace(gctx=str(tmp_path / "x.gctx"), ledger=tmp_path / "x.tsv")
    collapse_cleaned(SimpleNamespace(signatures=tmp_path / "before", cleaned=tmp_path / "cleaned"), output)
    with GctxFile(output.gctx) as file:
        assert file.shape == (0, 4)
        assert set(file.metadata("profile")) == {"cell_iname", "nsample", "distil_ids", "distil_wt"}
    assert pd.read_csv(output.ledger, sep="\t").to_numpy().tolist() == [["s", 2, "all replicates dropped"]]


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


def test_collapsed_replicates_are_the_level_5_of_the_pipeline(real_data, tmp_path):
    folder = real_data / "l1000/formats"
    with GctxFile(folder / "level5_of_those_replicates_n3x978.gctx") as file:
        members = explode_replicates(file.metadata("profile")["distil_id"]).sort_values(["sig_id", "profile_id"])
        level5, genes = dict(zip(file.profile_ids, next(file.blocks(range(978)))[1], strict=True)), file.gene_ids
    with GctxFile(folder / "level4_replicates_n6x978.gctx") as file:
        _, x = next(file.blocks(pd.Index(file.gene_ids).get_indexer(genes)))
        x = x[pd.Index(file.profile_ids).get_indexer(members["profile_id"])]
    x, sig_id = np.vstack([x[:1], x]), np.array(["", *members["sig_id"]])  # and one replicate of nothing
    write_h5ad(tmp_path / "x.h5ad", x, pd.DataFrame(index=range(7)), pd.DataFrame(index=genes))
    found = list(collapse(Profiles(tmp_path / "x.h5ad"), sig_id))
    assert [sig_id[rows[0]] for rows, *_ in found] == sorted(level5)
    for rows, signature, weights in found:
        assert np.allclose(signature, level5[sig_id[rows[0]]], atol=1e-5) and weights.sum() == pytest.approx(1)


def test_modz_of_one_two_and_disagreeing_replicates(rng):
    x = rng.normal(size=(3, 50))
    assert np.array_equal(modz(x[:1])[0], x[0])
    assert np.allclose(modz(x[:2])[0], x[:2].mean(axis=0))
    assert np.allclose(modz(np.array([[20.0, -20, 0]]))[0], [10, -10, 0])
    _, weights = modz(np.array([x[0], x[0], x[0], -x[0]]))
    assert weights[3] < 0.02 and np.isclose(weights.sum(), 1)


def test_modz_of_constant_replicates(rng):
    x = rng.normal(size=(3, 50)) + rng.normal(size=50)
    signature, weights = modz(np.vstack([x, np.full(50, 20)]))
    assert np.isfinite(signature).all() and np.allclose(weights[:3] / weights[:3].sum(), modz(x)[1])
    assert 0 < weights[3] < weights[:3].min()
    assert np.allclose(modz(np.full((3, 50), 20))[1], 1 / 3)


@pytest.mark.parametrize("n", [0, 1])
def test_replicates_are_weighted_over_all_genes_where_landmarks_are_too_few(n):
    var = pd.DataFrame({"feature_space": ["landmark"] * n + ["inferred"] * (5 - n)})
    assert landmarks(var).tolist() == landmarks(var[[]]).tolist() == list(range(5))


class InMemory:
    def __init__(self, x):
        self.rows = x.__getitem__


def test_signatures_are_collapsed_in_order_and_replicates_of_none_are_left_out(rng):
    x, sig_id = rng.normal(size=(7, 20)).astype(np.float32), np.array(["", "", "b", "b", "b", "a", "c"])
    found = list(collapse(InMemory(x), sig_id))
    assert [rows.tolist() for rows, *_ in found] == [[2, 3, 4], [5], [6]]
    for rows, signature, weights in found:
        expected = slow_modz(x[rows], slice(None))
        assert signature.dtype == np.float32 and np.allclose(signature, expected[0], atol=1e-6)
        assert np.allclose(weights, expected[1], atol=1e-12)


def test_level_5_says_what_its_replicates_have_in_common(tmp_path, rng):
    x = rng.normal(size=(5, 6)).astype(np.float32)
    obs = pd.DataFrame(
        {"sig_id": ["", "s", "s", "t", "t"], "pert_id": list("opprr"), "plate": list("ABCDE"), "pert_dose": 2.0},
        index=list("vwxyz"),
    )
    var = pd.DataFrame({"feature_space": ["landmark"] * 4 + ["inferred"] * 2}, index=list("ghijkl"))
    assert write_level5(tmp_path / "x.gctx", InMemory(x), obs, var).tolist() == ["s", "t"]
    with GctxFile(tmp_path / "x.gctx") as file:
        assert file.profile_ids.tolist() == ["s", "t"] and file.gene_ids.tolist() == list("ghijkl")
        values, table = next(file.blocks(range(6)))[1], file.metadata("profile")
        assert file.metadata("gene")["feature_space"].tolist() == var["feature_space"].tolist()
    assert np.allclose(values, [x[1:3].mean(axis=0), x[3:].mean(axis=0)], atol=1e-6)
    assert table.to_dict("list") == {
        "pert_id": ["p", "r"], "pert_dose": [2, 2], "nsample": [2, 2], "distil_ids": ["w|x", "y|z"],
        "distil_wt": ["0.5000,0.5000"] * 2,
    }  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["x.gctx"]


def test_lost_signatures_are_counted():
    before = pd.Series(["s", "u", "", "t", "u", "u", "r"])
    lost = lost_signatures(before, pd.Index(["s"]))
    assert lost.to_numpy().tolist() == [["r", 1, ALL_DROPPED], ["t", 1, ALL_DROPPED], ["u", 3, ALL_DROPPED]]
    assert lost_signatures(before, pd.Index(["r", "s", "t", "u"])).empty
