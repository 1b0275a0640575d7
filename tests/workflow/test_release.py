"""Real L1000 profiles through the whole workflow."""

import anndata as ad
import pandas as pd
import yaml
from conftest import ROOT


def test_real_release(snakemake, real_data, tmp_path):
    config = yaml.safe_load((ROOT / "config/release_example.yaml").read_text())
    config["curves"] |= {"quantiles": [0.3], "replicates": 2, "epochs": 3}
    config["drug_targets"] = {"quantiles": [0.3], "replicates": 1, "min_profiles": 1, "embedding": 8, "epochs": 10}
    directory, compounds = real_data / "l1000/release", "../metadata/compoundinfo_like_n34419.txt.gz"
    done = snakemake(tmp_path, config, "--config", f"input={{directory: {directory}, compoundinfo: {compounds}}}")
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
        drug_targets = pd.read_csv(results / target / "drug_targets.csv")
        assert drug_targets["reason"].isna().all() and 10 < drug_targets["n_pairs"].max() < 200
