"""Similarity of every sample's gradient to a given gradient, without forming per-sample gradients.

For a layer y = W a + b, sample i has the gradient δ_i a_iᵀ for W and δ_i for b, where δ_i is the gradient of its
loss with respect to y. With a target gradient (G, g),

    <g_i, g_target> = Σ_layers δ_iᵀ (G a_i + g)        ‖g_i‖² = Σ_layers ‖δ_i‖² (‖a_i‖² + 1)

so one forward pass, one backward pass to the layers' outputs and one more product a layer give the exact
cosine, dot product, projection and distance: about the cost of a training step. `layers` has such rules for
many layers, `factors` gives them a and δ, and `trial` checks them. What has no rule falls back to gradients formed
sample by sample (`per_sample`), for those parameters alone.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from dvgs.devices import fork_random
from dvgs.gradients.factors import Assignment, Loss, Objective, apply_rule, assign, forward, output_gradients
from dvgs.gradients.per_sample import form
from dvgs.gradients.trial import TRIAL, Outcome, Trial, try_rules
from dvgs.progress import logger

TargetGradient = Sequence[torch.Tensor | None]
Factors = tuple[torch.Tensor, dict[nn.Module, tuple[torch.Tensor, torch.Tensor]]]


def similarity(
    model: nn.Module,
    loss: Loss,
    x: torch.Tensor,
    y: torch.Tensor,
    target_gradient: TargetGradient,
    grad_params: Collection[str] | None = None,
) -> dict[str, torch.Tensor]:
    """How the gradient of each sample's loss compares with a target gradient.

    model: any module whose samples, along dimension 0 of x and of its output, do not influence each other. It is used
    in the mode it is in, so dropout draws one mask per sample when training. loss(prediction, y): one
    loss per sample, shape (n,). target_gradient: what torch.autograd.grad(target_loss, list(model.parameters()))
    returns, None for parameters without influence. grad_params: the names of the parameters to compare, by default
    all that require gradients.

    Returns a dict of tensors of shape (n,): `cosine`; `dot`; `projection` of the sample's gradient on the
    target's (dot / ‖target‖); `l2`, the negative Euclidean distance, so that more is better throughout;
    `gradient_norm`; `loss`. Where a norm is zero, cosine and projection are zero. NaN in a sample stays
    in that sample. `l2` is a difference of squares: what is closer to the target than the square root of the
    rounding error shows a distance up to that (3e-4 of its norm in float32). Raises ValueError for a loss that is
    not per sample, for a model without parameters to compare and for one whose samples influence each other,
    like BatchNorm in training.
    """
    return GradientSimilarity(model, loss, grad_params)(x, y, target_gradient)


@dataclass
class Findings:
    """All that the engine keeps between calls: what it found out about the model.

    assignment: the rules in use, and the parameters whose gradients are formed. outcomes: what the last trial said of
    each layer, and REJECTED for those rejected since. n_tried: the samples of the last trial, zero where one is due.
    draws: whether the model draws random numbers. width: bytes that the layers with a rule took in and gave out for one
    sample of the last pass. reported: whether the log says that gradients are formed.
    """

    assignment: Assignment
    outcomes: dict[nn.Module, Outcome] = field(default_factory=dict)
    n_tried: int = 0
    draws: bool = False
    width: int = 1
    reported: bool = False

    def needs_trial(self, n: int) -> bool:
        """Whether n samples can tell more than the last trial did."""
        return Outcome.NO_GRADIENT in self.outcomes.values() or self.n_tried < min(TRIAL, n)

    def not_reached(self, layers: Iterable[nn.Module]) -> list[nn.Module]:
        """Those of the layers that the last trial did not reach."""
        return [layer for layer in layers if self.outcomes.get(layer) is Outcome.NOT_REACHED]

    def add(self, trial: Trial) -> None:
        """Take over what a trial found."""
        self.assignment = trial.assignment
        if trial.n_samples:
            self.outcomes, self.n_tried = trial.outcomes, trial.n_samples
            self.draws, self.width = trial.draws, trial.width
        else:
            self.outcomes = self.outcomes | trial.outcomes

    def reject(self, layers: Collection[nn.Module], objective: Objective) -> None:
        """Form the gradients of these layers from now on."""
        self.assignment = self.assignment.without(layers, objective)
        self.outcomes = self.outcomes | dict.fromkeys(layers, Outcome.REJECTED)


class GradientSimilarity:
    """`similarity` for many batches of one model: what the layers allow is found out once, on the first batch.

    `compared`: the names of the parameters that are compared, by parameter.
    """

    def __init__(self, model: nn.Module, loss: Loss, grad_params: Collection[str] | None = None):
        named = dict(model.named_parameters())
        if unknown := set(grad_params or ()) - set(named):
            raise ValueError(f"the model has no parameter {sorted(unknown)[0]}; it has {', '.join(named)}")
        if frozen := [name for name in grad_params or () if not named[name].requires_grad]:
            raise ValueError(f"parameter {frozen[0]} does not require gradients, so it cannot be compared")
        self.compared = {
            p: name for name, p in named.items() if p.requires_grad and (grad_params is None or name in grad_params)
        }
        if not self.compared:
            raise ValueError("the model has no trainable parameters to compare")
        self._objective = Objective(model, loss, self.compared)
        self._findings = Findings(assign(self._objective))

    @property
    def formed(self) -> list[nn.Parameter]:
        """The compared parameters that no rule fits."""
        return self._findings.assignment.formed

    @property
    def width(self) -> int:
        """After a call, the bytes that the layers with a rule took in and gave out for one sample."""
        return self._findings.width

    @property
    def is_static(self) -> bool:
        """After a call: whether calls on as many samples do the same: no random numbers, no gradients formed."""
        return not (self._findings.draws or self.formed)

    def __call__(
        self,
        x: torch.Tensor,
        y: torch.Tensor,
        target_gradient: TargetGradient,
        target_squared: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """As `similarity`. target_squared: what `squared_norm` gives for this target, where that is known already."""
        losses, dot, squared = self._sums(x, y, self._by_parameter(target_gradient))
        if target_squared is None:
            target_squared = self.squared_norm(target_gradient)
        return _similarities(dot, squared, target_squared) | {"loss": losses}

    def squared_norm(self, target_gradient: TargetGradient) -> torch.Tensor:
        """Of a target gradient, over the parameters that are compared; a scalar."""
        squares = [torch.linalg.vector_norm(g).square() for g in self._by_parameter(target_gradient).values()]
        return sum(squares[1:], squares[0])

    def prepare(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Find out, from a few of these samples, what the layers allow, as far as that is not known yet."""
        _refuse_batch_statistics(self._objective.model)
        if self._findings.needs_trial(len(x)):
            with fork_random(x.device), torch.autocast(x.device.type, enabled=False):
                self._findings.add(try_rules(self._objective, self._findings.assignment, x, y))
            self._report()

    def factors(self, x: torch.Tensor, y: torch.Tensor) -> Factors:
        """Losses (n,), and by layer with a rule its input a and the gradients δ of every sample's loss for its output.

        The parameters in `formed` have no such factors.
        """
        found = None
        while found is None:
            self.prepare(x, y)
            found = self._factors(x, y)
        return found

    def _by_parameter(self, target_gradient: TargetGradient) -> dict[nn.Parameter, torch.Tensor]:
        parameters = list(self._objective.model.parameters())
        if len(target_gradient) != len(parameters):
            raise ValueError(f"{len(target_gradient)} target gradients for {len(parameters)} parameters")
        return {
            p: torch.zeros_like(p) if g is None else g.detach()
            for p, g in zip(parameters, target_gradient, strict=True)
            if p in self.compared
        }

    def _sums(self, x, y, gradient_of):
        """Losses, dot products and squared norms, each (n,)."""
        found = None
        while found is None:
            self.prepare(x, y)
            if self.formed and self._findings.draws:
                # A second pass would draw other masks, so all parameters must come from one.
                return form(self._objective, x, y, gradient_of)
            found = self._factors(x, y)
        losses, factors = found
        rules = self._findings.assignment.rules
        with torch.autocast(x.device.type, enabled=False):  # a caller's autocast is for the model; rules keep sums wide
            dot, squared = torch.zeros_like(losses), torch.zeros_like(losses)
            for layer, pair in factors.items():
                layer_dot, layer_squared = apply_rule(rules[layer], layer, pair, gradient_of)
                dot += layer_dot
                squared += layer_squared
        if self.formed:
            _, formed_dot, formed_squared = form(self._objective, x, y, {p: gradient_of[p] for p in self.formed})
            dot += formed_dot
            squared += formed_squared
        return losses, dot, squared

    def _factors(self, x: torch.Tensor, y: torch.Tensor) -> Factors | None:
        """As `factors`; None when a layer was used as in no trial, which the findings then say."""
        found = forward(self._objective, self._findings.assignment.rules, x, y)
        if found.misused:
            self._findings.reject(found.misused, self._objective)
            self._findings.n_tried = 0
            return None
        if self._findings.not_reached(found.calls):
            self._findings.n_tried = 0
            self.prepare(x, y)
            # The few samples of the trial need not reach what all of them do.
            self._findings.reject(self._findings.not_reached(found.calls), self._objective)
            self._report()
            return None
        self._findings.width = found.width
        with torch.autocast(x.device.type, enabled=False):
            deltas = output_gradients(found)
        return found.losses.detach(), {layer: (found.calls[layer][0], delta) for layer, delta in deltas.items()}

    def _report(self) -> None:
        if self.formed and not self._findings.reported:
            names = ", ".join(self.compared[p] for p in self.formed)
            logger.warning("no rule fits %s: their gradients are formed sample by sample, which is slow", names)
            self._findings.reported = True


def _refuse_batch_statistics(model):
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and (module.training or module.running_mean is None):
            raise ValueError(
                f"{name or 'the model'} is a BatchNorm that uses the statistics of the batch, so a sample has no "
                "gradient of its own; use GroupNorm or LayerNorm, or put it into evaluation with .eval()"
            )


def _similarities(dot, squared_norm, target_squared):
    norm, target_norm = squared_norm.sqrt(), target_squared.sqrt()

    def ratio(top, bottom):
        return torch.where(bottom == 0, torch.zeros_like(top), top / bottom)

    return {
        "cosine": ratio(dot, norm * target_norm),
        "dot": dot,
        "projection": ratio(dot, target_norm),
        "l2": -(squared_norm + target_squared - 2 * dot).clamp(min=0).sqrt(),
        "gradient_norm": norm,
    }
