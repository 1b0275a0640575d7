import copy

import numpy as np
import pytest
import torch
from torch import nn

import dvgs
from dvgs.errors import InputError
from dvgs.gradients import GradientSimilarity
from dvgs.gradients.natural import natural_gradient
from dvgs.training.models import make_classifier, make_image_classifier
from dvgs.valuation.trajectory import Trajectory


def squares(prediction, y):
    return (prediction - y).square().sum(1)


def slow_natural_gradient(model, x, y):
    """The Fisher matrix of every layer formed whole, from gradients of one sample at a time; by parameter's name."""
    found = {}
    for name, layer in model.named_modules():
        if not isinstance(layer, nn.Linear):
            continue
        seen = {}
        handles = [
            layer.register_forward_hook(lambda _, a, y, seen=seen: seen.update(a=a[0][0].detach())),
            layer.register_full_backward_hook(lambda _, __, delta, seen=seen: seen.update(delta=delta[0][0])),
        ]
        inputs, deltas = [], []
        for sample in range(len(x)):
            squares(model(x[sample, None].requires_grad_()), y[sample, None]).sum().backward()
            inputs.append(torch.cat([seen["a"], torch.ones(1 if layer.bias is not None else 0, dtype=x.dtype)]))
            deltas.append(seen["delta"])
        for handle in handles:
            handle.remove()
        gradient = sum(torch.outer(d, a) for d, a in zip(deltas, inputs, strict=True)) / len(x)
        around = []
        for vectors in (deltas, inputs):
            matrix = sum(torch.outer(v, v) for v in vectors) / len(x)
            damping = np.sqrt(len(matrix) / len(x)) * torch.linalg.eigvalsh(matrix).mean()
            around.append(matrix + damping * torch.eye(len(matrix)))
        fisher = torch.kron(*around)
        solved = torch.linalg.solve(fisher, gradient.flatten()).view_as(gradient)
        found[f"{name}.weight"] = solved[:, : layer.in_features]
        if layer.bias is not None:
            found[f"{name}.bias"] = solved[:, -1]
    return found


@pytest.fixture
def data():
    rng = torch.Generator().manual_seed(3)
    x = torch.randn(23, 6, dtype=torch.float64, generator=rng)
    return x, torch.randn(23, 4, dtype=torch.float64, generator=rng)


def network():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(6, 5), nn.Tanh(), nn.LayerNorm(5, elementwise_affine=False), nn.Linear(5, 4)
    ).double()


@pytest.mark.parametrize("size", [1, 5, 23, 100])
def test_natural_gradient_is_the_inverse_fisher_matrix_times_the_gradient(data, size):
    model = network()
    model.insert(3, nn.Linear(5, 5, bias=False, dtype=torch.float64))
    found = natural_gradient(GradientSimilarity(model, squares), *data, size)
    expected = slow_natural_gradient(model, *data)
    assert {name for name, _ in model.named_parameters()} == set(expected)
    for name, p in model.named_parameters():
        assert torch.allclose(found[p], expected[name], rtol=1e-9), name


def test_only_what_is_compared(data):
    model = network()
    for names in ({"3.weight"}, {"3.bias"}, {"0.bias", "3.weight"}):
        engine = GradientSimilarity(model, squares, names)
        found = natural_gradient(engine, *data, 10)
        assert {engine.compared[p] for p in found} == names
        assert all(g.shape == p.shape and g.any() for p, g in found.items())


def test_a_gradient_of_zero_stays_zero(data):
    model, x = network(), data[0]
    with torch.no_grad():
        y = model(x)
    assert not any(g.any() for g in natural_gradient(GradientSimilarity(model, squares), x, y, 23).values())


def test_one_sample(data):
    model, (x, y) = network(), data
    found = natural_gradient(GradientSimilarity(model, squares), x[:1], y[:1], 5)
    assert all(torch.allclose(found[p], expected) for p, expected in zip(
        model.parameters(), slow_natural_gradient(model, x[:1], y[:1]).values(), strict=True
    ))  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_in_other_numbers_it_is_nearly_the_same(data, dtype):
    exact = natural_gradient(GradientSimilarity(network(), squares), *data, 23)
    coarse = natural_gradient(GradientSimilarity(network().to(dtype), squares), *(t.to(dtype) for t in data), 23)
    for a, b in zip(exact.values(), coarse.values(), strict=True):
        error = (a - b).norm() / a.norm()
        assert error < (1e-4 if dtype == torch.float32 else 0.2)


def test_other_layers_are_refused(data):
    images = torch.randn(4, 3, 32, 32)
    engine = GradientSimilarity(make_image_classifier([8], 3, 0), nn.CrossEntropyLoss(reduction="none"))
    with pytest.raises(InputError, match=r"model: natural: 0.weight has no natural gradient.* grad_params"):
        natural_gradient(engine, images, torch.zeros(4, dtype=torch.int64), 4)
    sequences = torch.randn(4, 7, 6)
    engine = GradientSimilarity(nn.Sequential(nn.Linear(6, 2)), lambda out, y: (out - y).square().sum((1, 2)))
    with pytest.raises(InputError, match="Linear layers have one that see vectors"):
        natural_gradient(engine, sequences, torch.randn(4, 7, 2), 4)
    twice = nn.Linear(6, 6, dtype=torch.float64)
    engine = GradientSimilarity(nn.Sequential(twice, nn.Tanh(), twice), squares)
    with pytest.raises(InputError, match=r"0.weight has no natural gradient.* once a pass"):
        natural_gradient(engine, data[0], data[0], 23)


def test_a_loss_that_is_not_finite_is_one_line(data):
    x, y = data
    y[7] = np.inf
    with pytest.raises(InputError, match="losses, its gradients or their squares are not finite"):
        natural_gradient(GradientSimilarity(network(), squares), x, y, 5)


def test_a_gradient_that_is_not_finite_is_one_line(data):
    model, (x, y) = network(), data
    y[20, 0] = 10
    engine = GradientSimilarity(model, lambda prediction, y: (squares(prediction, y) * (y[:, 0] < 10)).sqrt())
    with pytest.raises(InputError, match="lower it or scale the data"):
        natural_gradient(engine, x, y, 5)


def test_values_compare_with_the_natural_gradient_of_the_whole_target(tmp_path):
    rng = torch.Generator().manual_seed(4)
    x, y = torch.randn(40, 6, generator=rng), torch.randint(3, (40,), generator=rng)
    model, loss = make_classifier(6, [5], 3, seed=2), nn.CrossEntropyLoss(reduction="none")
    along = copy.deepcopy(model)
    source, options = (x[:15], y[:15]), {"epochs": 2, "batch_size": 8, "natural": True, "work": tmp_path}
    table = dvgs.value(model, loss, source, (x[15:], y[15:]), **options)
    engine, cosines = GradientSimilarity(along, loss), []
    with Trajectory(tmp_path / "trajectory.h5", along) as trajectory:
        assert len(trajectory) == 8
        for row in range(len(trajectory)):
            written = trajectory.at(row)
            direction = natural_gradient(engine, x[15:], y[15:], 25)
            assert all(
                torch.allclose(g, direction[p], rtol=1e-3, atol=1e-6) for g, p in zip(written, direction, strict=True)
            )
            cosines.append(engine(*source, list(direction.values()))["cosine"])
    assert np.allclose(table["cosine"], torch.stack(cosines).double().mean(0), atol=1e-5)
    plain = dvgs.value(model, loss, source, (x[15:], y[15:]), **options | {"natural": False, "work": None})
    assert np.array_equal(plain["loss"], table["loss"])  # the training is the same
    assert not np.allclose(plain["cosine"], table["cosine"], atol=1e-3)
