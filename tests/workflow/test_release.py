"""Real L1000 profiles through the whole workflow."""

import anndata as ad
import pandas as pd
import yaml
from conftest import ROOT


def test_real_release(snakemake, real_data, tmp_path):
    config = yaml.safe_load((ROOT / "config/release_example.yaml").read_text())
    config["curves"] |= {"quantiles": [0.3], "replicates": 2, "epochs": 3}
    directory = real_data / "l1000/release"
    done = snakemake(tmp_path, config, "--config", f"input={{directory: {directory}}}")
    assert done.returncode == 0, done.stdout + done.stderr

    results = tmp_path / "results/release_example"
    assert ad.read_h5ad(results / "signatures.h5ad").shape == (430, 976)
    apc = pd.read_parquet(results / "apc.parquet")
    assert (apc["reason"] == "single replicate").sum() == 328 and apc["apc"].notna().sum() == 102
    missing = "CPC004_A375_6H_X3_B3_DUO52HI53LO:E07"
    assert pd.read_csv(results / "replicate_ledger.tsv", sep="\t")["profile_id"].tolist() == [missing]
    page = (results / "report.html").read_text()
    assert missing in page and "430" in page and "328" in page
    for target in ("general", "high_apc"):
        values = pd.read_parquet(results / target / "values.parquet")
        assert len(values) == 430 and values["cosine"].notna().all()
        assert ad.read_h5ad(results / target / "cleaned.h5ad").n_obs > 0
