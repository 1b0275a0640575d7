"""What a trial says of every layer, and what the engine makes of it."""

import pytest
import torch
from torch import nn

from dvgs.gradients import GradientSimilarity
from dvgs.gradients.factors import Objective, assign
from dvgs.gradients.per_sample import form, form_singly
from dvgs.gradients.trial import TRIAL, Outcome, try_rules
from unit.gradients.test_fallback import Branching
from unit.gradients.test_layers import squares, target_gradient


class Network(nn.Module):
    """A layer for every outcome."""

    def __init__(self):
        super().__init__()
        self.plain, self.twice, self.spare = nn.Linear(6, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.behind, self.zero = nn.Linear(6, 3), nn.Linear(3, 4, bias=False)
        self.elsewhere = nn.Linear(4, 4)
        nn.init.zeros_(self.zero.weight)

    def forward(self, x):
        y = self.twice(torch.tanh(self.twice(self.plain(x)))) + self.zero(self.behind(x))
        return y + self.elsewhere(y) + self.elsewhere.bias.square()


def objective_of(model):
    names = {p: name for name, p in model.named_parameters()}
    return Objective(model, squares, names)


def tried(model, x):
    objective = objective_of(model)
    return try_rules(objective, assign(objective), x, x)


def test_every_layer_has_an_outcome():
    model = Network().double()
    trial = tried(model, torch.randn(20, 6).double())
    assert trial.outcomes == {
        model.plain: Outcome.CONFIRMED,
        model.zero: Outcome.CONFIRMED,
        model.twice: Outcome.REJECTED,
        model.elsewhere: Outcome.REJECTED,
        model.behind: Outcome.NO_GRADIENT,
        model.spare: Outcome.NOT_REACHED,
    }
    assert set(trial.assignment.rules) == {model.plain, model.zero, model.behind, model.spare}
    assert trial.assignment.formed == [*model.twice.parameters(), *model.elsewhere.parameters()]
    assert trial.n_samples == TRIAL and not trial.draws


def test_a_trial_changes_nothing_that_it_is_given():
    objective = objective_of(Network().double())
    before = assign(objective)
    rules, formed = dict(before.rules), list(before.formed)
    x = torch.randn(20, 6).double()
    assert try_rules(objective, before, x, x).assignment.formed
    assert before.rules == rules and before.formed == formed


@pytest.mark.parametrize(("finite", "n_samples"), [([0], 1), ([13], 1), (range(4, 20), TRIAL), ([], 0)])
def test_only_samples_with_a_finite_loss_are_tried(finite, n_samples):
    """Here those that are looked at first are 0, 3, 5, 8, 11, 14, 16 and 19."""
    x = torch.full((20, 6), torch.nan).double()
    x[list(finite)] = torch.randn(len(list(finite)), 6).double()
    model = nn.Sequential(nn.Linear(6, 3)).double()
    trial = tried(model, x)
    looked = {0, 3, 5, 8, 11, 14, 16, 19} & set(finite)
    assert trial.n_samples == (len(looked) or n_samples)
    assert trial.outcomes == ({model[0]: Outcome.CONFIRMED} if n_samples else {})


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_a_model_that_draws_random_numbers(p):
    model = nn.Sequential(nn.Linear(6, 30), nn.Dropout(p) if p else nn.Identity(), nn.Linear(30, 2)).double()
    x = torch.randn(20, 6).double()
    assert tried(model, x).draws == (p > 0)
    engine = GradientSimilarity(model, squares)
    state = torch.get_rng_state()
    engine.prepare(x, x)
    assert engine.is_static == (p == 0) and torch.equal(torch.get_rng_state(), state)


def test_samples_that_influence_each_other_are_refused_every_time():
    class Centred(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 6)

        def forward(self, x):
            return self.layer(x) - self.layer(x).mean(dim=0)

    model, x = Centred().double(), torch.randn(9, 6).double()
    engine, gradient = GradientSimilarity(model, squares), target_gradient(model, squares, x, x)
    for _ in range(2):
        with pytest.raises(ValueError, match="changes with the samples beside it"):
            engine(x, x, gradient)


def test_undecided_layers_are_tried_again(caplog):
    """Nothing is formed as long as nothing speaks against the rule, and a gradient ends the doubt."""
    model = Network().double()
    engine, x = GradientSimilarity(model, squares), torch.randn(20, 6).double()
    gradient = target_gradient(model, squares, x, x)
    engine(x, x, gradient)
    doubtful = {name for name in engine.compared.values() if name.startswith(("behind", "spare"))}
    assert not doubtful & {engine.compared[p] for p in engine.formed}
    nn.init.normal_(model.zero.weight)
    engine(x, x, gradient)
    assert not doubtful & {engine.compared[p] for p in engine.formed}
    assert engine._findings.outcomes[model.behind] is Outcome.CONFIRMED
    assert len(caplog.records) == 1


def test_one_by_one_gives_what_vmap_gives():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 4), nn.PReLU(), nn.InstanceNorm1d(1, track_running_stats=True)).double().eval()
    objective = objective_of(model)
    x = torch.randn(7, 1, 6).double()
    gradient_of = {p: torch.randn_like(p) for p in objective.names}
    for at_once, singly in zip(
        form(objective, x, x, gradient_of), form_singly(objective, x, x, gradient_of), strict=True
    ):
        assert at_once.shape == (7,) and torch.allclose(at_once, singly, rtol=1e-12)


def test_what_vmap_cannot_batch_is_formed_one_by_one():
    model, x = Branching().double(), torch.randn(7, 5).double()
    objective = objective_of(model)
    gradient_of = {model.scale: torch.tensor(0.5).double()}
    found = form(objective, x, x, gradient_of)
    assert all(torch.equal(a, b) for a, b in zip(found, form_singly(objective, x, x, gradient_of), strict=True))
