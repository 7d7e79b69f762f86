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
def test_equals_loops(n, d):
    a, b = matrices(n, d)
    assert off_diagonal_energy(a, b).item() == pytest.approx(loop(a, b), rel=1e-12)
    assert off_diagonal_energy(a).item() == pytest.approx(loop(a, a), rel=1e-12)


@pytest.mark.parametrize(("n", "d"), [(3, 8), (9, 4)])
def test_gradients(n, d):
    a, b = (x.requires_grad_() for x in matrices(n, d))
    assert torch.autograd.gradcheck(lambda a, b: off_diagonal_energy(a, b), (a, b))
    assert torch.autograd.gradcheck(lambda a: off_diagonal_energy(a), (a,))


@pytest.mark.parametrize(("n", "d"), [(3, 8), (9, 4)])
def test_leading_dimensions_are_separate_problems(n, d):
    g = torch.Generator().manual_seed(0)
    a = torch.randn(2, 3, n, d, dtype=torch.float64, generator=g, requires_grad=True)
    found = off_diagonal_energy(a)
    wanted = torch.stack([torch.stack([off_diagonal_energy(m) for m in row]) for row in a])
    torch.testing.assert_close(found, wanted)
    assert torch.autograd.gradcheck(lambda a: off_diagonal_energy(a), (a,))


def test_memory_is_that_of_the_rows():
    a, b = (x.requires_grad_() for x in matrices(4, 512))
    kept = {}
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.setdefault(t.data_ptr(), t), lambda t: t):
        off_diagonal_energy(a, b)
    places = (a.data_ptr(), b.data_ptr())
    assert sum(t.numel() for place, t in kept.items() if place not in places) <= 4 * 4 * 4 + 2 * 512
