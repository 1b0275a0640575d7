import gzip
import logging

import numpy as np
import pandas as pd
import pytest
import torch

from dvgs.errors import InputError
from dvgs.evaluation.drug_targets import (
    PAIR_COLUMNS,
    DrugTargetSettings,
    compare_drug_targets,
    encode_conditions,
    kept_by_method,
    read_drug_targets,
)
from dvgs.training.models import make_perturbation_model

HOSTILE = ["../etc/passwd", "<script>", "$(rm -rf)", "100", "01", "naïve µ", "a|b", "'; DROP"]
COMPOUNDS = [*HOSTILE, *(f"BRD-K{i:04d}" for i in range(22))]
PER_COMPOUND, GENES = 8, 12
SETTINGS = {"methods": ["dvgs", "random"], "quantiles": [0.5], "replicates": 2, "min_profiles": 1, "embedding": 4}
SETTINGS |= {"hidden": [16], "epochs": 30, "batch_size": 64, "learning_rate": 0.02, "n_draws": 99}


def compare(x, *tables, seed=3, **settings):
    return compare_drug_targets(x.__getitem__, *tables, DrugTargetSettings.from_config(**settings), seed)


@pytest.fixture
def data(rng):
    """Profiles of compounds of five drug targets, half of them noise alone, which the values know."""
    n = len(COMPOUNDS) * PER_COMPOUND
    compound = np.repeat(np.arange(len(COMPOUNDS)), PER_COMPOUND)
    effect = rng.normal(size=(5, GENES))[compound % 5] + 0.3 * rng.normal(size=(len(COMPOUNDS), GENES))[compound]
    good = np.arange(n) % 2 == 0
    x = np.where(good[:, None], effect, 0) + rng.normal(size=(n, GENES)) * np.where(good, 0.5, 3)[:, None]
    obs = pd.DataFrame({"pert_id": np.array(COMPOUNDS, object)[compound], "cell_iname": np.tile(["A", "B"], n // 2)})
    obs["pert_time"], obs["pert_dose"], obs["pert_dose_unit"] = 24.0, rng.choice([1.0, 10.0], n), "uM"
    obs.index = [f"{HOSTILE[i % len(HOSTILE)]}:{i}" for i in range(n)]
    values = pd.DataFrame({"dvgs": good + rng.random(n) / 2}, index=obs.index)
    drug_targets = pd.DataFrame({"pert_id": COMPOUNDS, "target": [f"T{i % 5}" for i in range(len(COMPOUNDS))]})
    return torch.from_numpy(x.astype(np.float32)), obs, values, drug_targets


def shuffled(frame, seed):
    return frame.sample(frac=1, random_state=seed)


def test_planted_drug_targets_are_found_and_dropping_noise_helps(data):
    table = compare(*data, **SETTINGS)
    assert list(table.columns) == PAIR_COLUMNS
    keys = table.set_index(["method", "quantile", "replicate"])
    assert len(keys) == 12 and keys.index.is_unique and (table["reason"] == "").all()
    whole, clean, random = (keys.loc[key] for key in (("dvgs", 0, "all"), ("dvgs", 0.5, "all"), ("random", 0.5, "all")))
    assert whole["p"] == 0.01 and whole["auroc_low"] > 0.5 and whole["difference_low"] > 0
    assert clean["gain_low"] > 0 and clean["change_low"] > 0
    assert clean["gain"] == pytest.approx(clean["difference"] - random["difference"])
    assert clean["change"] == pytest.approx(clean["difference"] - whole["difference"])


def test_every_training_has_equal_steps_and_every_comparison_the_same_pairs(data):
    table = compare(*data, **SETTINGS)
    assert (table["steps"] == 30 * 4).all()  # 240 profiles in batches of 64
    assert table.groupby("quantile")["n_profiles"].unique().map(list).to_dict() == {0.0: [240], 0.5: [120]}
    for name in ("n_compounds", "n_pairs", "n_random_pairs"):
        assert table[name].nunique() == 1
    n = table["n_compounds"][0]
    assert n <= 30 and table["n_pairs"][0] + table["n_random_pairs"][0] == n * (n - 1) / 2
    undropped = table[table["quantile"] == 0].set_index(["method", "replicate"])["difference"]
    assert (undropped["dvgs"] == undropped["random"]).all()


def test_drug_targets_of_other_compounds_mean_nothing(data, rng):
    x, obs, values, drug_targets = data
    found = [
        compare(
            x,
            obs,
            values,
            drug_targets.assign(target=rng.permutation(drug_targets["target"])),
            **SETTINGS | {"methods": ["dvgs"], "replicates": 1, "epochs": 10},
        )["p"][0]
        for _ in range(12)
    ]
    assert np.median(found) > 0.1 and min(found) >= 0.01


def test_rows_are_joined_by_id(data):
    x, obs, values, drug_targets = data
    strangers = pd.DataFrame({"dvgs": 9.0}, index=["stranger"])
    others = pd.DataFrame({"pert_id": ["stranger", COMPOUNDS[0]], "target": ["T0", "T-alone"]})
    found = compare(
        x,
        obs,
        shuffled(pd.concat([values, strangers]), 1),
        shuffled(pd.concat([drug_targets, others]), 2),
        **SETTINGS,
    )
    pd.testing.assert_frame_equal(found, compare(*data, **SETTINGS))


def test_profiles_of_unknown_dose_are_as_if_they_were_not_there(data, rng):
    x, obs, values, drug_targets = data
    unknown = obs.index.isin(rng.choice(obs.index, 50, replace=False))
    rest = compare(x[torch.from_numpy(~unknown)], obs[~unknown], values, drug_targets, **SETTINGS)
    obs.loc[unknown, "pert_dose"] = np.nan
    pd.testing.assert_frame_equal(compare(x, obs, values, drug_targets, **SETTINGS), rest)


def test_profiles_without_a_value_take_no_part(data):
    x, obs, values, drug_targets = data
    values.loc[obs["pert_id"] == COMPOUNDS[3], "dvgs"] = np.nan
    found = compare(x, obs, values, drug_targets, **SETTINGS)
    assert found["n_profiles"].max() == 240 - PER_COMPOUND and found["n_compounds"].max() <= 29
    rest = (obs["pert_id"] != COMPOUNDS[3]).to_numpy()
    alone = compare(x[torch.from_numpy(rest)], obs[rest], values, drug_targets, **SETTINGS)
    assert alone["n_pairs"].tolist() == found["n_pairs"].tolist()


@pytest.mark.parametrize("spoil", ["twice", "absent"])
def test_ids_that_do_not_fit_are_an_error(data, spoil):
    x, obs, values, drug_targets = data
    values = pd.concat([values, values.head(1)]) if spoil == "twice" else values.drop(obs.index[7])
    with pytest.raises(InputError, match="two rows for" if spoil == "twice" else "no row for"):
        compare(x, obs, values, drug_targets, **SETTINGS)


def test_compounds_must_have_profiles_in_every_training_and_a_partner(data):
    x, obs, values, drug_targets = data
    lost, alone = COMPOUNDS[0], COMPOUNDS[1]
    values.loc[obs["pert_id"] == lost, "dvgs"] = -1.0  # none of them is kept
    drug_targets.loc[drug_targets["pert_id"] == alone, "target"] = "of no other"
    settings = SETTINGS | {"methods": ["dvgs"], "min_profiles": 3, "epochs": 1}
    table = compare(x, obs, values, drug_targets[drug_targets["pert_id"] != COMPOUNDS[2]], **settings)
    kept = obs["pert_id"][(values["dvgs"] >= values["dvgs"].quantile(0.5)).to_numpy()].value_counts()
    compared = set(kept.index[kept >= 3]) - {lost, alone, COMPOUNDS[2]}
    assert table["n_compounds"].tolist() == [len(compared)] * len(table) and len(compared) > 20


def test_few_compounds_with_many_profiles(data):
    x, obs, values, drug_targets = data
    few = obs["pert_id"].isin([COMPOUNDS[i] for i in (0, 5, 1)]).to_numpy()  # the first two share T0
    settings = SETTINGS | {"methods": ["dvgs"], "quantiles": [0.1], "min_profiles": 5}
    table = compare(x[torch.from_numpy(few)], obs[few], values, drug_targets, **settings)
    assert table["n_compounds"].tolist() == [2] and "share none" in table["reason"][0]


CASES = ["no shared", "all shared", "no compound known", "too few profiles", "nothing given", "no values"]


@pytest.mark.parametrize("case", CASES)
def test_nothing_to_compare_is_said_in_one_row(data, case, caplog):
    x, obs, values, drug_targets = data
    settings = SETTINGS | {"min_profiles": 99 if case == "too few profiles" else 1}
    if case == "no shared":
        drug_targets = drug_targets.assign(target=drug_targets["pert_id"])
    elif case == "all shared":
        drug_targets = drug_targets.assign(target="one")
    elif case == "no compound known":
        drug_targets = drug_targets.assign(pert_id="stranger")
    elif case == "nothing given":
        obs = obs.assign(pert_dose=np.nan)
    elif case == "no values":
        values = values * np.nan
    with caplog.at_level(logging.INFO, "dvgs"):
        table = compare(x, obs, values, drug_targets, **settings)
    assert list(table.columns) == PAIR_COLUMNS and len(table) == 1 and table["difference"].isna().all()
    assert ("share none" if case == "all shared" else "share a drug target") in table["reason"][0]
    assert "nothing to compare" in caplog.text


def test_same_seed_same_table(data):
    first, again, other = (compare(*data, **SETTINGS | {"seed": seed, "epochs": 2}) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert not first["difference"].equals(other["difference"])


def test_what_is_kept_is_what_the_value_says():
    values = pd.DataFrame({"dvgs": [0.0, 1, 2, 3]})
    masks = kept_by_method(values, ["dvgs", "random"], [0.0, 0.5], 2, seed=1)
    assert masks["dvgs", 0.5, 1].tolist() == [False, False, True, True] and masks["random", 0.0, 0].all()
    assert {mask.sum() for (*_, q, _), mask in masks.items() if q} == {2}


def test_conditions_are_numbered_and_scaled():
    obs = pd.DataFrame(
        [
            ("b", "A375", 6, 10, "uM"),
            ("a", "PC3", 24, 1, "uM"),
            ("b", "A375", 24, 0.1, "uM"),
            ("", "A375", 24, 1, "uM"),
            ("a", "-666", 24, 1, "uM"),
            ("a", "A375", 24, -666, "uM"),
            ("a", "A375", np.nan, 1, "uM"),
            ("a", "A375", 24, 1, "ng/ml"),
        ],
        columns=["pert_id", "cell_iname", "pert_time", "pert_dose", "pert_dose_unit"],
        index=[f"s{i}" for i in range(8)],
    )
    found, perturbagens = encode_conditions(obs.assign(pert_id=obs["pert_id"].astype("category")))
    assert found.index.tolist() == ["s0", "s1", "s2"] and perturbagens.tolist() == ["a", "b"]
    assert found["perturbagen"].tolist() == [1, 0, 1] and found["cell"].tolist() == [0, 1, 0]
    np.testing.assert_allclose(found["dose"], np.array([1, 0, -1]) * np.sqrt(1.5), rtol=1e-6)
    assert found["time"].mean() == pytest.approx(0, abs=1e-6) and (found.dtypes == np.float32).all()
    units, _ = encode_conditions(obs.drop(columns="pert_dose_unit"))
    assert units.index.tolist() == ["s0", "s1", "s2", "s7"]
    nothing, perturbagens = encode_conditions(obs[["pert_id"]])
    assert len(nothing) == 0 and len(perturbagens) == 0


def test_model_is_its_layers_one_after_the_other():
    model = make_perturbation_model(5, 3, 7, embedding=4, hidden=[6], seed=1)
    assert (model.perturbagen.weight == 0).all()
    torch.nn.init.normal_(model.perturbagen.weight)
    first, _, last = model.expression
    given = torch.tensor([[4, 2, 0.5, -1.5]])
    z = torch.cat([model.perturbagen.weight[4], model.cell.weight[2], torch.tensor([0.5, -1.5])])
    expected = last(torch.nn.functional.mish(first(z)))
    torch.testing.assert_close(model(given)[0], expected)
    again = make_perturbation_model(5, 3, 7, embedding=4, hidden=[6], seed=1)
    assert torch.equal(again.expression[0].weight, model.expression[0].weight)


def test_embeddings_learn_what_a_perturbagen_does(data):
    """Two perturbagens that do the same become alike, and others do not."""
    table = compare(*data, **SETTINGS | {"replicates": 1})
    assert table["cosine_same"].max() > 0.5 and table["cosine_random"].abs().max() < 0.4


class TestReading:
    def write(self, path, text):
        path.write_text(text)
        return path

    def test_pairs_once_and_without_what_is_missing(self, tmp_path):
        rows = [
            "target\tmoa\tpert_id",
            "B\tx\tp1",
            "A\ty\tp1",
            "B\tz\tp1",
            "\t\tp2",
            '""\t\tp3',
            "-666\t\tp4",
            "A\tx\t",
        ]
        rows += ["A; C;\tx\tp5", "D|A\tx\tp5"]
        path = self.write(tmp_path / "compoundinfo.txt", "\n".join(rows))
        expected = [("p1", "A"), ("p1", "B"), ("p5", "A"), ("p5", "C"), ("p5", "D")]
        assert list(read_drug_targets(path).itertuples(index=False, name=None)) == expected
        zipped = tmp_path / "compoundinfo.txt.gz"
        zipped.write_bytes(gzip.compress(path.read_bytes()))
        pd.testing.assert_frame_equal(read_drug_targets(zipped), read_drug_targets(path))

    def test_no_target_at_all(self, tmp_path):
        found = read_drug_targets(self.write(tmp_path / "c.txt", "pert_id\ttarget\np1\t\n"))
        assert len(found) == 0 and list(found.columns) == ["pert_id", "target"]

    @pytest.mark.parametrize("column", ["pert_id", "target"])
    def test_a_missing_column_is_named(self, tmp_path, column):
        path = self.write(tmp_path / "c.txt", "pert_id\ttarget\n".replace(column, "other"))
        with pytest.raises(InputError, match=f"input.compoundinfo: it has no column '{column}'"):
            read_drug_targets(path)

    def test_a_real_table(self, real_data):
        path = real_data / "l1000/metadata/compoundinfo_like_n34419.txt.gz"
        found = read_drug_targets(path)
        assert found["pert_id"].nunique() == 3162 and not found.duplicated().any()
        assert found.loc[found["pert_id"] == "BRD-K43002773", "target"].tolist() == ["AKT1", "AKT2", "AKT3"]
        assert not found["target"].str.contains(r"[;| ]").any()
