import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from dvgs.gradients import similarity
from dvgs.training.models import Autoencoder, make_autoencoder, reconstruction_loss


def per_sample_gradients(model, loss, x, y):
    """The definition: every sample's gradient of its own, (n, parameters)."""
    parameters = dict(model.named_parameters())

    def one(parameters, x, y):
        return loss(functional_call(model, parameters, (x[None],)), y[None]).sum()

    gradients = vmap(grad(one), (None, 0, 0))(parameters, x, y)
    return torch.cat([gradients[name].flatten(1) for name in parameters], dim=1)


def slow_similarity(model, loss, x, y, target_gradient):
    g = per_sample_gradients(model, loss, x, y).detach()
    target = torch.cat([t.flatten() for t in target_gradient])
    dot = g @ target
    return {
        "cosine": dot / (g.norm(dim=1) * target.norm()),
        "dot": dot,
        "projection": dot / target.norm(),
        "l2": -(g - target).norm(dim=1),
        "gradient_norm": g.norm(dim=1),
        "loss": loss(model(x), y).detach(),
    }  # fmt: skip


def target_gradient(model, loss, x, y):
    return torch.autograd.grad(loss(model(x), y).mean(), list(model.parameters()))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("n", [1, 37])
@pytest.mark.parametrize("sizes", [(30, (16, 8), 4), (978, (256, 256), 64), (5, (20,), 9)])
def test_equals_per_sample_gradients(dtype, tolerance, n, sizes):
    torch.manual_seed(n)
    model = make_autoencoder(*sizes, seed=3).to(dtype)
    x, target = torch.randn(n, sizes[0], dtype=dtype), torch.randn(11, sizes[0], dtype=dtype)
    gradient = target_gradient(model, reconstruction_loss, target, target)
    found = similarity(model, reconstruction_loss, x, x, gradient)
    expected = slow_similarity(model, reconstruction_loss, x, x, gradient)
    for name, value in expected.items():
        scale = value.abs().max()
        assert found[name].shape == (n,)
        assert (found[name] - value).abs().max() <= tolerance * max(1, scale), name


def test_classifier_without_bias_and_with_frozen_layers():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 9, bias=False), nn.Tanh(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 3)).double()
    loss = nn.CrossEntropyLoss(reduction="none")
    x, y = torch.randn(8, 6).double(), torch.randint(0, 3, (8,))
    gradient = target_gradient(model, loss, x[:3], y[:3])
    expected = slow_similarity(model, loss, x, y, gradient)
    for name, value in similarity(model, loss, x, y, gradient).items():
        assert torch.allclose(value, expected[name], atol=1e-10), name

    model[2].requires_grad_(False)
    part = [0, 3, 4]  # weights of the first, weight and bias of the last layer
    g = per_sample_gradients(model, loss, x, y)
    sizes = [p.numel() for p in model.parameters()]
    g = torch.cat([g.split(sizes, 1)[k] for k in part], 1)
    target = torch.cat([gradient[k].flatten() for k in part])
    found = similarity(model, loss, x, y, gradient)
    assert torch.allclose(found["dot"], g @ target, atol=1e-10)
    assert torch.allclose(found["gradient_norm"], g.norm(dim=1), atol=1e-10)


def test_zero_gradients_are_zero_similar():
    model = Autoencoder(4, (3,), 2)
    nn.init.zeros_(model.decoder[-1].weight)
    nn.init.zeros_(model.decoder[-1].bias)
    x = torch.tensor([[0.0, 0, 0, 0], [1, 2, 3, 4]])  # the first is reconstructed exactly
    gradient = target_gradient(model, reconstruction_loss, x[1:], x[1:])
    found = similarity(model, reconstruction_loss, x, x, gradient)
    assert found["cosine"][0] == 0 and found["gradient_norm"][0] == 0 and found["dot"][0] == 0
    assert found["cosine"][1] == pytest.approx(1)
    nothing = [torch.zeros_like(g) for g in gradient]
    found = similarity(model, reconstruction_loss, x, x, nothing)
    assert not found["cosine"].any() and not found["projection"].any()
    assert torch.allclose(found["l2"], -found["gradient_norm"])


def test_no_samples_have_no_values():
    model, x = Autoencoder(4, (3,), 2), torch.randn(3, 4)
    gradient = target_gradient(model, reconstruction_loss, x, x)
    assert {v.shape for v in similarity(model, reconstruction_loss, x[:0], x[:0], gradient).values()} == {(0,)}


def test_nan_stays_in_its_sample():
    model = Autoencoder(4, (3,), 2)
    x = torch.randn(3, 4)
    gradient = target_gradient(model, reconstruction_loss, x, x)
    clean = similarity(model, reconstruction_loss, x, x, gradient)
    x[1, 2] = torch.nan
    found = similarity(model, reconstruction_loss, x, x, gradient)
    for name, value in found.items():
        assert torch.isnan(value[1]), name
        assert torch.allclose(value[[0, 2]], clean[name][[0, 2]]), name


def test_what_it_cannot_do_is_said():
    x = torch.randn(3, 4)
    model = nn.Linear(4, 4)
    gradient = target_gradient(model, reconstruction_loss, x, x)
    with pytest.raises(ValueError, match="one loss per sample"):
        similarity(model, nn.MSELoss(), x, x, gradient)
    with pytest.raises(ValueError, match="1 target gradients for 2 parameters"):
        similarity(model, reconstruction_loss, x, x, gradient[:1])
    with pytest.raises(ValueError, match="no parameter w; it has weight, bias"):
        similarity(model, reconstruction_loss, x, x, gradient, grad_params=["w"])
    for nothing in (nn.Tanh(), model.requires_grad_(False)):
        with pytest.raises(ValueError, match="no trainable parameters"):
            similarity(nothing, reconstruction_loss, x, x, gradient)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rules_hold_in_single_precision(dtype, caplog):
    """The check of the rules is not upset by rounding, not even where a gradient nearly vanishes."""
    torch.manual_seed(0)
    layers = [nn.Linear(300, 40), nn.LayerNorm(40), nn.Mish(), nn.Linear(40, 300), nn.Unflatten(1, (3, 10, 10))]
    model = nn.Sequential(*layers, nn.Conv2d(3, 6, 3), nn.InstanceNorm2d(6), nn.Flatten()).to(dtype)
    x = 100 * torch.randn(50, 300, dtype=dtype)
    loss = lambda prediction, y: (prediction - 1).square().sum(1)  # noqa: E731
    similarity(model, loss, x, x, target_gradient(model, loss, x, x))
    assert not caplog.records


def test_similarities_leave_the_model_alone():
    model = make_autoencoder(6, (5,), 2, seed=1)
    x = torch.randn(4, 6)
    gradient = target_gradient(model, reconstruction_loss, x, x)
    before = [p.detach().clone() for p in model.parameters()]
    similarity(model, reconstruction_loss, x, x, gradient)
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert not any(m._forward_hooks for m in model.modules())


def test_published_autoencoder_has_the_published_size():
    assert sum(p.numel() for p in Autoencoder(978).parameters()) == 666_642
    assert np.isfinite(Autoencoder(978)(torch.zeros(1, 978)).sum().item())
