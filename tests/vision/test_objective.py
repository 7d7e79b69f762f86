# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.vision.objective import UnitSmoothL1, unit_smooth_l1


def test_is_one_minus_cosine():
    torch.manual_seed(0)
    p, h = torch.randn(2, 4, 1, 9, 64)
    expected = (1 - torch.cosine_similarity(p, h, dim=-1)).mean()
    assert abs(UnitSmoothL1()(p, h).loss - expected) < 1e-5
    assert UnitSmoothL1()(3 * h, h).loss < 1e-6


def test_opposite_vectors_are_on_the_linear_branch():
    """Two single channels, +1 against -1: |d| = 2 gives 2 - 1/2, not 2 as 1 - cos says."""
    assert unit_smooth_l1(torch.tensor([[5.0]]), torch.tensor([[-1.0]])).item() == pytest.approx(1.5)
    assert unit_smooth_l1(torch.tensor([[5.0]]), torch.tensor([[-1.0]]), beta=2.0).item() == pytest.approx(
        1.0
    )


def test_mean_is_over_the_cells_of_the_batch():
    """Three cells in one sample and one in the other weigh the same, whatever padding holds."""
    torch.manual_seed(0)
    p, h = torch.randn(2, 2, 1, 3, 64)
    valid = torch.tensor([[[True, True, True]], [[False, True, False]]])
    p[~valid] = 1e6
    each = [
        1 - torch.cosine_similarity(p[b, 0, k], h[b, 0, k], dim=0)
        for b, k in ((0, 0), (0, 1), (0, 2), (1, 1))
    ]
    torch.testing.assert_close(unit_smooth_l1(p, h, valid), torch.stack(each).mean())


def test_gradient_reaches_predictions_alone():
    p, h = torch.randn(2, 3, 8, dtype=torch.float64).requires_grad_().unbind()
    target = h.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: unit_smooth_l1(p, target), (p.detach().requires_grad_(),))
    source = p.detach().requires_grad_()
    unit_smooth_l1(source, target).backward()
    assert target.grad is None
    assert source.grad.abs().sum() > 0


def test_cells_without_activation_are_finite():
    """A ReLU may end in zeros: no direction, half of the squared length of the target."""
    p = torch.zeros(1, 8, requires_grad=True)
    loss = unit_smooth_l1(p, torch.ones(1, 8))
    loss.backward()
    assert loss.item() == pytest.approx(0.5)
    assert p.grad.isfinite().all()


def test_float32_inside_autocast():
    torch.manual_seed(0)
    p, h = torch.randn(2, 16, 256).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        loss = UnitSmoothL1()(p, h).loss
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, unit_smooth_l1(p.float(), h.float()))


def part(rank, world, p, h, valid):
    rows = slice(0, 1) if rank == 0 else slice(1, None)
    own = p[rows].clone().requires_grad_()
    loss = unit_smooth_l1(own, h[rows], valid[rows])
    loss.backward()
    return loss.detach(), own.grad


@pytest.mark.slow
@pytest.mark.ddp
def test_two_ranks_are_one_process(ddp):
    torch.manual_seed(0)
    p, h = torch.randn(2, 4, 1, 3, 8, dtype=torch.float64)
    valid = torch.rand(4, 1, 3) < 0.5
    valid[0] = True
    whole = p.clone().requires_grad_()
    loss = unit_smooth_l1(whole, h, valid)
    loss.backward()
    found = ddp(part, p, h, valid)
    for value, _ in found:
        torch.testing.assert_close(value, loss.detach())
    # DDP takes the mean over ranks.
    torch.testing.assert_close(torch.cat([grad for _, grad in found]) / 2, whole.grad)


def test_guards():
    with pytest.raises(ValueError, match="beta must be positive, not 0"):
        UnitSmoothL1(0)
    with pytest.raises(ValueError, match="same shape"):
        unit_smooth_l1(torch.zeros(2, 3), torch.zeros(3, 3))
