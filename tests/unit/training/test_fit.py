import copy

import numpy as np
import pytest
import torch

from dvgs.training.fit import Training, batches, fit, r2
from dvgs.training.models import make_autoencoder, reconstruction_loss
from dvgs.training.schedule import Schedule

SIZES = {"hidden": (12,), "latent": 4}


def test_r2_is_that_of_scikit_learn(rng):
    from sklearn.metrics import r2_score

    x = (rng.normal(size=(300, 20)) + 1000 * rng.normal(size=20)).astype(np.float32)
    model = make_autoencoder(20, **SIZES, seed=2)
    expected = r2_score(x, model(torch.from_numpy(x)).detach().numpy(), multioutput="uniform_average")
    assert r2(model, torch.from_numpy(x)) == pytest.approx(expected, rel=1e-6)


def test_r2_of_a_constant_gene_and_in_blocks(rng, monkeypatch):
    x = torch.from_numpy(rng.normal(size=(30, 3)).astype(np.float32))
    x[:, 1] = 5
    half = torch.nn.Linear(3, 3, bias=False)
    torch.nn.init.eye_(half.weight)
    assert r2(half, x) == pytest.approx(1)
    with torch.no_grad():
        half.weight.mul_(0.5)
    whole = r2(half, x)
    monkeypatch.setattr("dvgs.training.fit.PREDICTION_CHUNK", 7)
    assert r2(half, x) == pytest.approx(whole, rel=1e-12)
    assert whole < 0.55  # two genes at most .75 each, the constant one 0


def trained(schedule):
    model = torch.nn.Sequential(torch.nn.Linear(20, 6), torch.nn.Dropout(0.4), torch.nn.Linear(6, 20))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.linspace(-0.3, 0.3, parameter.numel()).reshape(parameter.shape))
    return Training(model, reconstruction_loss, schedule, seed=1)


def numbers(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("batch_size", [7, 100])
def test_fit_is_adam_written_by_hand(rng, batch_size):
    """In float64, with the batches and no dropout."""
    x = torch.from_numpy(rng.normal(size=(30, 4)))
    model = torch.nn.Linear(4, 4).double()
    p = [t.detach().clone() for t in (model.weight, model.bias)]
    fit(model, reconstruction_loss, (x, x), Schedule(steps=9, batch_size=batch_size, learning_rate=0.05), seed=3)
    first, second = [torch.zeros_like(t) for t in p], [torch.zeros_like(t) for t in p]
    order = batches(30, batch_size, 3)
    for step in range(1, 10):
        own = x[next(order)]
        residual = own @ p[0].T + p[1] - own
        gradients = [2 * residual.T @ own / residual.numel(), 2 * residual.sum(0) / residual.numel()]
        for k, g in enumerate(gradients):
            first[k], second[k] = 0.9 * first[k] + 0.1 * g, 0.999 * second[k] + 0.001 * g**2
            p[k] -= 0.05 * (first[k] / (1 - 0.9**step)) / ((second[k] / (1 - 0.999**step)).sqrt() + 1e-8)
    assert torch.allclose(numbers(model), torch.cat([t.flatten() for t in p]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("left_at", [0, 1, 5, 10])
def test_a_training_that_was_left_goes_on_to_the_same_bytes(rng, left_at):
    x = torch.from_numpy(rng.normal(size=(30, 20)).astype(np.float32))
    schedule, rows = Schedule(steps=11, batch_size=8, learning_rate=0.01), torch.arange(25)
    whole = numbers(trained(schedule).run((x, x), rows))
    left = trained(schedule)
    states = []

    def stop(step, loss):
        if step == left_at:
            states.append(copy.deepcopy(left.state_dict()))
        return step == left_at

    left.run((x, x), rows, stop)
    again = trained(schedule)
    again.load_state_dict(states[0])
    assert again.step == left_at and torch.equal(numbers(again.run((x, x), rows)), whole)


def test_rows_are_those_samples_alone(rng):
    x = torch.from_numpy(rng.normal(size=(30, 20)).astype(np.float32))
    schedule, rows = Schedule(epochs=2, batch_size=8, learning_rate=0.01), torch.tensor([3, 29, 7, 11, 0, 5, 6, 8, 9])
    some = trained(schedule).run((x, x), rows)
    assert torch.equal(numbers(some), numbers(trained(schedule).run((x[rows], x[rows]))))


def test_training_leaves_mode_and_random_state(rng):
    x = torch.from_numpy(rng.normal(size=(30, 20)).astype(np.float32))
    training = trained(Schedule(steps=2, batch_size=8, learning_rate=0.01))
    state = torch.get_rng_state()
    model = training.run((x, x))
    assert model.training and torch.equal(state, torch.get_rng_state())
