import pytest
import torch
from torch import nn
from torch.func import grad, vmap

from dvgs.training.mish import Mish

FAR = torch.tensor([-1e30, -200, -90, -20, -1e-6, 0, 1e-6, 19.9, 20, 20.1, 90, 1e30], dtype=torch.float64)


def value_and_slope(mish, x):
    x = x.clone().requires_grad_()
    y = mish(x)
    return y.detach(), torch.autograd.grad(y.sum(), x)[0]


TOLERANCES = {torch.float64: 1e-14, torch.float32: 1e-6, torch.bfloat16: 1e-2}


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES.items())
def test_it_is_mish(dtype, tolerance):
    x = torch.cat([FAR, torch.linspace(-30, 30, 601, dtype=torch.float64)]).to(dtype)
    found, expected = value_and_slope(Mish(), x), value_and_slope(nn.Mish(), x.double())
    for ours, exact in zip(found, expected, strict=True):
        assert ours.dtype == dtype
        assert torch.allclose(ours.double(), exact, rtol=tolerance, atol=tolerance / 10)


def test_nan_stays_where_it_is():
    y, slope = value_and_slope(Mish(), torch.tensor([1.0, torch.nan]))
    assert y.isnan().tolist() == slope.isnan().tolist() == [False, True]


def test_batched_by_vmap():
    x, mish = torch.randn(3, 4), Mish()
    found = vmap(grad(lambda row: mish(row).sum()))(x)
    assert torch.allclose(found, value_and_slope(nn.Mish(), x)[1], atol=1e-6)


def test_a_second_derivative_is_an_error_and_not_wrong():
    x = torch.randn(3, requires_grad=True)
    (slope,) = torch.autograd.grad(Mish()(x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(slope.sum(), x)
