"""Other compendia than signatures: single replicates of a release, and profiles that are no LINCS at all."""

from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scanpy
import yaml
from cmapPy.pandasGEXpress.parse import parse
from conftest import ROOT

from dvgs.io.gctx import write_gctx
from dvgs.replicates.modz import modz

from .conftest import FILES, SMALL, WITHOUT_SIMULATION, write_release


def test_replicates_are_valued_and_collapsed_again(snakemake, tmp_path):
    config = SMALL | {
        "level": 4,
        "simulation": {"n_signatures": 120},
        "apc": {"null_groups": 50, "null_within": "plate"},
    }
    config |= {"targets": {"general": {"target_size": 40, "test_size": 30}}, "clean": {"cutoff": 0.5}}
    done = snakemake(tmp_path, config)
    assert done.returncode == 0, done.stdout + done.stderr
    results = tmp_path / "results/small"

    obs = ad.read_h5ad(results / "signatures.h5ad").obs
    apc = pd.read_parquet(results / "apc.parquet")
    assert apc["profile_id"].tolist() == obs.index.tolist() and apc["apc"].notna().sum() > 100
    assert (apc.loc[apc["n_replicates"] == 1, "reason"] == "single replicate").all()
    cleaned = ad.read_h5ad(results / "general/cleaned.h5ad")
    dropped = pd.read_csv(results / "general/dropped.tsv", sep="\t")
    assert len(cleaned) + len(dropped) == len(obs) and len(dropped) > 50

    level5 = parse(str(results / "general/cleaned_level5.gctx"))
    gone = pd.read_csv(results / "general/cleaned_level5_ledger.tsv", sep="\t")
    assert set(level5.data_df.columns) | set(gone["sig_id"]) == set(obs["sig_id"]) - {""}
    assert len(gone) and set(gone["reason"]) == {"all replicates dropped"}
    for sig_id in level5.data_df.columns[::7]:
        replicates = cleaned[cleaned.obs["sig_id"] == sig_id]
        assert np.allclose(level5.data_df[sig_id], modz(replicates.X)[0], atol=1e-5)
        assert level5.col_metadata_df.loc[sig_id, "distil_ids"] == "|".join(replicates.obs_names)


GEO = {"cell_iname": "cell_id", "cmap_name": "pert_iname", "distil_ids": "distil_id", "gene_id": "pr_gene_id"}


def test_tables_as_geo_has_them(snakemake, tmp_path):
    write_release(tmp_path)
    for name in ("siginfo.txt", "geneinfo.txt"):
        table = pd.read_csv(tmp_path / name, sep="\t", dtype=str, keep_default_na=False).rename(columns=GEO)
        if "feature_space" in table:
            table["pr_is_lm"] = (table.pop("feature_space") == "landmark").astype(int)
        table.drop(columns="qc_pass", errors="ignore").to_csv(tmp_path / f"{name}.gz", sep="\t", index=False)
    files = FILES | {"siginfo": "siginfo.txt.gz", "geneinfo": "geneinfo.txt.gz"}
    config = WITHOUT_SIMULATION | {"input": files}
    apc = "results/small/apc.parquet"
    done = snakemake(tmp_path, config, "--", apc)
    assert done.returncode == 1 and "select.qc_pass: the table has no column 'qc_pass'; set it to false" in done.stderr
    done = snakemake(tmp_path, config | {"select": {"qc_pass": False}}, "--", apc)
    assert done.returncode == 0, done.stdout + done.stderr
    assert pd.read_parquet(tmp_path / apc)["apc"].notna().sum() > 20
    signatures = ad.read_h5ad(tmp_path / "results/small/signatures.h5ad")
    assert signatures.n_vars == 978 and (signatures.obs["cell_iname"] != "").all()


def test_cells_that_come_with_scanpy(snakemake, tmp_path):
    config = yaml.safe_load((ROOT / "config/pbmc_example.yaml").read_text())
    config["input"]["profiles"] = str(Path(scanpy.__file__).parent / "datasets/10x_pbmc68k_reduced.h5ad")
    config["targets"] = {"general": {"target_size": 80, "test_size": 80}}
    config["trajectory"] = {"epochs": 5}
    config["curves"] |= {"quantiles": [0.3], "replicates": 1, "epochs": 2}
    done = snakemake(tmp_path, config, "--", "results/pbmc/general/dropped.tsv", "results/pbmc/apc.parquet")
    assert done.returncode == 0, done.stdout + done.stderr
    apc = pd.read_parquet(tmp_path / "results/pbmc/apc.parquet")
    assert len(apc) == 700 and apc["apc"].notna().all() and apc["apc"].mean() > 0.02
    assert len(ad.read_h5ad(tmp_path / "results/pbmc/signatures.h5ad").obs["sig_id"].unique()) == 10


def test_a_file_changed_in_its_folder_is_read_again(snakemake, tmp_path):
    ids, metadata = [f"p{i}" for i in range(40)], pd.DataFrame({"kind": ["a", "b"] * 20})
    (tmp_path / "folder").mkdir()
    write_gctx(tmp_path / "folder/a.gctx", np.ones((40, 3)), ids, "xyz", metadata)
    config = {
        "compendium": "c",
        "input": {"profiles": "folder", "columns": {"replicate": "kind"}},
        "targets": {"t": {}},
    }
    ledger = "results/c/ledger.tsv"
    assert snakemake(tmp_path, config, "--", ledger).returncode == 0
    assert "Nothing to be done" in snakemake(tmp_path, config, "--", ledger).stderr
    with h5py.File(tmp_path / "folder/a.gctx", "r+") as file:
        file["0/DATA/0/matrix"][7, 1] = np.nan
    done = snakemake(tmp_path, config, "--", ledger)
    assert done.returncode == 0 and "p7" in (tmp_path / ledger).read_text(), done.stderr
