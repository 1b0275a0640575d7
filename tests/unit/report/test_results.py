from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from dvgs.compendium.ledger import check_cleaned, read_ledger
from dvgs.io.files import write_csv, write_json
from dvgs.io.h5ad import write_h5ad
from dvgs.report.results import PACKAGES, read_results
from unit.report.result_examples import make_results, with_target


def write_target(folder, target):
    """The result files of a target, as lists of one path."""
    folder.mkdir()
    target.values.to_parquet(folder / "values.parquet")
    for name in ("convergence", "curves", "correlations", "truth", "drug_targets"):
        write_csv(folder / f"{name}.csv", getattr(target, name))
    write_json(folder / "cleaning.json", target.decision)
    obs = target.umap[["cell_iname"]].assign(cosine=target.umap["value"]).set_axis(target.values["profile_id"])
    umap = target.umap[["x", "y"]].to_numpy()
    write_h5ad(folder / "cleaned.h5ad", np.ones((len(obs), 1)), obs, pd.DataFrame(index=["g"]), obsm={"X_umap": umap})
    names = {"decisions": "cleaning.json", "cleaned": "cleaned.h5ad", "values": "values.parquet"}
    names |= {name: f"{name}.csv" for name in ("convergence", "curves", "correlations", "truth", "drug_targets")}
    return {name: [folder / file] for name, file in names.items()}


@pytest.fixture
def expected(rng):
    results = make_results(rng)
    cells = results.targets[0].umap.assign(cell_iname="A375")  # HDF5 has no text with a zero byte
    return with_target(results, umap=cells)


@pytest.fixture
def input(expected, tmp_path):
    expected.apc.drop(columns="cc_q75").to_parquet(tmp_path / "apc.parquet")
    obs = expected.apc[["sig_id", "cc_q75"]].assign(other=1).set_index("sig_id")
    write_h5ad(tmp_path / "signatures.h5ad", np.ones((len(obs), 1)), obs, pd.DataFrame(index=["g"]))
    found = {"apc": tmp_path / "apc.parquet", "signatures": tmp_path / "signatures.h5ad"}
    return SimpleNamespace(**found, **write_target(tmp_path / "general", expected.targets[0]))


def read(input, results):
    return read_results(input, results.config, results.n_input, results.ledger, results.replicate_ledger)


def assert_same(found, expected):
    """All fields of two results, tables by their columns in any order."""
    for name in (field.name for field in fields(expected)):
        one, other = getattr(found, name), getattr(expected, name)
        if isinstance(other, pd.DataFrame):
            pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True), check_like=True)
        elif name != "targets":
            assert one == other, name


def test_what_the_rules_wrote_is_read(input, expected):
    found = read(input, expected)
    assert found.versions.keys() == {"python", *PACKAGES} and found.versions["numpy"] == np.__version__
    assert_same(replace(found, versions=expected.versions), expected)
    assert len(found.targets) == 1
    assert_same(found.targets[0], expected.targets[0])
    assert (found.compendium, found.similarity) == ("demo", "cosine")


def test_profiles_without_coordinates_are_left_out_of_the_umap(input, expected, tmp_path):
    umap = expected.targets[0].umap
    umap.loc[::2, ["x", "y"]] = np.nan
    input.cleaned = write_target(tmp_path / "again", expected.targets[0])["cleaned"]
    assert_same(read(input, expected).targets[0], replace(expected.targets[0], umap=umap[1::2]))


def test_no_planted_faults_and_no_drug_targets(input, expected):
    input.truth = input.drug_targets = []  # as Snakemake gives them
    (target,) = read(input, expected).targets
    assert target.truth is None and target.drug_targets is None


def test_ids_may_look_like_missing_values_or_break_a_line(tmp_path):
    write_h5ad(tmp_path / "cleaned.h5ad", np.ones((1, 1)), pd.DataFrame(index=["a"]), pd.DataFrame(index=["g"]))
    dropped = pd.DataFrame({"profile_id": ["NA", "null", "None", "b\rc", "d\ne", "f\tg"], "value": 0.5})
    write_csv(tmp_path / "dropped.tsv", dropped, sep="\t")
    write_csv(tmp_path / "ledger.tsv", pd.DataFrame({"profile_id": ["nan"], "reason": ["any"]}), sep="\t")
    found = SimpleNamespace(cleaned=[tmp_path / "cleaned.h5ad"], dropped=[tmp_path / "dropped.tsv"])
    ledger = read_ledger(tmp_path / "ledger.tsv")
    check_cleaned(found, 8, ledger, ["general"])
    with pytest.raises(AssertionError, match="general: of 9 profiles 1 left out, 6 dropped, 1 cleaned"):
        check_cleaned(found, 9, ledger, ["general"])
    assert read_ledger(tmp_path / "dropped.tsv")["profile_id"].tolist()[3:] == ["b c", "d\ne", "f\tg"]
