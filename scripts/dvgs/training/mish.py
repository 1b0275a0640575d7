"""Mish, x tanh(softplus(x)) (Misra 2019, arXiv 1908.08681), faster than torch's own on a CPU.

With e = exp(x), n = e (e + 2) and t = n / (n + 2), Mish is x t, and its slope is t + 4 x e (e + 1) / (n + 2)². Both
need only one exponential; torch evaluates three functions forward and four backward.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

HIGHEST = 20  # above it t is 1 even in double precision; squares of exp(x) would overflow in single precision


class Mish(nn.Mish):
    """As torch.nn.Mish, except that it can be differentiated only once."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _Mish.apply(x)[0] if x.device.type == "cpu" else F.mish(x)


class OnceDifferentiable(torch.autograd.Function):
    """A function whose forward returns its value, and then the one tensor that its backward needs."""

    generate_vmap_rule = True

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.set_materialize_grads(False)  # make no zeros as gradients of the second output
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])


class _Mish(OnceDifferentiable):
    @staticmethod
    def forward(x):
        wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        low = wide.clamp(max=HIGHEST)
        e = low.exp()
        inner = torch.addcmul(e, e, e)
        n = e.add_(inner)
        inverse = (n + 2).reciprocal_()
        t = n.mul_(inverse)
        slope = torch.addcmul(t, inner.mul_(low), inverse.mul_(inverse), value=4)
        return t.mul_(wide).to(x.dtype), slope.to(x.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient, _):
        return gradient * ctx.saved_tensors[0]
