"""A model or a loss may write to what it is given: values are those of the same model that does not, and the caller's
arrays stay as they are."""

import numpy as np
import pytest
import torch
from torch import nn

import dvgs
from dvgs.gradients import similarity
from dvgs.training.fit import predict, r2
from dvgs.training.models import reconstruction_loss
from dvgs.training.schedule import Schedule
from dvgs.training.stacked import fit_together


class Normalise(nn.Module):
    def __init__(self, in_place):
        super().__init__()
        self.in_place = in_place

    def forward(self, x):
        return x.sub_(3).div_(2) if self.in_place else (x - 3) / 2


class Scale(nn.Module):
    """A layer without a rule."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(4))

    def reset_parameters(self):
        nn.init.ones_(self.factor)

    def forward(self, x):
        return x * self.factor


class Loop(nn.Module):
    """What vmap cannot batch."""

    def forward(self, x):
        return x * 1.0 if x.sum().item() > -1e9 else x


BETWEEN = {"rules": (), "formed": (Scale(),), "formed one by one": (Scale(), Loop()), "dropout": (nn.Dropout(0.3),)}


def model(name, in_place, width):
    torch.manual_seed(0)
    return nn.Sequential(
        Normalise(in_place), nn.Linear(4, 4), *BETWEEN[name], nn.ReLU(inplace=in_place), nn.Linear(4, width)
    )


def writing_loss(prediction, y):
    return y.sub_(prediction).square().mean(1)


def plain_loss(prediction, y):
    return (y - prediction).square().mean(1)


@pytest.fixture
def x():
    return np.random.default_rng(1).normal(size=(60, 4)).astype(np.float32)


@pytest.mark.parametrize("name", BETWEEN)
@pytest.mark.parametrize("batch_size", [None, 7])
def test_values_of_an_autoencoder(x, name, batch_size):
    before, found = x.copy(), {}
    for in_place, loss in ((False, plain_loss), (True, writing_loss)):
        options = {"epochs": 3, "restarts": 2, "batch_size": batch_size, "stable": 0.9}
        found[in_place] = dvgs.value(model(name, in_place, 4), loss, (x, None), (x[:20], None), **options)
        assert np.array_equal(x, before)
    assert found[True].equals(found[False])


@pytest.mark.parametrize("name", BETWEEN)
@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_values_of_a_classifier(x, name, kind):
    y = (x[:, 0] > 0).astype(np.int64)
    given = (x, y) if kind == "array" else (torch.from_numpy(x.copy()), torch.from_numpy(y.copy()))
    before, loss = x.copy(), nn.CrossEntropyLoss(reduction="none")
    target = given[0][:20], given[1][:20]
    plain, writing = (dvgs.value(model(name, in_place, 2), loss, given, target, epochs=3) for in_place in (False, True))
    assert writing.equals(plain) and np.array_equal(np.asarray(given[0]), before)


def test_similarity_prediction_and_training(x):
    tensor = torch.from_numpy(x.copy())
    plain, writing = (model("rules", in_place, 4) for in_place in (False, True))
    targets = [torch.ones_like(p) for p in plain.parameters()]
    a, b = (similarity(m, reconstruction_loss, tensor, tensor, targets) for m in (plain, writing))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert torch.equal(predict(plain, tensor), predict(writing, tensor)) and r2(plain, tensor) == r2(writing, tensor)
    assert np.array_equal(tensor.numpy(), x)


def test_stacked_models_that_begin_with_an_activation_in_place(x):
    tensor = torch.from_numpy(x.copy())
    schedule, rows = Schedule(steps=5, batch_size=100, learning_rate=0.1), [torch.arange(40), torch.arange(20, 60)]
    trained = []
    for in_place in (False, True):
        torch.manual_seed(0)
        models = [nn.Sequential(nn.ReLU(inplace=in_place), nn.Linear(4, 4)) for _ in range(2)]
        fit_together(models, reconstruction_loss, (tensor, tensor), rows, schedule, [1, 2])
        trained.append(torch.cat([p.detach().flatten() for m in models for p in m.parameters()]))
    assert torch.equal(*trained) and np.array_equal(tensor.numpy(), x)


def test_a_loss_that_uses_the_given_model_is_refused(x):
    def classes(prediction, y):
        return nn.functional.cross_entropy(prediction, y, reduction="none")

    given, y = model("rules", False, 2), (x[:, 0] > 0).astype(np.int64)
    samples = (x, y), (x[:20], y[:20])
    with pytest.raises(ValueError, match="value: loss: it uses parameters of the model, of which a copy is trained"):
        dvgs.value(given, lambda p, y: classes(p, y) + given[1].weight.square().sum(), *samples, epochs=2)
    own = nn.Linear(2, 2)  # a layer of the loss itself is not the model's
    assert len(dvgs.value(given, lambda p, y: classes(own(p), y), *samples, epochs=2)) == 60
