import pytest
import torch
import torch.nn.functional as F
from torch.func import grad, vmap

from dvgs.training.models import reconstruction_loss


def plain(prediction, y):
    return F.mse_loss(prediction, y, reduction="none").mean(dim=1)


def loss_and_gradient(loss, prediction, y):
    """The gradient of samples that count differently."""
    prediction = prediction.clone().requires_grad_()
    losses = loss(prediction, y)
    weights = torch.linspace(-1, 2, len(y), dtype=losses.dtype)
    return losses.detach(), torch.autograd.grad((weights * losses).sum(), prediction)[0]


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_it_is_the_mean_squared_error(n, dtype, tolerance):
    torch.manual_seed(n)
    prediction, y = torch.randn(2, n, 7, dtype=torch.float64)
    prediction[0] = y[0]  # nothing wrong with it: a loss and a gradient of zero
    expected = loss_and_gradient(plain, prediction, y)
    for ours, exact in zip(
        loss_and_gradient(reconstruction_loss, prediction.to(dtype), y.to(dtype)), expected, strict=True
    ):
        assert ours.dtype == dtype
        assert torch.allclose(ours.double(), exact, rtol=tolerance, atol=tolerance)


def test_nan_stays_in_its_sample():
    prediction, y = torch.randn(2, 3, 4)
    prediction[1, 2] = torch.nan
    losses, gradient = loss_and_gradient(reconstruction_loss, prediction, y)
    assert losses.isnan().tolist() == gradient.isnan().any(1).tolist() == [False, True, False]


def test_batched_by_vmap():
    prediction, y = torch.randn(2, 3, 4, dtype=torch.float64)
    found = vmap(grad(lambda row, own: reconstruction_loss(row[None], own[None])[0]))(prediction, y)
    expected = torch.autograd.functional.jacobian(lambda rows: plain(rows, y).sum(), prediction)
    assert torch.allclose(found, expected)


def test_a_second_derivative_is_an_error_and_not_wrong():
    prediction, y = torch.randn(2, 3, 4)
    prediction.requires_grad_()
    (slope,) = torch.autograd.grad(reconstruction_loss(prediction, y).sum(), prediction, create_graph=True)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(slope.sum(), prediction)
