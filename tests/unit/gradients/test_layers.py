"""Every rule, alone and in random architectures, against gradients formed sample by sample in float64."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import weight_norm

from dvgs.gradients import GradientSimilarity, similarity
from dvgs.gradients.layers import CHUNK_NUMBERS


def squares(prediction, y):
    return (prediction.flatten(1) - y.flatten(1)[:, :1]).square().sum(1)


def slow_similarity(model, loss, x, y, target_gradient, grad_params=None):
    """One backward pass a sample, through that sample alone."""
    chosen = [
        (p, g)
        for (name, p), g in zip(model.named_parameters(), target_gradient, strict=True)
        if p.requires_grad and (grad_params is None or name in grad_params)
    ]
    target = torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in chosen])
    rows = []
    for i in range(len(x)):
        value = loss(model(x[i : i + 1]), y[i : i + 1]).sum()
        found = torch.autograd.grad(value, [p for p, _ in chosen], allow_unused=True)
        found = [torch.zeros_like(p) if g is None else g for g, (p, _) in zip(found, chosen, strict=True)]
        g = torch.cat([g.flatten() for g in found])
        rows.append([*_compare(g, target), value.detach()])
    names = ("cosine", "dot", "projection", "l2", "gradient_norm", "loss")
    return dict(zip(names, torch.tensor(rows, dtype=torch.float64).T, strict=True))


def _compare(g, target):
    dot, norm, target_norm = g @ target, g.norm(), target.norm()
    return (
        dot / (norm * target_norm) if norm * target_norm > 0 else 0,
        dot,
        dot / target_norm if target_norm > 0 else 0,
        -(g - target).norm(),
        norm,
    )


def target_gradient(model, loss, x, y):
    trainable = [p for p in model.parameters() if p.requires_grad]
    found = dict(
        zip(trainable, torch.autograd.grad(loss(model(x), y).mean(), trainable, allow_unused=True), strict=True)
    )
    return [found.get(p) for p in model.parameters()]


def check(model, x, target, loss=squares, grad_params=None, device="cpu"):
    model = model.double()
    gradient = target_gradient(model, loss, target, target)
    expected = slow_similarity(model, loss, x, x, gradient, grad_params)
    on_device = x.to(device)
    gradient = [g if g is None else g.to(device) for g in gradient]
    found = similarity(model.to(device), loss, on_device, on_device, gradient, grad_params)
    found = {name: value.cpu() for name, value in found.items()}
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].shape == (len(x),)
        if name == "cosine":  # of rounding errors it means nothing
            value = torch.where(expected["gradient_norm"] > 1e-12, value, found[name])
        # The root of a difference of squares: of equal gradients it is the root of their rounding errors.
        tolerance = 1e-6 * expected["gradient_norm"].max() if name == "l2" else 1e-8 * value.abs().max()
        assert torch.allclose(found[name], value, rtol=1e-8, atol=float(1e-8 + tolerance)), name


def no_rule(caplog):
    return [r.message for r in caplog.records if "no rule fits" in r.message]


LAYERS = {
    "linear": (lambda: nn.Linear(6, 4), (6,)),
    "widening without bias": (lambda: nn.Linear(6, 14, bias=False), (6,)),
    "linear on a short sequence": (lambda: nn.Linear(20, 30), (3, 20)),
    "linear on a long sequence": (lambda: nn.Linear(5, 3), (40, 5)),
    "linear on a grid": (lambda: nn.Linear(5, 3), (4, 6, 5)),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3), (4, 11)),
    "conv1d, strided and dilated": (lambda: nn.Conv1d(4, 6, 3, stride=2, dilation=2, padding=3), (4, 11)),
    "conv1d, circular": (lambda: nn.Conv1d(4, 6, 3, padding=2, padding_mode="circular"), (4, 11)),
    "conv2d": (lambda: nn.Conv2d(3, 5, 3), (3, 7, 8)),
    "conv2d of few positions": (lambda: nn.Conv2d(30, 40, 3), (30, 3, 4)),
    "conv2d, everything": (
        lambda: nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2),
        (4, 9, 8),
    ),
    "conv2d, depthwise without bias": (lambda: nn.Conv2d(4, 4, 3, groups=4, bias=False), (4, 6, 6)),
    "conv2d, same": (lambda: nn.Conv2d(2, 3, (4, 3), padding="same"), (2, 6, 5)),
    "conv2d, valid": (lambda: nn.Conv2d(2, 3, 2, padding="valid"), (2, 6, 5)),
    "conv2d, reflected": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (2, 6, 5)),
    "transposed conv1d": (lambda: nn.ConvTranspose1d(4, 3, 3, stride=2, padding=1, output_padding=1), (4, 7)),
    "transposed conv2d": (lambda: nn.ConvTranspose2d(4, 3, 3), (4, 5, 6)),
    "transposed conv2d, everything": (
        lambda: nn.ConvTranspose2d(4, 6, (3, 2), (2, 3), (1, 0), output_padding=(1, 2), groups=2, dilation=(2, 1)),
        (4, 5, 6),
    ),
    "transposed conv2d, output padding beyond the stride": (
        lambda: nn.ConvTranspose2d(2, 3, 2, stride=1, dilation=3, output_padding=2),
        (2, 4, 4),
    ),
    "layer norm": (lambda: nn.LayerNorm(6), (6,)),
    "layer norm over two dimensions": (lambda: nn.LayerNorm((5, 6)), (3, 5, 6)),
    "layer norm on a sequence, no bias": (lambda: nn.LayerNorm(6, bias=False), (4, 6)),
    "group norm": (lambda: nn.GroupNorm(2, 6), (6, 4, 5)),
    "group norm of vectors": (lambda: nn.GroupNorm(2, 6), (6,)),
    "instance norm": (lambda: nn.InstanceNorm2d(3, affine=True), (3, 4, 5)),
    "instance norm, tracking": (lambda: nn.InstanceNorm1d(3, affine=True, track_running_stats=True), (3, 7)),
    "instance norm, evaluated": (
        lambda: nn.InstanceNorm1d(3, affine=True, track_running_stats=True).eval(),
        (3, 7),
    ),
    "batch norm, evaluated": (lambda: nn.BatchNorm1d(5).eval(), (5,)),
    "batch norm on images, evaluated": (lambda: nn.BatchNorm2d(3).eval(), (3, 4, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("n", [1, 6])
def test_rule(name, n, caplog, monkeypatch):
    torch.manual_seed(n)
    make, shape = LAYERS[name]
    model = nn.Sequential(make())
    for p in model.parameters():
        nn.init.normal_(p)
    x, target = torch.randn(n, *shape).double(), torch.randn(5, *shape).double()
    check(model, x, target)
    monkeypatch.setitem(CHUNK_NUMBERS, "cpu", 100)  # one sample at a time
    check(model, x, target)
    if model[0].bias is not None:
        check(model, x, target, grad_params={"0.bias"})
        model[0].bias.requires_grad_(False)
        check(model, x, target)
    assert not no_rule(caplog)


@pytest.mark.parametrize("options", [{}, {"padding_idx": 2}])
@pytest.mark.parametrize("shape", [(), (7,), (2, 3)])
def test_embedding(options, shape, caplog):
    torch.manual_seed(3)
    model = nn.Sequential(nn.Embedding(5, 4, **options), nn.Tanh())
    x, target = torch.randint(5, (6, *shape)), torch.randint(5, (4, *shape))
    check(model, x, target, loss=lambda prediction, y: (prediction - 0.3).flatten(1).square().sum(1))
    assert not no_rule(caplog)


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


ACTIVATIONS = [nn.Mish, nn.Tanh, lambda: nn.SiLU(inplace=True), nn.GELU, nn.Identity]


@st.composite
def networks(draw):
    """A random network and the shape of its input: images, sequences or vectors, through every kind of layer."""
    integers = lambda a, b: draw(st.integers(a, b))  # noqa: E731
    layers, kind = [], draw(st.sampled_from(["image", "signal", "sequence", "vector"]))
    channels = integers(1, 4)
    shape = {"image": (channels, 6, 5), "signal": (channels, 9), "sequence": (4, channels), "vector": (channels,)}[kind]
    for _ in range(integers(1, 3)):
        out, bias = integers(1, 5), draw(st.booleans())
        if kind in ("image", "signal"):
            groups = out if draw(st.booleans()) and channels % out == 0 else 1
            options = {"stride": integers(1, 2), "bias": bias, "groups": groups}
            kernel = integers(1, 3)
            if draw(st.booleans()):
                make = nn.ConvTranspose2d if kind == "image" else nn.ConvTranspose1d
                layers.append(make(channels, out, kernel, **options))
            else:
                make = nn.Conv2d if kind == "image" else nn.Conv1d
                mode = draw(st.sampled_from(["zeros", "replicate"]))
                layers.append(
                    make(channels, out, kernel, padding=2, dilation=integers(1, 2), padding_mode=mode, **options)
                )
            norms = [nn.GroupNorm(1, out)]
        else:
            layers.append(nn.Linear(channels, out, bias=bias))
            norms = [nn.LayerNorm(out), nn.PReLU()]
        channels = out
        layers += draw(st.sampled_from([[], norms[:1], norms[1:]]))
        layers.append(draw(st.sampled_from(ACTIVATIONS))())
    if kind != "vector" and draw(st.booleans()):
        layers += [nn.Flatten()]
    return nn.Sequential(*layers), shape


LOSSES = [
    squares,
    lambda prediction, y: prediction.flatten(1).abs().mean(1),
    lambda prediction, y: nn.functional.cross_entropy(
        prediction.flatten(1), torch.zeros(len(y), dtype=torch.long, device=y.device), reduction="none"
    ),
]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    network=networks(), n=st.integers(1, 5), loss=st.sampled_from(LOSSES), seed=st.integers(0, 10**6), data=st.data()
)
def test_random_networks(network, n, loss, seed, data):
    model, shape = network
    torch.manual_seed(seed)
    model = model.double()
    for p in model.parameters():
        nn.init.normal_(p, std=0.5)
    x, target = torch.randn(n, *shape).double(), torch.randn(3, *shape).double()
    names = [name for name, _ in model.named_parameters()]
    chosen = data.draw(st.none() | st.sets(st.sampled_from(names), min_size=1))
    check(model, x, target, loss, chosen)
    frozen = data.draw(st.sets(st.sampled_from(names), max_size=len(names) - 1))
    for name, p in model.named_parameters():
        p.requires_grad_(name not in frozen)
    check(model, x, target, loss)


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
