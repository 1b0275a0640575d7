"""The quick preset of the studies, on ADULT and BLOG as they are published, or on files made up like them."""

import numpy as np
import pandas as pd
import pytest
from conftest import REAL_DATA
from public_examples import write_adult, write_blog

from .conftest import SMALL


@pytest.fixture
def public_data(tmp_path):
    if (REAL_DATA / "adult").is_dir() and (REAL_DATA / "blog").is_dir():
        return REAL_DATA
    write_adult(tmp_path / "data/adult", np.random.default_rng(5))
    write_blog(tmp_path / "data/blog", np.random.default_rng(6))
    return tmp_path / "data"


def test_quick_preset_finds_faults(snakemake, public_data, tmp_path):
    done = snakemake(tmp_path, SMALL | {"studies": {"directory": str(public_data)}}, "--", "studies")
    assert done.returncode == 0, done.stdout + done.stderr

    def auroc(study):
        summary = pd.read_csv(tmp_path / f"results/studies/quick/{study}/summary.csv")
        return summary[summary["measure"] == "auroc"].set_index("method")["mean"]

    for study in ("adult_labels", "blog_labels"):
        assert auroc(study)["dvgs"] > max(auroc(study)["random"] + 0.1, 0.65)
    assert auroc("adult_noise")["profile_norm"] > 0.9
