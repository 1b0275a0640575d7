import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dvgs.filtering import curves
from dvgs.training import stacked as together
from dvgs.training.fit import fit
from dvgs.training.models import make_autoencoder, make_conv_autoencoder, reconstruction_loss
from dvgs.training.schedule import Schedule
from dvgs.training.stacked import ELEMENTWISE, fit_together, group_size

SCHEDULE = Schedule(steps=12, batch_size=16, learning_rate=1e-2)


def make_classifier(seed, *extra, dtype=torch.float64):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), *extra, nn.Linear(7, 2)).to(dtype)


def cross_entropy(prediction, y):
    return F.cross_entropy(prediction, y, reduction="none")


@pytest.fixture
def labelled(rng):
    x = torch.from_numpy(rng.normal(size=(60, 5)))
    return x, (x[:, 0] > 0).long()


def draw_rows(rng, *sizes):
    return [torch.from_numpy(rng.choice(60, n, replace=False)) for n in sizes]


def difference(models, loss, x, y, rows, seeds, **changes):
    """Train copies one by one by `fit` and the models together; the largest difference of a parameter."""
    alone, schedule = copy.deepcopy(models), replace(SCHEDULE, **changes)
    for model, own, seed in zip(alone, rows, seeds, strict=True):
        taken = x[own]
        fit(model, loss, (taken, taken if y is x else y[own]), schedule, seed)
    before = copy.deepcopy(models)
    assert fit_together(models, loss, (x, y), rows, schedule, seeds) is models
    assert largest(models, before) > 1e-3  # something was learned
    return largest(models, alone)


def largest(models, others):
    pairs = [
        (a, b) for m, o in zip(models, others, strict=True) for a, b in zip(m.parameters(), o.parameters(), strict=True)
    ]
    return max((a - b).abs().max().item() for a, b in pairs)


@pytest.fixture
def stacked(monkeypatch):
    """How many models each stacked training had."""
    sizes, fit_stacked = [], together._fit_stacked

    def count(models, *args, **training):
        sizes.append(len(models))
        fit_stacked(models, *args, **training)

    monkeypatch.setattr(together, "_fit_stacked", count)
    return sizes


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-3)])
def test_each_model_is_the_one_that_fit_trains(rng, labelled, stacked, dtype, tolerance):
    x, y = labelled
    models = [make_classifier(k, dtype=dtype) for k in range(4)]
    rows = draw_rows(rng, 60, 40, 16, 33)
    assert difference(models, cross_entropy, x.to(dtype), y, rows, seeds=[3, 1, 4, 1]) < tolerance
    assert stacked == [4]


def test_autoencoders_rebuild_their_own_batch(rng, stacked):
    x = torch.from_numpy(rng.normal(size=(60, 5)))
    models = [make_autoencoder(5, (4,), 2, seed=7).double() for _ in range(3)]
    assert difference(models, reconstruction_loss, x, x, draw_rows(rng, 30, 30, 50), seeds=[2, 2, 2]) < 1e-12
    assert stacked == [3]


def test_fewer_rows_than_a_batch_are_one_batch(rng, labelled, stacked):
    models = [make_classifier(k) for k in range(3)]
    assert difference(models, cross_entropy, *labelled, draw_rows(rng, 9, 9, 9), seeds=range(3)) < 1e-12
    assert stacked == [3]


@pytest.mark.parametrize("sizes", [(9, 8), (15, 60)])
def test_batches_of_unequal_length_are_an_error(rng, labelled, sizes):
    models, rows = [make_classifier(k) for k in range(2)], draw_rows(rng, *sizes)
    before = copy.deepcopy(models)
    with pytest.raises(ValueError, match=f"batches of {min(sizes)} and {min(max(sizes), 16)} rows"):
        fit_together(models, cross_entropy, labelled, rows, SCHEDULE, [1, 2])
    with pytest.raises(ValueError, match="train models of equal batches together"):
        together.predict_together(models[0], labelled[0], cross_entropy, labelled, rows, SCHEDULE, [1, 2])
    assert largest(models, before) == 0


@pytest.mark.parametrize("sizes", [(16, 60, 16), (60, 16)])
def test_as_many_rows_as_a_batch_beside_more(rng, labelled, stacked, sizes):
    """They are one batch, always the same, and the others are not."""
    models = [make_classifier(k) for k in range(len(sizes))]
    assert difference(models, cross_entropy, *labelled, draw_rows(rng, *sizes), seeds=range(len(sizes))) < 1e-12
    assert stacked == [len(sizes)]


def test_one_model_and_rows_of_numpy(rng, labelled, stacked):
    assert difference([make_classifier(0)], cross_entropy, *labelled, [np.arange(0, 60, 2)], seeds=[5]) < 1e-12
    assert stacked == []


def make_tied():
    layer = nn.Linear(5, 5)
    return nn.Sequential(layer, nn.Tanh(), layer).double()


def make_frozen():
    model = make_classifier(1)
    model[0].requires_grad_(False)
    return model


def make_normed():
    model = make_classifier(1)
    nn.utils.spectral_norm(model[0])
    return model


class Reversed(nn.Sequential):
    def forward(self, x):
        return super().forward(-x)


@pytest.mark.parametrize(
    "make",
    [
        lambda: make_classifier(1, nn.Dropout1d(0.5)),
        lambda: make_classifier(1, nn.LayerNorm(7, dtype=torch.float64)),
        lambda: make_classifier(1, nn.BatchNorm1d(7)),
        lambda: Reversed(nn.Linear(5, 2)).double(),
        make_tied,
        make_frozen,
        make_normed,
    ],
    ids=["other dropout", "norm with parameters", "buffers", "own forward", "tied", "frozen", "weight norm"],
)
def test_other_models_are_trained_one_by_one(rng, labelled, stacked, make):
    rows = draw_rows(rng, 40, 40, 40)
    assert difference([make() for _ in range(3)], cross_entropy, *labelled, rows, seeds=[1, 2, 3]) == 0
    assert stacked == []


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Sequential(nn.Linear(5, 3, bias=False), nn.ReLU(inplace=True)), nn.Linear(3, 2)),
        nn.Linear(5, 2),
        *(nn.Sequential(nn.Linear(5, 3), activation(), nn.Linear(3, 2)) for activation in sorted(ELEMENTWISE, key=str)),
    ],
    ids=str,
)
def test_layers_that_are_stacked(rng, labelled, stacked, model):
    models = [copy.deepcopy(model).double() for _ in range(2)]
    assert difference(models, cross_entropy, *labelled, draw_rows(rng, 40, 50), seeds=[1, 2]) < 1e-12
    assert stacked == [2]


@pytest.mark.parametrize("seeds", [[5, 5, 5, 5], [5, 1, 5, 2]], ids=["one seed", "seeds"])
def test_each_model_drops_out_what_it_would_alone(rng, labelled, stacked, seeds):
    parts = (
        nn.Dropout(0.5),
        nn.LayerNorm(7, elementwise_affine=False),
        nn.Linear(7, 6),
        nn.Dropout(0.2),
        nn.Linear(6, 7),
    )
    models = [make_classifier(k, *copy.deepcopy(parts)) for k in range(4)]
    rows = draw_rows(rng, 40, 50, 16, 60)
    assert difference(models, cross_entropy, *labelled, rows, seeds) < 1e-12
    assert stacked == [4]


def test_dropout_in_evaluation_mode_drops_nothing(rng, labelled, stacked):
    models = [make_classifier(k, nn.Dropout(0.5)).eval() for k in range(2)]
    assert difference(models, cross_entropy, *labelled, draw_rows(rng, 40, 50), seeds=[1, 2]) < 1e-12
    assert stacked == [2]


def test_stacked_training_leaves_the_random_state(rng, labelled):
    models = [make_classifier(k, nn.Dropout(0.5)) for k in range(2)]
    state = torch.get_rng_state()
    fit_together(models, cross_entropy, labelled, draw_rows(rng, 40, 50), SCHEDULE, [1, 2])
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("models, rows, seeds", [(1, 2, 1), (2, 1, 1), (1, 2, 2), (1, 1, 2)])
def test_models_rows_and_seeds_are_equally_many(labelled, models, rows, seeds):
    models = [make_classifier(0) for _ in range(models)]
    with pytest.raises(ValueError):
        fit_together(models, cross_entropy, labelled, [[1, 2]] * rows, SCHEDULE, [1] * seeds)


@pytest.mark.parametrize("own_forward", [False, True], ids=["stacked", "one by one"])
@pytest.mark.parametrize("sizes", [(40, 16, 50, 17, 60), (9, 9), (5,)], ids=["batches", "one batch", "one model"])
def test_predictions_are_those_of_models_trained_alone(rng, labelled, sizes, own_forward):
    """By a model that drops out while it trains."""
    x, y = labelled
    model = make_classifier(3, nn.Dropout(0.5), nn.LayerNorm(7, elementwise_affine=False))
    if own_forward:
        model = Reversed(*model)
    before, rows, seeds = copy.deepcopy(model), draw_rows(rng, *sizes), [1, 2, 1, 1, 1][: len(sizes)]
    found = together.predict_together(model, x[:11], cross_entropy, (x, y), rows, SCHEDULE, seeds)
    assert largest([model], [before]) == 0
    for prediction, own, seed in zip(found, rows, seeds, strict=True):
        alone = fit(copy.deepcopy(model), cross_entropy, (x[own], y[own]), SCHEDULE, seed).eval()
        assert prediction.shape == (11, 2)
        assert (prediction - alone(x[:11])).abs().max() < 1e-12


@pytest.mark.parametrize("budget", ["equal_steps", "fixed_epochs"])
def test_curves_do_not_depend_on_how_many_are_trained_together(rng, monkeypatch, stacked, budget):
    x = torch.from_numpy(rng.normal(size=(90, 12)).astype(np.float32))
    methods = pd.DataFrame({"dvgs": rng.random(60), "random": rng.random(60), "apc": rng.random(60)})
    methods.loc[:20, "apc"] = np.nan

    def trace(size):
        monkeypatch.setattr(curves, "group_size", lambda *_: size)
        schedule = Schedule(epochs=4, batch_size=16, learning_rate=1e-2)
        settings, model = curves.CurveSettings([0.0, 0.3, 0.9], schedule, budget), {"hidden": (8,), "latent": 3}
        return curves.trace_curve((x[:60], x[60:75], x[75:]), methods, settings, model, replicate=0, seed=3)

    alone = trace(1)
    assert stacked == []
    pd.testing.assert_frame_equal(alone, trace(5), rtol=0, atol=1e-5)
    assert max(stacked) == 5


def test_small_models_go_together_and_large_ones_alone():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert group_size(make_classifier(0), 200, cpu) == 32
    assert group_size(make_autoencoder(978, (64,), 16, seed=0), 64, cpu) > 1
    assert group_size(make_autoencoder(978, (256, 256), 64, seed=0), 1024, cpu) == 1
    assert group_size(make_autoencoder(978, (1024, 1024), 64, seed=0), 1, cpu) == 1  # what is large fills memory
    assert group_size(make_classifier(0), 200, gpu) == 256
    assert 8 < group_size(make_autoencoder(978, (256, 256), 64, seed=0), 1024, gpu) < 32
    assert group_size(make_autoencoder(20_000, (4096, 4096), 64, seed=0), 4096, gpu) == 1
    assert group_size(make_conv_autoencoder(seed=0), 64, gpu) == group_size(make_conv_autoencoder(seed=0), 64, cpu) == 1
