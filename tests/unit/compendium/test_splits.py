import numpy as np
import pandas as pd
import pytest

from dvgs.compendium.splits import CALIBRATION, calibration_rows, draw_split, target_rows, valued_rows
from dvgs.errors import InputError


@pytest.fixture
def obs(rng):
    # One perturbagen with half of all profiles, fifty with the rest.
    perturbagen = np.where(np.arange(1000) < 500, "big", [f"p{i % 50}" for i in range(1000)])
    return pd.DataFrame({"pert_id": perturbagen}, index=[f"s{i}" for i in range(1000)])


def draw(obs, apc=None, seed=1, **kwargs):
    settings = {"target": "t", "min_apc": None, "target_size": 50, "test_size": 40, "validation_share": 0.2} | kwargs
    apc = np.full(len(obs), np.nan) if apc is None else apc
    return draw_split(obs, apc, rng=np.random.default_rng(seed), **settings)


def test_everyone_has_one_role_and_is_valued_once(obs):
    split = draw(obs)
    assert split["role"].value_counts().to_dict() == {"source": 910, "target": 40, "test": 40, "validation": 10}
    assert (split["profile_id"] == obs.index).all()
    first, second = (set(valued_rows(split, d)) for d in ("first", "second"))
    assert first | second == set(range(1000)) and not first & second


def test_no_profile_is_valued_by_a_trajectory_trained_on_it(obs):
    split = draw(obs)
    for name in ("first", "second"):
        assert len(target_rows(split, name)) == 40
        assert not set(target_rows(split, name)) & set(valued_rows(split, name))


def test_all_draws_are_balanced_by_perturbagen_alike(obs):
    splits = [draw(obs, seed=s) for s in range(60)]
    big = (obs["pert_id"] == "big").to_numpy()
    for role in ("target", "validation", "test"):
        share = np.mean([big[s["role"] == role].mean() for s in splits])
        assert share < 0.06, role  # one perturbagen of 51, although it has half of the profiles
    assert np.mean([big[s["second_target"]].mean() for s in splits]) < 0.06


def test_profiles_of_unknown_perturbagen_are_drawn_as_often_as_the_others(obs):
    unknown = np.arange(1000) % 2 == 0
    splits = [draw(obs.assign(pert_id=obs["pert_id"].mask(unknown, "")), seed=s) for s in range(60)]
    drawn = np.array([(s["role"] != "source") for s in splits])
    assert abs(drawn[:, unknown].sum() / drawn.sum() - 0.5) < 0.03
    nobody = draw(obs.assign(pert_id=""))
    assert (nobody["role"] != "source").sum() == 90


def test_sets_are_exchangeable_when_most_profiles_are_drawn():
    obs = pd.DataFrame({"pert_id": ["big"] * 300 + [f"p{i}" for i in range(100)]}, index=range(400))
    splits = [draw(obs, seed=s, target_size=80, test_size=64) for s in range(60)]
    first = np.mean([(obs["pert_id"] == "big")[(s["role"] == "target").to_numpy()].mean() for s in splits])
    second = np.mean([(obs["pert_id"] == "big")[s["second_target"].to_numpy()].mean() for s in splits])
    assert abs(first - second) < 0.04


def test_some_source_profiles_are_valued_along_both_trajectories(obs):
    split = draw(obs)
    rows = calibration_rows(split)
    assert len(rows) == CALIBRATION == len(set(rows))
    assert (split["role"].iloc[rows] == "source").all() and not split["second_target"].iloc[rows].any()


def test_of_few_source_profiles_all_are(obs):
    split = draw(obs).assign(second_target=False)
    split.loc[100:, "role"] = "test"
    assert np.array_equal(calibration_rows(split), np.flatnonzero(split["role"] == "source"))


def test_validation_needs_two_profiles(obs):
    with pytest.raises(InputError, match=r"validation_share: 0\.2 of 6 leaves 5 for the target and 1 for validation"):
        draw(obs, target_size=6)


def test_min_apc_restricts_who_is_drawn(obs, rng):
    apc = np.where(np.arange(1000) % 3 == 0, np.nan, rng.uniform(0, 1, 1000))
    split = draw(obs, apc, min_apc=0.5)
    drawn = (split["role"] != "source") | split["second_target"]
    assert (apc[drawn] > 0.5).all()


def test_same_seed_same_draw(obs):
    assert draw(obs).equals(draw(obs)) and not draw(obs).equals(draw(obs, seed=2))


def test_where_nothing_has_an_apc_that_is_said(obs):
    with pytest.raises(InputError, match=r"config: targets\.t\.min_apc: no profile has an APC; apc.parquet says why"):
        draw(obs, np.full(1000, np.nan), min_apc=0.1)


@pytest.mark.parametrize("settings", [{"target_size": 600, "test_size": 300}, {"min_apc": 0.9, "test_size": 100}])
def test_too_few_profiles_are_said_with_the_sum(obs, rng, settings):
    with pytest.raises(InputError, match=r"config: targets\.t: \d+ profiles.* are needed \(.*second target\)"):
        draw(obs, rng.uniform(0, 1, 1000), **settings)
