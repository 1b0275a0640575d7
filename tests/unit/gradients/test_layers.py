"""Every rule, alone and in random architectures, against gradients formed sample by sample in float64."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from dvgs.gradients import similarity
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
