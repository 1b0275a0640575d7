"""Rules that users register for layers of their own."""

import doctest

import pytest
import torch
from torch import nn

from dvgs.gradients import GradientSimilarity, layers, register_rule
from dvgs.gradients.layers import rule_for
from unit.gradients.test_layers import check, no_rule, squares, target_gradient


class Scale(nn.Module):
    """y = gain * x + offset"""

    def __init__(self, width):
        super().__init__()
        self.gain, self.offset = nn.Parameter(torch.randn(width)), nn.Parameter(torch.randn(width))

    def forward(self, x):
        return self.gain * x + self.offset


class SubScale(Scale):
    pass


def right(layer, a, delta, gradient):
    own = {"gain": delta * a, "offset": delta}
    g = torch.cat([own[name] for name in gradient], dim=1)
    return g @ torch.cat(list(gradient.values())), g.square().sum(1)


def twice(layer, a, delta, gradient):
    dot, squared = right(layer, a, delta, gradient)
    return 2 * dot, squared


def of_the_gain_alone(layer, a, delta, gradient):
    return right(layer, a, delta, {"gain": gradient["gain"]})


def of_the_mean_sample(layer, a, delta, gradient):
    return tuple(values.mean().expand(len(a)) for values in right(layer, a, delta, gradient))


def of_another_shape(layer, a, delta, gradient):
    return tuple(values[:, None] for values in right(layer, a, delta, gradient))


def not_a_number(layer, a, delta, gradient):
    return tuple(values * torch.nan for values in right(layer, a, delta, gradient))


def in_place(layer, a, delta, gradient):
    return right(layer, a, delta.mul_(2), gradient)[0] / 2, right(layer, a, delta.div_(2), gradient)[1]


WRONG = [twice, of_the_gain_alone, of_the_mean_sample, of_another_shape, not_a_number, in_place]


@pytest.fixture(autouse=True)
def rules(monkeypatch):
    """Registrations end with the test."""
    assert rule_for(Scale(2)) is None
    monkeypatch.setattr(layers, "RULES", dict(layers.RULES))


def model_of(scale):
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), scale, nn.Linear(5, 3)).double()


def formed(model, n=9):
    """The names of the parameters whose gradients are formed after a batch."""
    x = torch.randn(n, 6).double()
    engine = GradientSimilarity(model, squares)
    engine(x, x, target_gradient(model, squares, x, x))
    return [engine.compared[p] for p in engine.formed]


@pytest.mark.parametrize("n", [1, 9])
@pytest.mark.parametrize("grad_params", [None, {"2.gain"}, {"2.offset", "0.weight"}])
def test_a_right_rule_is_used(n, grad_params, caplog):
    assert register_rule(Scale, right, parameters=("gain", "offset")) is right
    torch.manual_seed(n)
    model = model_of(Scale(5))
    check(model, torch.randn(n, 6).double(), torch.randn(4, 6).double(), grad_params=grad_params)
    assert formed(model) == [] and not no_rule(caplog)


@pytest.mark.parametrize(
    ("rule", "n"), [(rule, n) for rule in WRONG for n in (1, 9) if n > 1 or rule is not of_the_mean_sample]
)
def test_a_wrong_rule_is_not_used_and_the_log_says_so(rule, n, caplog):
    register_rule(Scale, rule, parameters=("gain", "offset"))
    torch.manual_seed(0)
    model = model_of(Scale(5))
    check(model, torch.randn(n, 6).double(), torch.randn(4, 6).double())
    assert len(no_rule(caplog)) == 1 and "no rule fits 2.gain, 2.offset:" in no_rule(caplog)[0]
    assert formed(model, n) == ["2.gain", "2.offset"]


def test_a_rule_that_is_right_for_one_sample_only_is_found_out_by_more():
    register_rule(Scale, of_the_mean_sample, parameters=("gain", "offset"))
    model = model_of(Scale(5))
    engine, x = GradientSimilarity(model, squares), torch.randn(9, 6).double()
    gradient = target_gradient(model, squares, x, x)
    engine(x[:1], x[:1], gradient)
    assert engine.formed == []
    found = engine(x, x, gradient)
    assert len(engine.formed) == 2
    register_rule(Scale, right, parameters=("gain", "offset"))
    expected = GradientSimilarity(model, squares)(x, x, gradient)
    assert all(torch.allclose(found[name], value, rtol=1e-10) for name, value in expected.items())


def test_without_a_registration_the_gradients_are_formed():
    assert formed(model_of(Scale(5))) == ["2.gain", "2.offset"]


def test_the_second_registration_counts():
    register_rule(Scale, twice, parameters=("gain", "offset"))
    model = model_of(Scale(5))
    before = GradientSimilarity(model, squares)
    register_rule(Scale, right, parameters=("gain", "offset"))
    assert formed(model) == []
    x = torch.randn(4, 6).double()
    before(x, x, target_gradient(model, squares, x, x))
    assert len(before.formed) == 2  # it has the rules of when it was made


def test_a_rule_for_a_layer_of_torch_is_replaced():
    register_rule(nn.Linear, lambda layer, a, delta, gradient: (delta.sum(1), delta.sum(1)))
    assert formed(model_of(nn.Tanh())) == ["0.weight", "0.bias", "3.weight", "3.bias"]


def test_layers_with_other_parameters_and_subclasses_fall_back():
    register_rule(Scale, right, parameters=("gain", "offset"))
    other = Scale(5)
    other.shift = nn.Parameter(torch.zeros(5))
    assert rule_for(Scale(5)) is right
    assert rule_for(other) is None and rule_for(SubScale(5)) is None
    model = model_of(SubScale(5))
    check(model, torch.randn(5, 6).double(), torch.randn(4, 6).double())
    assert formed(model) == ["2.gain", "2.offset"]
    register_rule(Scale, right)  # of weight and bias, by default
    assert rule_for(Scale(5)) is None


class Twofold(Scale):
    def forward(self, x):
        return super().forward(x), x


class Around(nn.Module):
    def __init__(self, scale, call):
        super().__init__()
        self.scale, self.call = scale, call

    def forward(self, x):
        return self.call(self.scale, x)


@pytest.mark.parametrize(
    ("scale", "call"),
    [
        (Scale, lambda scale, x: scale(x=x)),  # only the name `input` says which keyword is the input
        (Twofold, lambda scale, x: scale(x)[0] * x),  # two outputs
        (Scale, lambda scale, x: scale(scale(x))),  # twice
    ],
)
def test_layers_that_are_called_as_no_rule_allows_fall_back(scale, call, caplog):
    register_rule(scale, right, parameters=("gain", "offset"))
    model = model_of(Around(scale(5), call))
    check(model, torch.randn(5, 6).double(), torch.randn(4, 6).double())
    assert formed(model) == ["2.scale.gain", "2.scale.offset"] and "2.scale.gain" in no_rule(caplog)[0]


def test_what_cannot_be_registered():
    with pytest.raises(TypeError, match="not a type of layers"):
        register_rule(Scale(2), right)
    with pytest.raises(TypeError, match="not a type of layers"):
        register_rule(dict, right)
    with pytest.raises(TypeError, match="the string 'gain'"):
        register_rule(Scale, right, parameters="gain")
    with pytest.raises(TypeError, match="cannot be called"):
        register_rule(Scale, 3)
    assert rule_for(Scale(2)) is None


def test_the_example_of_the_docstring():
    example = doctest.DocTestFinder().find(register_rule, globs={})[0]
    runner = doctest.DocTestRunner()
    runner.run(example, clear_globs=False)
    assert runner.summarize(verbose=False) == (0, len(example.examples))
    model = model_of(example.globs["Scale"](5))
    check(model, torch.randn(5, 6).double(), torch.randn(4, 6).double(), grad_params={"2.offset", "0.bias"})
    assert formed(model) == []
