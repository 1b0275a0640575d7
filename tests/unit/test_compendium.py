import anndata as ad
import numpy as np
import pandas as pd
import pytest

from dvgs.compendium import (
    NOT_FINITE,
    NOT_IN_MATRIX,
    NOT_IN_TABLE,
    OTHER_TYPE,
    QC_FAILED,
    gene_positions,
    ingest,
    read_obs,
    read_var,
    write_h5ad,
)  # fmt: skip
from dvgs.errors import InputError
from dvgs.gctx import GctxFile, write_gctx
from dvgs.profiles import Profiles, fit_scaling

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


def run(path, siginfo, geneinfo, pert_types=("trt_cp",), qc_pass=True, genes="landmark"):
    with GctxFile(path) as level5:
        types = None if pert_types is None else list(pert_types)
        return ingest(level5, siginfo, geneinfo, pert_types=types, qc_pass=qc_pass, genes=genes)


def test_every_profile_is_used_or_in_the_ledger_with_its_reason(tmp_path, matrix, siginfo, geneinfo):
    data, ledger = run(write(tmp_path / "x.gctx", matrix), siginfo, geneinfo)
    assert data.obs_names.tolist() == ["ok1", "ok2"] and data.var_names.tolist() == ["5", "200"]
    assert np.array_equal(data.X, matrix.loc[["ok1", "ok2"], ["5", "200"]])
    assert ledger.set_index("profile_id")["reason"].to_dict() == {
        "stranger": NOT_IN_TABLE, "control": OTHER_TYPE, "bad_control": OTHER_TYPE, "bad": QC_FAILED,
        "unknown_qc": QC_FAILED, "absent": NOT_IN_MATRIX, "nan": NOT_FINITE,
    }  # fmt: skip
    every = set(matrix.index) | set(siginfo.index)
    assert len(ledger) + data.n_obs == len(every) == len(set(ledger["profile_id"]) | set(data.obs_names))


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


def test_h5ad_round_trip(tmp_path, matrix, siginfo, geneinfo):
    data, _ = run(write(tmp_path / "x.gctx", matrix), siginfo, geneinfo)
    write_h5ad(tmp_path / "x.h5ad", data)
    found = ad.read_h5ad(tmp_path / "x.h5ad")
    assert np.array_equal(found.X, data.X) and found.obs["cmap_name"].tolist() == ["", "f"]
    assert read_obs(tmp_path / "x.h5ad").index.tolist() == ["ok1", "ok2"]
    assert read_var(tmp_path / "x.h5ad")["gene_symbol"].tolist() == ["E", "C"]


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


def test_missing_columns_and_genes_are_named(tmp_path, matrix, siginfo, geneinfo):
    path = write(tmp_path / "x.gctx", matrix)
    with pytest.raises(InputError, match="no column 'qc_pass'"):
        run(path, siginfo.drop(columns="qc_pass"), geneinfo)
    with pytest.raises(InputError, match="no landmark gene"):
        run(path, siginfo, geneinfo.assign(feature_space="inferred"))
    (tmp_path / "genes.txt").write_text("5\n77\n")
    with pytest.raises(InputError, match=r"1 genes are not in .* the first is '77'"):
        run(path, siginfo, geneinfo, genes=str(tmp_path / "genes.txt"))
    with GctxFile(path) as level4, pytest.raises(InputError, match="1 genes of level 5 are not in it"):
        gene_positions(level4, pd.Index(["5", "8"]))


@pytest.fixture
def stored(tmp_path, rng):
    x = (rng.normal(size=(50, 6)) * [1, 2, 3, 4, 5, 0] + [0, 1e4, 0, 0, 0, 7]).astype(np.float32)
    write_h5ad(tmp_path / "x.h5ad", ad.AnnData(x))
    return tmp_path / "x.h5ad", x


def test_scaling_is_fitted_on_the_given_rows_alone(stored, monkeypatch):
    path, x = stored
    monkeypatch.setattr("dvgs.profiles.SLAB", 7)
    rows = np.arange(0, 50, 2)
    scaling = fit_scaling(path, rows, "zscore")
    assert np.allclose(scaling["mean"], x[rows].mean(axis=0, dtype=np.float64), rtol=1e-7)
    assert np.allclose(scaling["sd"][:5], x[rows].std(axis=0, dtype=np.float64)[:5], rtol=1e-6)
    assert scaling["sd"][5] == 1  # a gene without variance
    with Profiles(path, scaling) as profiles:
        found = profiles.rows(np.array([0, 3, 8, 20, 49]))
    expected = (x[[0, 3, 8, 20, 49]] - scaling["mean"].to_numpy()) / scaling["sd"].to_numpy()
    assert np.allclose(found, expected, atol=2e-4) and found.dtype == np.float32


def test_no_scaling_leaves_profiles_as_they_are(stored):
    path, x = stored
    with Profiles(path, fit_scaling(path, np.arange(50), "none")) as profiles:
        assert np.array_equal(profiles.rows(np.arange(50)), x)
        assert profiles.rows(np.array([], int)).shape == (0, 6)
