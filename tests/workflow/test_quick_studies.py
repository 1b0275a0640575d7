"""The quick preset of the studies, on ADULT and BLOG as they are published."""

import pandas as pd

from .conftest import SMALL


def test_quick_preset_finds_faults(snakemake, real_data, tmp_path):
    done = snakemake(tmp_path, SMALL | {"studies": {"directory": str(real_data)}}, "--", "studies")
    assert done.returncode == 0, done.stdout + done.stderr

    def auroc(study):
        summary = pd.read_csv(tmp_path / f"results/studies/quick/{study}/summary.csv")
        return summary[summary["measure"] == "auroc"].set_index("method")["mean"]

    for study in ("adult_labels", "blog_labels"):
        assert auroc(study)["dvgs"] > max(auroc(study)["random"] + 0.1, 0.65)
    assert auroc("adult_noise")["profile_norm"] > 0.9
