import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from cmapPy.pandasGEXpress.GCToo import GCToo
from cmapPy.pandasGEXpress.write_gct import write as write_gct
from scipy import sparse

from dvgs.compendium.ingestion import ingest
from dvgs.compendium.ledger import NOT_IN_MATRIX, NOT_IN_TABLE, NOT_USABLE, OTHER_TYPE, QC_FAILED, read_n_input
from dvgs.compendium.profiles import Profiles
from dvgs.compendium.selection import Selection, gene_positions, select_profiles
from dvgs.errors import InputError
from dvgs.io.formats import open_matrix
from dvgs.io.gctx import GctxFile, write_gctx
from dvgs.io.h5ad import read_obs, read_var
from dvgs.io.tables import uniform

GENES = ["5", "10", "200", "3000"]


@pytest.fixture
def geneinfo():
    return pd.DataFrame(
        {"gene_symbol": list("EDCB"), "feature_space": ["landmark", "inferred", "landmark", "best inferred"]},
        index=pd.Index(GENES, name="gene_id"),
    )


@pytest.fixture
def siginfo():
    table = pd.DataFrame(
        [
            ("ok1", "trt_cp", 1), ("control", "ctl_vehicle", 1), ("bad", "trt_cp", 0), ("absent", "trt_cp", 1),
            ("nan", "trt_cp", 1),
            ("unknown_qc", "trt_cp", np.nan), ("ok2", "trt_cp", 1), ("bad_control", "ctl_vehicle", 0),
        ],
        columns=["sig_id", "pert_type", "qc_pass"],
    ).set_index("sig_id")  # fmt: skip
    return table.assign(cmap_name=[np.nan, *"abcdefg"])


@pytest.fixture
def matrix(rng):
    ids = ["nan", "ok2", "control", "stranger", "bad", "ok1", "unknown_qc"]
    frame = pd.DataFrame(rng.normal(size=(7, 4)).astype(np.float32), index=ids, columns=GENES)
    frame.loc["nan", "5"] = np.nan
    return frame


def write(path, frame):
    write_gctx(path, frame.to_numpy(), frame.index, frame.columns)
    return path


def run(path, table, geneinfo, pert_types=("trt_cp",), qc_pass=True, genes="landmark", **options):
    output = path.parent / f"{path.stem}.out.h5ad"
    types = None if pert_types is None else list(pert_types)
    selection = Selection(pert_types=types, qc_pass=qc_pass, genes=genes, **options)
    with open_matrix(path, "input.level5") as matrix:
        ledger = ingest(output, matrix, table, geneinfo, selection)
    assert [p.name for p in path.parent.glob(".*")] == []
    return ad.read_h5ad(output), ledger


def test_every_profile_is_used_or_in_the_ledger_with_its_reason(tmp_path, matrix, siginfo, geneinfo):
    data, ledger = run(write(tmp_path / "x.gctx", matrix), siginfo, geneinfo)
    assert data.obs_names.tolist() == ["ok1", "ok2"] and data.var_names.tolist() == ["5", "200"]
    assert np.array_equal(data.X, matrix.loc[["ok1", "ok2"], ["5", "200"]])
    assert ledger.set_index("profile_id")["reason"].to_dict() == {
        "stranger": NOT_IN_TABLE, "control": OTHER_TYPE, "bad_control": OTHER_TYPE, "bad": QC_FAILED,
        "unknown_qc": QC_FAILED, "absent": NOT_IN_MATRIX, "nan": NOT_USABLE,
    }  # fmt: skip
    every = set(matrix.index) | set(siginfo.index)
    assert len(ledger) + data.n_obs == len(every) == len(set(ledger["profile_id"]) | set(data.obs_names))
    assert read_n_input(tmp_path / "x.out.h5ad") == len(every)


def test_order_of_files_does_not_matter(tmp_path, matrix, siginfo, geneinfo):
    first, ledger = run(write(tmp_path / "a.gctx", matrix), siginfo, geneinfo, genes="all")
    other, ledger2 = run(
        write(tmp_path / "b.gctx", matrix.iloc[::-1, [2, 0, 3, 1]]), siginfo[::-1], geneinfo[::-1], genes="all"
    )
    assert first.obs.equals(other.obs) and np.array_equal(first.X, other.X) and ledger.equals(ledger2)
    assert first.var_names.tolist() == GENES  # by number, not as text


def test_selection_can_be_widened(tmp_path, matrix, siginfo, geneinfo):
    path = write(tmp_path / "x.gctx", matrix)
    data, _ = run(path, siginfo, geneinfo, pert_types=None, qc_pass=False)
    assert data.obs_names.tolist() == ["bad", "control", "ok1", "ok2", "unknown_qc"]
    (tmp_path / "genes.txt").write_text("3000\n\n5\n")
    data, _ = run(path, siginfo, geneinfo, genes=str(tmp_path / "genes.txt"))
    assert data.var_names.tolist() == ["5", "3000"]
    (tmp_path / "genes.txt").write_bytes("\ufeff3000\r\n5".encode())  # as Windows writes it
    data, _ = run(path, siginfo, geneinfo, genes=str(tmp_path / "genes.txt"))
    assert data.var_names.tolist() == ["5", "3000"]
    (tmp_path / "genes.txt").write_bytes("5\nµ\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"genes.txt: select.genes: cannot be read \('utf-8' codec .*; give"):
        run(path, siginfo, geneinfo, genes=str(tmp_path / "genes.txt"))


@pytest.mark.parametrize("yes_no", [(True, False), ("TRUE", "FALSE"), ("1", "0"), ("1.0", "0.0"), (1, 0)])
def test_profiles_that_pass_are_known_however_that_is_written(yes_no):
    yes, no = yes_no
    ids = ["a", "b", "c"]
    for column in (pd.Series([yes, no, None], ids), pd.Series([yes, no, None], ids, dtype="category")):
        selected, ledger = select_profiles(uniform(column.to_frame("qc_pass")), [*ids, "stranger"], None, True)
        assert selected.tolist() == ["a"]
        assert ledger["reason"].tolist() == [QC_FAILED, QC_FAILED, NOT_IN_TABLE]


def test_h5ad_round_trip(tmp_path, matrix, siginfo, geneinfo):
    data, _ = run(write(tmp_path / "x.gctx", matrix), siginfo, geneinfo)
    assert data.obs["cmap_name"].tolist() == ["", "f"]
    assert read_obs(tmp_path / "x.out.h5ad").index.tolist() == ["ok1", "ok2"]
    assert read_var(tmp_path / "x.out.h5ad")["gene_symbol"].tolist() == ["E", "C"]
    assert np.array_equal(Profiles(tmp_path / "x.out.h5ad").rows(np.array([1, 0])), data.X[::-1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pert_types": ["trt_xpr"]}, r"no profile is left \(.*5 pert_type not selected.*; loosen select"),
        ({"genes": "nowhere.txt"}, r"nowhere.txt: select.genes: cannot be read"),
    ],
)
def test_bad_selection_gets_one_line(tmp_path, matrix, siginfo, geneinfo, arguments, message):
    siginfo = siginfo[siginfo["pert_type"] == "trt_cp"]
    with pytest.raises(InputError, match=message):
        run(write(tmp_path / "x.gctx", matrix), siginfo[:5], geneinfo, **arguments)


def test_files_that_do_not_belong_together_are_told(tmp_path, matrix, siginfo, geneinfo):
    message = (
        r"x.gctx: profile ids: its first profile is '\w+', that of the table 'x\w+', and they have none in common; give"
    )
    with pytest.raises(InputError, match=message):
        run(write(tmp_path / "x.gctx", matrix), siginfo.set_axis("x" + siginfo.index), geneinfo)


def test_missing_columns_and_genes_are_named(tmp_path, matrix, siginfo, geneinfo):
    path = write(tmp_path / "x.gctx", matrix)
    with pytest.raises(InputError, match="no column 'qc_pass'"):
        run(path, siginfo.drop(columns="qc_pass"), geneinfo)
    with pytest.raises(InputError, match="no landmark gene"):
        run(path, siginfo, geneinfo.assign(feature_space="inferred"))
    with pytest.raises(InputError, match=r"x.gctx: select.genes: landmark genes are asked for, and it has no column"):
        run(path, siginfo, geneinfo.drop(columns="feature_space"))
    (tmp_path / "genes.txt").write_text("\n")
    with pytest.raises(InputError, match=r"genes.txt: select.genes: there is no gene in it"):
        run(path, siginfo, geneinfo, genes=str(tmp_path / "genes.txt"))
    (tmp_path / "genes.txt").write_text("5\n77\n")
    with pytest.raises(InputError, match=r"1 genes are not in .* the first is '77'"):
        run(path, siginfo, geneinfo, genes=str(tmp_path / "genes.txt"))
    with GctxFile(path) as level4, pytest.raises(InputError, match="1 genes of level 5 are not in it"):
        gene_positions(level4, pd.Index(["5", "8"]))


def test_bad_values_are_counted_and_named(tmp_path, matrix, siginfo, geneinfo, caplog):
    matrix.loc["ok2", "200"] = -666
    matrix.loc["control", "5"] = np.inf  # not selected, so nobody cares
    path = write(tmp_path / "x.gctx", matrix)
    data, ledger = run(path, siginfo, geneinfo)
    assert data.obs_names.tolist() == ["ok1"] and set(ledger.query("reason == @NOT_USABLE")["profile_id"]) == {
        "nan",
        "ok2",
    }
    assert "2 values in 2 profiles are NaN, infinite or -666, the first in profile 'nan', gene '5'" in caplog.text
    with pytest.raises(InputError, match=r"select.bad_values: 2 values in 2 profiles .* set it to drop"):
        run(path, siginfo, geneinfo, bad_values="stop")


def test_a_full_disk_is_told_before_anything_is_read(tmp_path, matrix, siginfo, geneinfo, monkeypatch):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    with pytest.raises(InputError, match=r"disk: .* GB are needed on this disk, 0.0 GB are free"):
        run(write(tmp_path / "x.gctx", matrix), siginfo, geneinfo)


def test_a_disk_that_fills_up_leaves_nothing_behind(tmp_path, small_disk, geneinfo, rng, monkeypatch):
    """A real full disk: the check beforehand is made to think that there is room."""
    matrix = pd.DataFrame(rng.normal(size=(4000, 4)), index=[f"p{i}" for i in range(4000)], columns=GENES)
    path, table = write(tmp_path / "x.gctx", matrix), pd.DataFrame(index=matrix.index)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1 << 40}))
    with open_matrix(path, "level5") as file, pytest.raises(Exception, match="No space left on device"):
        ingest(small_disk / "out.h5ad", file, table, geneinfo, Selection())
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize("kind", ["dense", "csr", "csc"])
def test_an_anndata_of_counts_is_normalised_as_scanpy_does(tmp_path, rng, kind):
    counts = rng.poisson(1.0, size=(20, 7)).astype(np.float32)
    counts[3] = 0  # an empty cell stays empty
    x = counts if kind == "dense" else sparse.csr_matrix(counts) if kind == "csr" else sparse.csc_matrix(counts)
    obs = pd.DataFrame({"sig_id": rng.choice(["b", "a"], 20)}, index=[f"c{i}" for i in rng.permutation(20)])
    data = ad.AnnData(x, obs, pd.DataFrame(index=[f"g{i}" for i in range(7)]))
    data.write_h5ad(tmp_path / "x.h5ad")
    found, ledger = run(tmp_path / "x.h5ad", obs, data.var, pert_types=None, qc_pass=False, genes="all", counts=True)
    sc.pp.normalize_total(data, target_sum=1e4)
    sc.pp.log1p(data)
    expected = data[found.obs_names].X
    assert np.allclose(found.X, expected if kind == "dense" else expected.toarray(), rtol=1e-5) and ledger.empty
    assert found.obs["sig_id"].tolist() == sorted(obs["sig_id"])  # replicates stand together


def test_values_and_counts_are_told_apart(tmp_path, rng, caplog):
    obs, var = (pd.DataFrame(index=[f"{kind}{i}" for i in range(5)]) for kind in "cg")
    every = {"pert_types": None, "qc_pass": False, "genes": "all"}
    ad.AnnData(rng.poisson(30, (5, 5)).astype(np.float32), obs, var).write_h5ad(tmp_path / "x.h5ad")
    run(tmp_path / "x.h5ad", obs, var, **every)
    assert "looks like raw counts; set input.counts to true" in caplog.text
    ad.AnnData(rng.normal(size=(5, 5)).astype(np.float32), obs, var).write_h5ad(tmp_path / "x.h5ad")
    with pytest.raises(InputError, match=r"input.counts: negative values, in profile 'c"):
        run(tmp_path / "x.h5ad", obs, var, **every, counts=True)


@pytest.mark.parametrize("suffix", [".gct", ".h5ad", ""])
def test_other_files_hold_the_same_profiles(tmp_path, matrix, siginfo, geneinfo, suffix):
    expected, _ = run(write(tmp_path / "x.gctx", matrix), siginfo, geneinfo)
    path = tmp_path / f"other{suffix}"
    if suffix == ".gct":
        write_gct(GCToo(matrix.T), str(path))
    elif suffix == ".h5ad":
        ad.AnnData(matrix).write_h5ad(path)
    else:  # a folder of files, one of which has its genes in another order and one more
        path.mkdir()
        write(path / "a.gctx", matrix[:3])
        write(path / "b.gctx", matrix[3:].iloc[:, ::-1].assign(more=0.0))
    found, ledger = run(path, siginfo, geneinfo)
    assert np.allclose(found.X, expected.X, atol=1e-3) and found.obs.equals(expected.obs) and len(ledger) == 7
