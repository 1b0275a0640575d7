import anndata as ad
import numpy as np
import pandas as pd
import pytest

from dvgs.compendium.ingestion import ingest
from dvgs.compendium.metadata import describe_profiles, describe_replicates, gene_table
from dvgs.compendium.selection import Selection
from dvgs.errors import InputError
from dvgs.evaluation.apc_correlations import dose_band
from dvgs.io.formats import open_matrix
from dvgs.io.gctx import write_gctx
from dvgs.io.h5ad import read_obs
from dvgs.io.tables import uniform


def test_replicates_get_the_first_signature_that_names_them(caplog):
    siginfo = pd.DataFrame({"distil_ids": ["b|a", "c|b", np.nan]}, index=["s", "t", "u"])
    instinfo = pd.DataFrame({"pert_id": list("pqrx")}, index=["c", "b", "a", "stranger"])
    table = describe_replicates(instinfo, siginfo)
    assert table["sig_id"].to_dict() == {"c": "t", "b": "s", "a": "s", "stranger": ""}
    assert "1 replicates belong to several signatures" in caplog.text


@pytest.mark.parametrize("distil_ids", ["x|y", np.nan])
def test_siginfo_of_another_release_is_refused(distil_ids):
    siginfo, instinfo = pd.DataFrame({"distil_ids": [distil_ids]}, ["s"], dtype=object), pd.DataFrame(index=["a"])
    siginfo.attrs["path"] = "siginfo.txt"
    message = (
        r"siginfo.txt: input.siginfo: none of the [02] replicates that it names .* give siginfo and instinfo of one"
    )
    with pytest.raises(InputError, match=message):
        describe_replicates(instinfo, siginfo)


@pytest.fixture
def matrix(tmp_path):
    obs = pd.DataFrame({"donor": [1, 2, 1], "type": ["B", None, "T"], "pert_id": ["x", "y", "z"]}, index=list("abc"))
    var = pd.DataFrame({"highly": [True, False]}, index=["g", "h"])
    ad.AnnData(np.ones((3, 2), np.float32), obs, var).write_h5ad(tmp_path / "x.h5ad")
    with open_matrix(tmp_path / "x.h5ad", "input.profiles") as file:
        yield file


def test_columns_get_the_names_that_the_workflow_knows(matrix):
    table = describe_profiles(matrix, {"replicate": "type", "perturbagen": None, "cell": "donor"})
    assert table["sig_id"].tolist() == ["B", "", "T"] == table["pert_id"].tolist()
    assert table["cell_iname"].tolist() == ["1", "2", "1"] and table["file_pert_id"].tolist() == ["x", "y", "z"]
    assert "file_pert_id" not in describe_profiles(matrix, {"perturbagen": "pert_id"})
    assert describe_profiles(matrix, {})["cell_iname"].tolist() == ["all"] * 3
    assert gene_table(matrix).index.tolist() == ["g", "h"]


def test_missing_categories_are_empty_text(tmp_path):
    batch, lane = pd.Categorical(["a", None, "-666"]), pd.Categorical([1, 2, None])
    obs = pd.DataFrame({"batch": batch, "lane": lane}, index=list("pqr"))
    ad.AnnData(np.ones((3, 2), np.float32), obs).write_h5ad(tmp_path / "x.h5ad")
    with open_matrix(tmp_path / "x.h5ad", "input.profiles") as file:
        table = describe_profiles(file, {})
        ingest(tmp_path / "y.h5ad", file, table, gene_table(file), Selection())
    found = read_obs(tmp_path / "y.h5ad")
    assert found["batch"].tolist() == ["a", "", ""] and found["lane"].iloc[2] == ""


def test_columns_that_are_called_alike_are_kept_apart(tmp_path):
    names = ["profile_id", "sig_id", "file_sig_id", "cosine", "file_cosine", ".", "a/b", "file_a_b"]
    obs = pd.DataFrame({name: [f"{name}1", f"{name}2"] for name in names}, index=["p", "q"])
    write_gctx(tmp_path / "x.gctx", np.ones((2, 1)), obs.index, ["g"])
    with open_matrix(tmp_path / "x.gctx", "input.profiles") as file:
        file.metadata = lambda axis: obs if axis == "profile" else pd.DataFrame(index=["g"])
        table = describe_profiles(file, {"replicate": "cosine"})
        ingest(tmp_path / "y.h5ad", file, table, gene_table(file), Selection())
    found = read_obs(tmp_path / "y.h5ad").loc["p"].drop(["pert_id", "cell_iname"])
    assert found.to_dict() == {
        "sig_id": "cosine1", "file_profile_id": "profile_id1", "file_sig_id_2": "sig_id1",
        "file_sig_id": "file_sig_id1", "file_cosine_2": "cosine1", "file_cosine": "file_cosine1",
        "file_.": ".1", "file_a_b_2": "a/b1", "file_a_b": "file_a_b1",
    }  # fmt: skip


def test_a_folder_of_gctx_describes_its_profiles(tmp_path):
    for name, donor in (("b", ["1", "1"]), ("a", ["2"])):
        metadata = pd.DataFrame({"donor": donor})
        write_gctx(
            tmp_path / f"{name}.gctx",
            np.ones((len(donor), 2)),
            [f"{name}{d}" for d in range(len(donor))],
            "gh",
            metadata,
        )
    with open_matrix(tmp_path, "input.profiles") as matrix:
        table = describe_profiles(matrix, {"replicate": "donor"})
    assert table["sig_id"].to_dict() == {"a0": "2", "b0": "1", "b1": "1"}


def test_what_is_missing_in_a_file_is_no_label(tmp_path):
    metadata = pd.DataFrame({"replicate": ["", "-666", None, "s"], "cell": "A", "dose": [np.nan, 1.0, 2.0, 3.0]})
    write_gctx(tmp_path / "x.gctx", np.ones((4, 2)), "abcd", "gh", metadata)
    with open_matrix(tmp_path / "x.gctx", "input.profiles") as matrix:
        table = describe_profiles(matrix, {"replicate": "replicate", "cell": "cell"})
    assert table["sig_id"].tolist() == ["", "", "", "s"] == table["pert_id"].tolist()
    assert np.isnan(table["dose"].iloc[0]) and table["dose"].tolist()[1:] == [1, 2, 3]


@pytest.mark.parametrize("kind", [object, "category"])
def test_doses_of_a_file_are_as_those_of_a_release(tmp_path, kind):
    obs = {"pert_dose": ["10", "500", "-666", "x"], "pert_dose_unit": ["um", "nM", "-666", "ng/mL"]}
    obs = pd.DataFrame(obs | {"qc_pass": ["True", "1", "False", ""]}, index=list("abcd")).astype(kind)
    ad.AnnData(np.ones((4, 2), np.float32), obs).write_h5ad(tmp_path / "x.h5ad")
    with open_matrix(tmp_path / "x.h5ad", "input.profiles") as matrix:
        table = describe_profiles(matrix, {})
    assert np.allclose(table["pert_dose"], [10, 0.5, np.nan, np.nan], equal_nan=True)
    assert table["pert_dose_unit"].fillna("").tolist() == ["uM", "uM", "", "ng/ml"]
    assert np.array_equal(table["qc_pass"], [1, 1, 0, np.nan], equal_nan=True)
    assert dose_band(table["pert_dose"], table["pert_dose_unit"])[:2].tolist() == ["1 to 10 µM", "0.1 to 1 µM"]


@pytest.mark.parametrize("unit", [np.nan, 1.0, "ng/mL"])
def test_doses_of_no_molar_unit(unit):
    table = uniform(pd.DataFrame({"pert_dose": [2.0], "pert_dose_unit": [unit], "pert_idose": [3]}))
    assert table["pert_dose"].tolist() == [2]


def test_an_anndata_without_x_gets_one_line(tmp_path):
    data = ad.AnnData(obs=pd.DataFrame(index=["p", "q"]), var=pd.DataFrame(index=["g"]))
    data.layers["counts"] = np.ones((2, 1))
    data.write_h5ad(tmp_path / "x.h5ad")
    with pytest.raises(InputError, match=r"x.h5ad: input.profiles: it has no X; put the matrix to use into X"):
        open_matrix(tmp_path / "x.h5ad", "input.profiles")


def test_a_column_that_is_not_there_is_named(matrix):
    message = r"input.columns.cell: its profiles have no column 'line' \(there are donor, type, pert_id\)"
    with pytest.raises(InputError, match=message):
        describe_profiles(matrix, {"cell": "line"})


@pytest.mark.parametrize("name", ["x.h5ad", "x.gct", "x.gctx", "folder"])
def test_files_that_are_something_else_get_one_line(tmp_path, name):
    path = tmp_path / name
    path.mkdir() if name == "folder" else path.write_text("no such thing\n1\t2\n")
    with pytest.raises(InputError, match=rf"{name}: input.profiles: .*; give") as caught:
        open_matrix(path, "input.profiles")
    assert "\n" not in str(caught.value)
