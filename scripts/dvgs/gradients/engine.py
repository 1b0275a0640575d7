"""Similarity of every sample's gradient to a given gradient, without forming per-sample gradients.

For a layer y = W a + b, sample i has the gradient δ_i a_iᵀ for W and δ_i for b, where δ_i is the gradient of its
loss with respect to y. With a target gradient (G, g),

    <g_i, g_target> = Σ_layers δ_iᵀ (G a_i + g)        ‖g_i‖² = Σ_layers ‖δ_i‖² (‖a_i‖² + 1)

so one forward pass, one backward pass to the layers' outputs and one more product a layer give the exact
cosine, dot product, projection and distance: about the cost of a training step. `layers` has such rules for
many layers. What has none falls back to gradients formed sample by sample, for those parameters alone.
"""

from contextlib import contextmanager

import torch
from torch import nn
from torch.autograd.graph import get_gradient_edge
from torch.func import functional_call, grad_and_value, vmap

from dvgs.devices import fork_random
from dvgs.gradients.layers import rule_for
from dvgs.progress import logger

TRIAL = 8  # samples on which the rules are checked against autograd
FORMED = 1 << 26  # numbers of per-sample gradients formed at once: 256 MiB


def similarity(model, loss, x, y, target_gradient, grad_params=None):
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


class GradientSimilarity:
    """`similarity` for many batches of one model: what the layers allow is found out once, on the first batch.

    `compared`: the names of the parameters that are compared, by parameter. `formed`: those of them that no rule fits.
    `width`: after a call, the bytes that the layers with a rule took in and gave out for one sample.
    """

    def __init__(self, model, loss, grad_params=None):
        self._model, self._loss = model, loss
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
        self._rules, self.formed = _assign(model, self.compared)
        self._tried = 0  # samples of the last check of the rules
        self._waiting, self._unseen = set(), set()  # layers that it could not judge: no gradient yet, not called yet
        self._draws = self._said = False  # whether the model draws random numbers, and the log knows what is slow

    @property
    def is_static(self):
        """After a call: whether calls on as many samples do the same: no random numbers, no gradients formed."""
        return not (self._draws or self.formed)

    def __call__(self, x, y, target_gradient, target_squared=None):
        """As `similarity`. target_squared: what `squared_norm` gives for this target, where that is known already."""
        losses, dot, squared = self._sums(x, y, self._by_parameter(target_gradient))
        if target_squared is None:
            target_squared = self.squared_norm(target_gradient)
        return _similarities(dot, squared, target_squared) | {"loss": losses}

    def squared_norm(self, target_gradient):
        """Of a target gradient, over the parameters that are compared; a scalar."""
        return sum(torch.linalg.vector_norm(g).square() for g in self._by_parameter(target_gradient).values())

    def _by_parameter(self, target_gradient):
        parameters = list(self._model.parameters())
        if len(target_gradient) != len(parameters):
            raise ValueError(f"{len(target_gradient)} target gradients for {len(parameters)} parameters")
        return {
            p: torch.zeros_like(p) if g is None else g.detach()
            for p, g in zip(parameters, target_gradient, strict=True)
            if p in self.compared
        }

    def prepare(self, x, y):
        """Find out, from a few of these samples, what the layers allow, as far as that is not known yet."""
        _refuse_batch_statistics(self._model)
        if self._waiting or self._tried < min(TRIAL, len(x)):
            with fork_random(x.device), torch.autocast(x.device.type, enabled=False):
                self._try(x, y)

    def _sums(self, x, y, gradient_of):
        self.prepare(x, y)
        if self.formed and self._draws:
            # A second pass would draw other masks, so all parameters must come from one.
            return self._form(x, y, gradient_of)
        found = self._factors(x, y)
        if found is None:
            return self._sums(x, y, gradient_of)
        losses, factors = found
        with torch.autocast(x.device.type, enabled=False):  # a caller's autocast is for the model; rules keep sums wide
            dot, squared = torch.zeros_like(losses), torch.zeros_like(losses)
            for layer, (a, delta) in factors.items():
                layer_dot, layer_squared = self._apply(layer, a, delta, gradient_of)
                dot += layer_dot
                squared += layer_squared
        if self.formed:
            _, formed_dot, formed_squared = self._form(x, y, {p: gradient_of[p] for p in self.formed})
            dot += formed_dot
            squared += formed_squared
        return losses, dot, squared

    def factors(self, x, y):
        """Losses (n,), and by layer with a rule its input a and the gradients δ of every sample's loss for its output.

        The parameters in `formed` have no such factors.
        """
        self.prepare(x, y)
        return self._factors(x, y) or self.factors(x, y)

    def _factors(self, x, y):
        """As `factors`; None when a layer was used as never before, about which the engine has then thought again."""
        losses, calls = self._forward(x, y)
        if calls is None or self._unseen & calls.keys():
            self._tried = 0
            self.prepare(x, y)
            self._give_up(self._unseen & (calls or {}).keys())  # not by the few samples of the check
            self._unseen -= (calls or {}).keys()
            return None
        with torch.autocast(x.device.type, enabled=False):
            deltas = self._deltas(losses, calls)
        return losses.detach(), {layer: (calls[layer][0], delta) for layer, delta in deltas.items()}

    def _forward(self, x, y):
        """Losses, and of every layer with a rule its input and the node of the graph that made its output.

        When a layer is used as no rule allows, it is given up, and the second is None.
        """
        calls, unfit, width = {}, [], 1

        def keep(layer, arguments, keywords, output):
            nonlocal width
            a = arguments[0] if arguments else keywords["input"]
            width += (a.numel() * a.element_size() + output.numel() * output.element_size()) // max(len(x), 1)
            if layer in calls or len(a) != len(x) or len(output) != len(x):
                unfit.append(layer)
            elif output.requires_grad:
                # The node, not the tensor: an activation in place would turn the tensor into its own output.
                calls[layer] = a.detach(), get_gradient_edge(output)

        handles = [layer.register_forward_hook(keep, with_kwargs=True) for layer in self._rules]
        try:
            with torch.enable_grad(), same_buffers(self._model):
                losses = self._loss(self._model(x), y)
        finally:
            for handle in handles:
                handle.remove()
        if losses.shape != (len(x),):
            raise ValueError(f"loss gives shape {tuple(losses.shape)}; it must give one loss per sample, ({len(x)},)")
        if unfit:
            self._give_up(unfit)
            return losses, None
        self.width = width
        return losses, calls

    @staticmethod
    def _deltas(losses, calls, keep_graph=False):
        # Only the layers' outputs are asked for, so autograd forms neither weight gradients nor the input's.
        edges = [edge for _, edge in calls.values()]
        if not edges:
            return {}
        deltas = torch.autograd.grad(losses.sum(), edges, retain_graph=keep_graph, allow_unused=True)
        return {layer: delta for layer, delta in zip(calls, deltas, strict=True) if delta is not None}

    def _apply(self, layer, a, delta, gradient_of):
        own = {name: gradient_of[p] for name, p in layer.named_parameters(recurse=False) if p in gradient_of}
        with torch.no_grad():
            return self._rules[layer](layer, a, delta, own)

    def _try(self, x, y):
        """Check the rules on a few samples against autograd, so that no use of a layer that they do not foresee
        (weights used elsewhere, samples in another order or dimension) gives a wrong number.
        """
        rows = torch.linspace(0, len(x) - 1, min(TRIAL, len(x))).round().long().to(x.device)
        finite = self._forward(x[rows], y[rows])[0].isfinite()
        if not finite.any():
            finite = self._forward(x, y)[0].isfinite()
            rows = torch.arange(len(x), device=x.device)
        x, y = x[rows[finite][:TRIAL]], y[rows[finite][:TRIAL]]
        if len(x) == 0:
            return
        calls = None
        while calls is None:
            state = _random_state(x.device)
            losses, calls = self._forward(x, y)
        self._tried, self._draws = len(x), not torch.equal(state, _random_state(x.device))
        self._judge(losses, calls)
        if self.formed and not self._said:
            names = ", ".join(self.compared[p] for p in self.formed)
            logger.warning("no rule fits %s: their gradients are formed sample by sample, which is slow", names)
            self._said = True
        if self.formed and not self._draws:
            alone, _, _ = self._form(x, y, {p: torch.zeros_like(p) for p in self.formed})
            if not torch.allclose(alone, losses, rtol=1e-3, atol=1e-6):
                raise ValueError(
                    "the loss of a sample changes with the samples beside it, so it has no gradient of its own; "
                    "the samples must lie along dimension 0 and not influence each other"
                )

    def _judge(self, losses, calls):
        """Give up layers whose rule differs, for any sample, from the gradient that autograd forms."""
        deltas = self._deltas(losses, calls, keep_graph=True)
        gradient_of, reached = self._formed_gradients(losses.sum())
        layers = {layer: [p for p in layer.parameters(recurse=False) if p in self.compared] for layer in self._rules}
        truth = {layer: [] for layer in layers}
        for value in losses:
            own, _ = self._formed_gradients(value)
            for layer, parameters in layers.items():
                truth[layer].append(_dot_and_square([own[p] for p in parameters], [gradient_of[p] for p in parameters]))
        truth = {layer: torch.tensor(sums, dtype=torch.float64).T for layer, sums in truth.items()}
        whole = sum(squared for _, squared in truth.values())  # of every sample, over all layers
        target = {layer: sum(_square(gradient_of[p]) for p in parameters) for layer, parameters in layers.items()}
        whole_target = sum(target.values())

        coarsest = max(torch.finfo(p.dtype).eps for p in self.compared)
        tolerance = 1e-8 if coarsest < 1e-15 else max(1e-3, 8 * coarsest)  # TF32 has an error of 1e-3, too
        rounding = 1e-9  # a gradient that is zero but for this, as of a bias before a norm, is no reason to mistrust
        self._waiting, self._unseen, wrong = set(), set(), []
        for layer, (dot, squared) in truth.items():
            found_dot = found_squared = torch.zeros_like(dot)
            if layer in deltas:
                found_dot, found_squared = (
                    found.double().cpu() for found in self._apply(layer, calls[layer][0], deltas[layer], gradient_of)
                )
            bound = tolerance * torch.maximum(squared, rounding * whole)
            bound_dot = tolerance * torch.maximum(squared * target[layer], rounding * whole * whole_target).sqrt()
            if not ((found_squared - squared).abs() <= bound).all() or not ((found_dot - dot).abs() <= bound_dot).all():
                wrong.append(layer)
            elif not squared.any():
                (self._waiting if reached & set(layers[layer]) else self._unseen).add(layer)
        self._give_up(wrong)

    def _formed_gradients(self, value):
        gradients = torch.autograd.grad(value, list(self.compared), retain_graph=True, allow_unused=True)
        found = dict(zip(self.compared, gradients, strict=True))
        reached = {p for p, g in found.items() if g is not None}
        return {p: g if p in reached else torch.zeros_like(p) for p, g in found.items()}, reached

    def _give_up(self, layers):
        for layer in layers:
            if self._rules.pop(layer, None) is not None:
                self.formed += [p for p in layer.parameters(recurse=False) if p in self.compared]

    def _form(self, x, y, gradient_of):
        """Losses, dot products and squared norms from gradients that are formed, for the given parameters only."""
        chosen, targets = list(gradient_of), list(gradient_of.values())
        buffers = {name: b.clone() for name, b in self._model.named_buffers()}

        def sample_loss(values, x, y):
            values = dict(zip(chosen, values, strict=True))
            # Every module's own names, as functional_call would lose the parameters of a module that has two.
            state = {
                f"{prefix}.{name}" if prefix else name: values.get(p, p.detach())
                for prefix, module in self._model.named_modules()
                for name, p in module.named_parameters(recurse=False)
            }
            prediction = functional_call(self._model, state | buffers, (x[None],), tie_weights=False)
            return self._loss(prediction, y[None])[0]

        def sample(x, y):
            gradients, value = grad_and_value(sample_loss)([p.detach() for p in chosen], x, y)
            dot = sum((g * target).sum() for g, target in zip(gradients, targets, strict=True))
            return value, dot, sum(g.square().sum() for g in gradients)

        size = max(1, FORMED // sum(target.numel() for target in targets))
        try:
            return vmap(sample, randomness="different", chunk_size=size)(x, y)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # something in the model that vmap cannot batch
            return self._form_singly(x, y, gradient_of)

    def _form_singly(self, x, y, gradient_of):
        found = []
        for sample in range(len(x)):
            with torch.enable_grad(), same_buffers(self._model):
                value = self._loss(self._model(x[sample, None]), y[sample, None])[0]
            gradients = torch.autograd.grad(value, list(gradient_of), allow_unused=True)
            pairs = [(g, t) for g, t in zip(gradients, gradient_of.values(), strict=True) if g is not None]
            zero = torch.zeros_like(value)
            dot, squared = sum(((g * t).sum() for g, t in pairs), zero), sum((g.square().sum() for g, _ in pairs), zero)
            found.append((value.detach(), dot.detach(), squared.detach()))
        return tuple(torch.stack(parts) for parts in zip(*found, strict=True))


def _assign(model, names):
    """The layers with a rule, and the parameters that are left without one: of other modules, or of two layers."""
    owners = {p: [] for p in names}
    for module in model.modules():
        for p in module.parameters(recurse=False):
            if p in owners:
                owners[p].append(module)
    unruled = {m for modules in owners.values() if len(modules) > 1 or rule_for(modules[0]) is None for m in modules}
    rules = {m: rule_for(m) for modules in owners.values() for m in modules if m not in unruled}
    return rules, [p for p, modules in owners.items() if any(m in unruled for m in modules)]


def _dot_and_square(gradients, others):
    dot = sum((g.double() * other.double()).sum() for g, other in zip(gradients, others, strict=True))
    return dot.item(), sum(_square(g) for g in gradients)


def _square(gradient):
    return gradient.double().square().sum().item()


def _refuse_batch_statistics(model):
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and (module.training or module.running_mean is None):
            raise ValueError(
                f"{name or 'the model'} is a BatchNorm that uses the statistics of the batch, so a sample has no "
                "gradient of its own; use GroupNorm or LayerNorm, or put it into evaluation with .eval()"
            )


@contextmanager
def same_buffers(model):
    """Whatever a forward pass writes to buffers, running statistics say, is undone."""
    before = [(buffer, buffer._version, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for buffer, version, value in before:
            if buffer._version != version:
                buffer.copy_(value)


def _random_state(device):
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return torch.cat(states)


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
