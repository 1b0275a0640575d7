import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import r2_score, roc_auc_score
from task_examples import blobs

from dvgs.errors import InputError
from dvgs.methods.task import Task, auroc_of, balanced
from dvgs.training.models import make_classifier


def test_balanced_weights_count_classes_alike(rng):
    y = torch.from_numpy(rng.choice(3, 90, p=[0.7, 0.2, 0.1]))
    weights = balanced(y, 3)
    assert torch.allclose(weights.sum(0), torch.full((3,), 30.0)) and torch.equal(weights.argmax(1), y)
    prediction = torch.from_numpy(rng.normal(size=(90, 3))).float()
    classes = 1 / torch.bincount(y).float()
    expected = F.cross_entropy(prediction, y, weight=classes)  # torch's own weighted mean
    assert torch.allclose(F.cross_entropy(prediction, weights), expected, rtol=1e-5)


def test_auroc_is_that_of_scikit_learn(rng):
    score, y = rng.integers(0, 9, 60).astype(float), rng.integers(0, 2, 60)
    assert np.isclose(auroc_of(torch.from_numpy(score), torch.from_numpy(y)), roc_auc_score(y, score))
    assert np.isnan(auroc_of(torch.ones(3), torch.ones(3)))


def test_scores(rng):
    task = blobs(rng, n_classes=3)
    model = make_classifier(4, [], 3, seed=0)
    x, y = task.target
    assert task.score(model, x, y) == pytest.approx((model(x).argmax(1) == y).float().mean().item())
    task = blobs(rng, n_classes=0)
    model = torch.nn.Linear(4, 4)
    x, y = task.target
    assert task.score(model, x, y) == pytest.approx(r2_score(y, model(x).detach()), abs=1e-5)


def test_r2_of_constant_features_is_that_of_scikit_learn():
    task = blobs(np.random.default_rng(0), n_classes=0)
    y = task.target[1].clone()
    y[:, 0], y[:, 1] = 3.7, 0
    prediction = y + torch.tensor([0, 0.1, 0.2, 0.3])
    assert task.quality(prediction, y) == pytest.approx(r2_score(y, prediction), abs=1e-5)
    assert -1 < task.quality(prediction, y) < 1


@pytest.mark.parametrize("who, what", [("source", 0), ("target", 0), ("source", 1)])
def test_what_is_not_finite_cannot_be_used(rng, who, what):
    task = blobs(rng, n_classes=0)
    parts = {"source": list(task.source), "target": list(task.target)}
    parts[who][what] = torch.full_like(parts[who][what], torch.nan)
    with pytest.raises(InputError, match=f"{who}: {'xy'[what]}: not all numbers are finite"):
        Task(**parts, make_model=task.make_model, n_classes=0, seed=1)


def test_scoring_leaves_the_mode(rng):
    task = blobs(rng)
    model = task.start()
    task.score(model, *task.target)
    assert model.training


@pytest.mark.parametrize(
    "who, y, message",
    [
        ("target", [0] * 30, "class 1 is absent"),
        ("source", [0, 2] * 20, "class number, int64, from 0 to 1"),
        ("source", [True, False] * 20, "class number"),
        ("source", np.zeros(40, np.int32), "class number"),
        ("source", [0.5] * 40, "class number"),
        ("source", [[0]] * 40, "class number"),
        ("target", [0, 1], "class number"),
    ],
)
def test_labels_that_cannot_be_used(rng, who, y, message):
    task = blobs(rng)
    parts = {"source": task.source, "target": task.target}
    parts[who] = (parts[who][0], torch.as_tensor(y))
    with pytest.raises(InputError, match=message) as error:
        Task(**parts, make_model=task.make_model, n_classes=2, seed=1)
    assert str(error.value).startswith(who)
