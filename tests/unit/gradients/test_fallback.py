"""Models that no rule fits, or not everywhere: their gradients are formed sample by sample, and are right."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import weight_norm

from dvgs.gradients import GradientSimilarity, similarity
from unit.gradients.test_layers import check, no_rule, slow_similarity, squares, target_gradient


class Tied(nn.Module):
    """The decoder is the transposed encoder, without a module of its own."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(6, 3)
        self.bias = nn.Parameter(torch.randn(6))

    def forward(self, x):
        return torch.tanh(self.encoder(x)) @ self.encoder.weight + self.bias


class OtherDimension(nn.Module):
    """A Linear that meets the samples along dimension 1, where TRIAL positions look like as many samples."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 4)

    def forward(self, x):
        return self.layer(x.transpose(0, 1)).transpose(0, 1)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.out = nn.LSTM(3, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x):
        return self.out(self.lstm(x)[0][:, -1])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention, self.out = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 2)

    def forward(self, x):
        return self.out(self.attention(x, x, x)[0])


class Branching(nn.Module):
    """Python that depends on the data cannot be batched by vmap."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return torch.cat([row[None] * self.scale if row[0].item() > 0 else row[None] - self.scale for row in x])


def shared():
    layer = nn.Linear(6, 6)
    return nn.Sequential(layer, nn.Tanh(), layer)


def shared_weight():
    model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6))
    model[2].weight = model[0].weight
    return model


def pruned(layer):
    return prune.random_unstructured(layer, "weight", 0.3)


FORMED = {
    "module without a rule": (lambda: nn.Sequential(nn.Linear(6, 4), nn.PReLU(), nn.Linear(4, 2)), (6,), ["1.weight"]),
    "module called twice": (shared, (6,), ["0.weight", "0.bias"]),
    "weight of two modules": (shared_weight, (6,), ["0.weight", "0.bias", "2.bias"]),
    "weight used outside its module": (Tied, (6,), ["bias", "encoder.weight", "encoder.bias"]),
    "samples along dimension 1": (OtherDimension, (8, 3), ["layer.weight", "layer.bias"]),
    "parametrized weight": (lambda: nn.Sequential(weight_norm(nn.Linear(6, 3))), (6,), ["original0", "0.bias"]),
    "pruned": (lambda: nn.Sequential(pruned(nn.Linear(6, 3, bias=False)), nn.Linear(3, 2)), (6,), ["weight_orig"]),
    "pruned norm": (lambda: nn.Sequential(nn.Linear(6, 4), pruned(nn.LayerNorm(4))), (6,), ["1.weight_orig", "1.bias"]),
    "LSTM": (Recurrent, (5, 3), ["lstm.weight_ih_l0"]),
    "attention": (Attention, (5, 4), ["attention.in_proj_weight", "attention.out_proj.weight"]),
    "branches": (Branching, (5,), ["scale"]),
    "three dimensions": (lambda: nn.Sequential(nn.Conv3d(1, 2, 2), nn.GroupNorm(1, 2)), (1, 3, 3, 3), ["0.weight"]),
}


@pytest.mark.parametrize("name", FORMED)
def test_what_no_rule_fits_is_formed_sample_by_sample_and_said_once(name, caplog):
    torch.manual_seed(1)
    make, shape, names = FORMED[name]
    model = make().double()
    x, target = torch.randn(9, *shape).double(), torch.randn(5, *shape).double()
    check(model, x, target)
    check(model, x[:1], target)
    assert len(no_rule(caplog)) == 2
    assert all(part in no_rule(caplog)[0] for part in names)
    with_rule = [n for n, _ in model.named_parameters() if not any(n.endswith(part) for part in names)]
    assert not any(f" {n}," in no_rule(caplog)[0] for n in with_rule if n.startswith(("0.", "2.", "out.")))


def test_announced_once_for_many_batches(caplog):
    model = shared().double()
    x = torch.randn(4, 6).double()
    gradient = target_gradient(model, squares, x, x)
    engine = GradientSimilarity(model, squares)
    for _ in range(3):
        engine(x, x, gradient)
    assert len(no_rule(caplog)) == 1


def test_activation_in_place():
    """The layer's output is overwritten, yet δ must be the gradient with respect to what it was."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Linear(5, 3), nn.SiLU(inplace=True))
    check(model, torch.randn(7, 6).double(), torch.randn(4, 6).double())


@pytest.mark.parametrize("formed", [False, True])
def test_dropout_draws_one_mask_per_sample_for_both_directions(formed):
    """Of three units that drop out there are eight masks: every sample must show all results of one of them."""

    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 2)
            self.between = nn.PReLU() if formed else nn.Tanh()
            self.mask = None

        def forward(self, x):
            hidden = self.between(self.first(x))
            if self.mask is None:
                return self.last(nn.functional.dropout(hidden, 0.5))
            return self.last(hidden * self.mask * 2)

    torch.manual_seed(0)
    model = Masked().double()
    sample = torch.randn(1, 3).double()
    model.mask = torch.ones(3).double()
    gradient = target_gradient(model, squares, sample + 1, sample + 1)
    possible = []
    for mask in torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).double()] * 3):
        model.mask = mask
        found = slow_similarity(model, squares, sample, sample, gradient)
        possible.append(torch.cat([found["dot"], found["gradient_norm"], found["loss"]]))
    model.mask = None
    x = sample.repeat(60, 1)
    found = similarity(model, squares, x, x, gradient)
    rows = torch.stack([found["dot"], found["gradient_norm"], found["loss"]], dim=1)
    distance = (rows[:, None] - torch.stack(possible)).abs().amax(dim=2)
    assert distance.min(dim=1).values.max() < 1e-8
    assert len(set(distance.argmin(dim=1).tolist())) >= 6


def test_samples_that_influence_each_other_are_refused():
    x = torch.randn(6, 4).double()
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).double()
    gradient = target_gradient(model, squares, x, x)
    with pytest.raises(ValueError, match=r"1 is a BatchNorm that uses the statistics of the batch.*GroupNorm"):
        similarity(model, squares, x, x, gradient)
    with pytest.raises(ValueError, match="BatchNorm"):
        similarity(
            nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=False).eval()), squares, x, x, gradient
        )

    class Centred(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            y = self.layer(x)
            return y - y.mean(dim=0)

    model = Centred().double()
    gradient = target_gradient(model, squares, x, x)
    with pytest.raises(ValueError, match="changes with the samples beside it"):
        similarity(model, squares, x, x, gradient)


def test_running_statistics_stay():
    model = nn.Sequential(nn.InstanceNorm1d(3, affine=True, track_running_stats=True)).double()
    x = torch.randn(4, 3, 7).double()
    before = model[0].running_mean.clone()
    similarity(model, squares, x, x, [torch.ones(3).double(), torch.ones(3).double()])
    assert torch.equal(model[0].running_mean, before)


class Sorting(nn.Module):
    """Works on the samples in another order, as packed sequences do."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 5), nn.Linear(5, 2)

    def forward(self, x):
        order = x.norm(dim=1).argsort()
        return self.last(torch.tanh(self.first(x[order]))[order.argsort()])


class Adapted(nn.Module):
    """Weights used outside their module, behind a layer that starts at zero."""

    def __init__(self):
        super().__init__()
        self.base, self.down, self.up = nn.Linear(6, 2), nn.Linear(6, 3, bias=False), nn.Linear(3, 2, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x):
        return self.base(x) + self.up(nn.functional.linear(x, self.down.weight))


class Staged(nn.Module):
    """A layer that is called later alone, and then twice."""

    def __init__(self):
        super().__init__()
        self.base, self.late, self.stage = nn.Linear(6, 6), nn.Linear(6, 6), 0

    def forward(self, x):
        y = torch.tanh(self.base(x))
        return [lambda: y, lambda: self.late(y), lambda: self.late(self.late(y))][self.stage]()


@pytest.mark.parametrize("make", [Sorting, Adapted, Staged])
@pytest.mark.parametrize("seed", range(5))
def test_no_wrong_number_when_a_layer_turns_out_to_be_used_otherwise(make, seed):
    """The first batch tells nothing: one sample, a gradient of zero, a layer that is not called."""
    torch.manual_seed(seed)
    model = make().double()
    engine = GradientSimilarity(model, squares)
    for stage, n in ((0, 1), (0, 40), (1, 40), (2, 3), (0, 9)):
        model.stage = stage
        x = torch.randn(n, 6).double()
        gradient = target_gradient(model, squares, x, x)
        found = engine(x, x, gradient)
        for name, value in slow_similarity(model, squares, x, x, gradient).items():
            assert torch.allclose(found[name], value, atol=1e-6), name  # l2 of a sample that is the target itself
        with torch.no_grad():
            for p in model.parameters():
                p += 0.1 * torch.randn_like(p)
