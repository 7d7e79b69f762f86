# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core.objectives.off_diagonal import off_diagonal_energy


def loop(a, b):
    total = 0.0
    for d in range(a.shape[1]):
        for e in range(b.shape[1]):
            if d != e:
                total += sum(a[n, d].item() * b[n, e].item() for n in range(len(a))) ** 2
    return total


def matrices(n, d):
    g = torch.Generator().manual_seed(n)
    return [torch.randn(n, d, dtype=torch.float64, generator=g) for _ in range(2)]


@pytest.mark.parametrize(("n", "d"), [(3, 8), (4, 8), (6, 8), (8, 8), (9, 4), (1, 5)])
def test_both_ways_equal_loops(n, d):
    a, b = matrices(n, d)
    assert off_diagonal_energy(a, b, rows=n).item() == pytest.approx(loop(a, b), rel=1e-12)
    assert off_diagonal_energy(a, rows=n).item() == pytest.approx(loop(a, a), rel=1e-12)


@pytest.mark.parametrize(("n", "d"), [(3, 8), (9, 4)])
def test_gradients(n, d):
    a, b = (x.requires_grad_() for x in matrices(n, d))
    assert torch.autograd.gradcheck(lambda a, b: off_diagonal_energy(a, b, rows=n), (a, b))
    assert torch.autograd.gradcheck(lambda a: off_diagonal_energy(a, rows=n), (a,))


@pytest.mark.parametrize(("n", "d"), [(3, 8), (9, 4)])
def test_leading_dimensions_are_separate_problems(n, d):
    g = torch.Generator().manual_seed(0)
    a = torch.randn(2, 3, n, d, dtype=torch.float64, generator=g, requires_grad=True)
    found = off_diagonal_energy(a, rows=n)
    wanted = torch.stack([torch.stack([off_diagonal_energy(m, rows=n) for m in row]) for row in a])
    torch.testing.assert_close(found, wanted)
    assert torch.autograd.gradcheck(lambda a: off_diagonal_energy(a, rows=n), (a,))


def stored(n, d):
    """Elements that wait for the backward pass, inputs not counted."""
    a, b = (x.requires_grad_() for x in matrices(n, d))
    kept = {}
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.setdefault(t.data_ptr(), t), lambda t: t):
        off_diagonal_energy(a, b, rows=n)
    return sum(t.numel() for place, t in kept.items() if place not in (a.data_ptr(), b.data_ptr()))


def test_memory_is_that_of_the_smaller_side():
    assert stored(64, 16) == 16 * 16
    assert stored(4, 512) <= 4 * 4 * 4 + 2 * 512
