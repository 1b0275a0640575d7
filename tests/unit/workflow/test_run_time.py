import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from torch.utils.flop_counter import FlopCounterMode

from dvgs.filtering.curves import curve_trainings
from dvgs.gradients import GradientSimilarity
from dvgs.gradients.natural import natural_gradient
from dvgs.limits import largest_chunk
from dvgs.training.models import make_autoencoder, make_perturbation_model, reconstruction_loss
from dvgs.training.schedule import steps_per_epoch
from dvgs.training.stacked import group_size
from dvgs.valuation.shards import Shard
from dvgs.workflow import run_time
from dvgs.workflow.config import check_config

N, GENES, GB = 720_216, 978, 2.8


def make_config(**settings):
    config = {"compendium": "x", "targets": {"general": {}, "high_apc": {}}} | settings
    check_config(config, ROOT / "workflow/schemas/config.schema.yaml")
    return config


def n_weights(model):
    return sum(p.numel() for name, p in model.named_parameters() if name.endswith("weight"))


def test_multiplications_are_those_of_the_models():
    model = make_autoencoder(GENES, [256, 256], 64, seed=0)
    assert run_time.work("clean", make_config(), 1, GENES, GB)["trained"] == 50 * n_weights(model) / 1e12
    model = make_perturbation_model(0, 0, GENES, 256, [200, 200], seed=0)
    found = run_time.work("compare_drug_targets", make_config(), 1, GENES, GB)
    assert found["trained"] == (1 + 3 * 3) * 3 * 50 * n_weights(model) / 1e12


@pytest.mark.parametrize("batch_size, epochs, restarts, every", [(5000, 500, 1, 1), (1500, 7, 3, 2), (4000, 10, 2, 3)])
def test_trajectory_is_as_long_as_its_training(batch_size, epochs, restarts, every):
    trajectory = {"batch_size": batch_size, "epochs": epochs, "restarts": restarts, "every": every}
    n, steps, rows = run_time.trajectory_length(make_config(trajectory=trajectory), "general")
    once = epochs * steps_per_epoch(4000, batch_size)
    assert (n, steps, rows) == (4000, once * restarts, len(range(0, once, every)) * restarts)
    scored = run_time.work("score_shard", make_config(trajectory=trajectory), N, GENES, GB)["scored"]
    assert scored == pytest.approx(N * rows * n_weights(make_autoencoder(GENES, [256, 256], 64, seed=0)) / 1e12)


@pytest.mark.parametrize("quantiles", [[0.5], [0.0, 0.1, 0.5, 0.9]])
def test_trainings_are_those_of_the_curves(quantiles):
    methods = pd.DataFrame(
        {name: [0.0, 1.0, 2.0] for name in ("dvgs", "random", "profile_norm", "reconstruction_error")}
    )
    methods["apc"] = [0.0, 1.0, np.nan]
    points = curve_trainings(methods, sorted({0.0, *quantiles}))
    different = {(profiles, *((method, drop, q) if q else ())) for profiles, method, drop, q in points}
    curves = {"quantiles": quantiles, "replicates": 2, "epochs": 3, "batch_size": 100}
    found = run_time.work("trace_curve", make_config(curves=curves), 250, GENES, GB)
    steps = found["steps"] * run_time.stacked(n_weights(make_autoencoder(GENES, [256, 256], 64, seed=0)), 100)
    assert steps == pytest.approx(len(different) * 2 * 3 * 3)


@pytest.mark.parametrize("n, shards", [(720_216, 4), (17_000, 2), (100, 4), (8192 * 7, 3)])
def test_largest_shard(n, shards):
    each = [Shard.of(n, shard, shards) for shard in range(shards)]
    sizes = [shard.stop - shard.start for shard in each]
    share, block = run_time.largest_share("score_shard", make_config(score={"shards": shards}), n), largest_chunk(n)
    assert max(sizes) <= share * n + block and share * n <= max(sizes) + block


@pytest.mark.parametrize("stage, share", [("score_shard", 1 / 4), ("trace_curve", 2 / 3), ("clean", 1)])
def test_largest_job_does_its_share_of_the_work(stage, share):
    config = make_config(score={"shards": 4}, curves={"replicates": 3, "shards": 2})
    whole = run_time.work(stage, config, 8192 * 8, GENES, GB, "high_apc")
    found = run_time.largest_job(stage, config, 8192 * 8, GENES, GB, "high_apc")
    assert found == pytest.approx({kind: amount * share for kind, amount in whole.items()})


@pytest.mark.parametrize("sizes", [(978, [256, 256], 64), (12_328, [256, 256], 64), (978, [64], 16)])
@pytest.mark.parametrize("batch_size", [64, 1024, 10**6])
def test_stacks_are_those_of_training(sizes, batch_size):
    model = make_autoencoder(*sizes, seed=0)
    expected = group_size(model, batch_size, torch.device("cuda"))
    assert abs(run_time.stacked(n_weights(model), batch_size) - expected) <= 1


def test_time_grows_with_what_is_to_be_done():
    def hours(profiles=N, gpus=0, cores=run_time.PLENTY, **settings):
        return run_time.plan(make_config(**settings), profiles, GENES, {"": GB * profiles / N}, gpus, cores)

    once = hours()
    assert all(hours(2 * N)[stage] >= once[stage] for stage in run_time.STAGES)
    for stage, settings in {
        "score_shard": {"trajectory": {"restarts": 3}},
        "train_trajectory": {"trajectory": {"epochs": 1500}},
        "trace_curve": {"curves": {"epochs": 150}},
        "compare_drug_targets": {"drug_targets": {"replicates": 9}},
        "correlate": {"statistics": {"bootstrap": 3000}},
    }.items():
        assert once[stage] < hours(**settings)[stage] <= 3 * once[stage]
        if stage != "correlate":  # which also reads
            assert hours(**settings)[stage] == pytest.approx(3 * once[stage], rel=0.2)
    assert hours(threads=8)["score_shard"] < once["score_shard"] / 3
    on_gpus = [hours(gpus=gpus, score={"shards": 8}) for gpus in (1, 8, 64)]
    for stage in run_time.ON_GPU:
        assert on_gpus[0][stage] >= on_gpus[1][stage] >= on_gpus[2][stage]
    assert 6 < on_gpus[0]["score_shard"] / on_gpus[1]["score_shard"] <= 8  # 22 blocks in 8 shards
    assert on_gpus[1]["trace_curve"] == on_gpus[2]["trace_curve"]  # three replicates of two targets, a job each
    assert hours(cores=2)["score_shard"] == pytest.approx(8 * once["score_shard"] / 2)  # four shards of two targets
    assert hours(cores=1, threads=8)["score_shard"] == hours(cores=1)["score_shard"]
    assert hours(cores=1)["ingest"] == hours(cores=32)["ingest"] == once["ingest"]


def test_rates_are_of_all_stages_and_of_work_that_they_do():
    rates, config = run_time.read_rates(), make_config()
    assert set(rates) == set(run_time.STAGES)
    for stage, found in rates.items():
        assert set(found) == {"start", *run_time.work(stage, config, N, GENES, GB)} - {"steps"}
        assert all(rate >= 0 for rate in found.values()) and sum(found.values()) > 0


def test_the_work_of_natural_gradients_is_that_which_is_done():
    model, x = make_autoencoder(300, [80, 40], 20, seed=0), torch.randn(500, 300)
    engine = GradientSimilarity(model, reconstruction_loss)
    engine.prepare(x, x)
    with FlopCounterMode(display=False) as counter:
        natural_gradient(engine, x, x, 100)
    plain, natural = (
        run_time.work(
            "train_trajectory",
            make_config(
                model={"hidden": [80, 40], "latent": 20},
                targets={"general": {"target_size": 625}},  # 500 without those for validation
                trajectory={"epochs": 1, "natural": natural},
            ),
            1,
            300,
            GB,
        )["trained"]
        for natural in (False, True)
    )
    solved = 6 * run_time.curvature(0, 300, 80, 40, 20)  # which the counter does not see
    multiplications = counter.get_total_flops() / 2 + solved
    assert 3 * (natural - plain) / run_time.DRAWS * 1e12 == pytest.approx(multiplications, rel=0.1)
