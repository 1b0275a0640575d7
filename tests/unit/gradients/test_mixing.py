"""A sample whose loss depends on the samples beside it has no gradient of its own, and every rule would give it one."""

import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dvgs.gradients import GradientSimilarity, similarity


class Apply(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def network(*between, width=1, dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), *between, nn.Linear(6, width)).to(dtype)


def data(n, dtype=torch.float32):
    x = torch.randn(n, 5, generator=torch.Generator().manual_seed(1), dtype=dtype)
    return x, x[:, 0].clone()


def squares(p, y):
    return (p[:, 0] - y).square()


def compare(model, loss, n, dtype=torch.float32):
    x, y = data(n, dtype)
    return similarity(model, loss, x, y, [torch.ones_like(p) for p in model.parameters()])


MIXED = {
    "labels broadcast": (network(), lambda p, y: (p - y).square().mean(1)),
    "divided by the number of samples": (network(), lambda p, y: squares(p, y) / len(p)),
    "mean over the batch in the loss": (network(), lambda p, y: squares(p - p.mean(0), y)),
    "softmax over samples": (network(), lambda p, y: -F.log_softmax(p[:, 0], 0) * y.abs()),
    "centred batch": (network(Apply(lambda x: x - x.mean(0))), squares),
    "order reversed": (network(Apply(lambda x: x.flip(0))), squares),
    "shifted by one": (network(Apply(lambda x: x.roll(1, 0))), squares),
    "centred batch, and dropout": (network(Apply(lambda x: x - x.mean(0)), nn.Dropout(0.5)), squares),
    "labels broadcast, and dropout": (network(nn.Dropout(0.5)), lambda p, y: (p - y).square().mean(1)),
}


@pytest.mark.parametrize("name", MIXED)
@pytest.mark.parametrize("n", [2, 3, 8, 50])
def test_mixed_samples_are_refused(name, n):
    model, loss = MIXED[name]
    modes = [module.training for module in model.modules()]
    for _ in range(2):  # at every call
        with pytest.raises(ValueError, match="changes with the samples beside it"):
            compare(model, loss, n)
    assert [module.training for module in model.modules()] == modes


def test_mixed_samples_are_refused_once_there_are_two():
    model, loss = MIXED["labels broadcast"]
    engine, target = GradientSimilarity(model, loss), [torch.ones_like(p) for p in model.parameters()]
    engine(*data(1), target)
    with pytest.raises(ValueError, match="changes with the samples beside it"):
        engine(*data(4), target)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [1e-4, 1, 1e4])
@pytest.mark.parametrize("between", [(), (nn.Dropout(0.5),), (nn.GroupNorm(2, 6),), (nn.BatchNorm1d(6).eval(),)])
@pytest.mark.parametrize("n", [1, 2, 5, 40])
def test_samples_on_their_own_are_not_refused(dtype, scale, between, n):
    found = compare(network(*between, dtype=dtype), lambda p, y: scale * squares(p, y), n, dtype)
    assert found["loss"].shape == (n,) and found["loss"].isfinite().all()


def test_squeeze_is_named_where_a_sample_is_alone():
    model = nn.Sequential(network(), Apply(torch.squeeze))
    loss = nn.BCEWithLogitsLoss(reduction="none")

    def run(n, last):
        x, y = data(n)
        return similarity(last, loss, x, (y > 0).float(), [torch.ones_like(p) for p in last.parameters()])

    assert run(8, model)["loss"].shape == (8,)
    for n in (1, 2, 3):
        with pytest.raises(ValueError, match=r"say squeeze\(1\)"):
            run(n, model)
    right = nn.Sequential(network(), Apply(lambda x: x.squeeze(1)))
    assert torch.equal(run(8, model)["cosine"], run(8, right)["cosine"]) and run(1, right)["loss"].shape == (1,)


class LayerDrop(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, x):
        return x + self.layer(x) if random.random() < 0.5 else x


def test_random_numbers_of_another_source_are_no_mixing():
    random.seed(1)
    for _ in range(20):
        compare(network(LayerDrop()), squares, 8)
