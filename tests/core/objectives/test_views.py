# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from conjoin.core.objectives import DINO, SwAV, TiCo
from conjoin.core.objectives.views import as_pairs, as_views, full_precision, row_cosine, unit, view_pairs


@pytest.mark.parametrize("form", ["one by one", "stack", "list", "tuple"])
def test_all_forms_are_the_same_views(form):
    z = torch.randn(3, 4, 2)
    given = {"one by one": tuple(z), "stack": (z,), "list": (list(z),), "tuple": (tuple(z),)}[form]
    found = as_views(*given)
    assert len(found) == 3
    assert all(torch.equal(a, b) for a, b in zip(found, z, strict=True))


def test_precision():
    assert [full_precision(torch.zeros(1, dtype=d)).dtype for d in (torch.bfloat16, torch.float64)] == [
        torch.float32,
        torch.float64,
    ]
    assert as_views(torch.zeros(2, 3, 4, dtype=torch.float16))[0].dtype == torch.float32


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ((torch.zeros(2, 3), torch.zeros(2, 4)), r"\(2, 3\), \(2, 4\)"),
        ((torch.zeros(2, 3),), "at least 2 views, found 1"),
        ((torch.zeros(2),), r"\(2,\)"),
        (([],), r"found shapes \[\]"),
        (([torch.zeros(2, 3)], torch.zeros(2, 3)), "mixture"),
        ((torch.zeros(1, 2, 3, 4),), "matrices"),
    ],
)
def test_what_is_no_view_is_refused(views, message):
    with pytest.raises(ValueError, match=message):
        as_views(*views)


def test_pairs():
    assert view_pairs(3) == [(0, 1), (0, 2), (1, 2)]
    z, t = torch.randn(3, 4, 2), torch.randn(2, 4, 2, requires_grad=True)
    own, others, pairs = as_pairs(z, t)
    assert (len(own), len(others)) == (3, 2)
    assert pairs == [(0, 1), (1, 0), (2, 0), (2, 1)]
    assert not others[0].requires_grad
    # Two matrices are one direction, whatever their names.
    assert as_pairs(z[0], t[0])[2] == [(0, 0)]
    assert as_pairs(z, [t[0]])[2] == [(1, 0), (2, 0)]


@pytest.mark.parametrize(
    ("students", "targets", "message"),
    [
        ((1, 4, 2), (1, 4, 2), "1 students and 1 targets"),
        ((1, 4, 2), (2, 4, 2), "1 students and 2 targets"),
        ((2, 4, 2), (2, 4, 3), "same shape"),
    ],
)
def test_pairs_that_cannot_be_are_refused(students, targets, message):
    with pytest.raises(ValueError, match=message):
        as_pairs(torch.zeros(students), torch.zeros(targets))


def test_unit_rows_and_the_floor():
    x = torch.tensor([[3.0, 4.0], [3e-7, 4e-7], [0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    found = unit(x)
    assert found[0].tolist() == pytest.approx([0.6, 0.8])
    assert math.hypot(*found[1].tolist()) == pytest.approx(0.5)  # 5e-7 is below the floor 1e-6
    (grad,) = torch.autograd.grad(found.sum(), x)
    assert grad[2].tolist() == pytest.approx([1e6, 1e6])


def below_and_above_the_floor():
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x[1] *= 1e-7
    x[2] = 0
    return x


@pytest.mark.parametrize("radius", [1.0, 10.0])
def test_gradient_of_unit_rows(radius):
    x, y = (below_and_above_the_floor().requires_grad_() for _ in range(2))
    weights = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found, wanted = unit(x, radius=radius), radius * torch.nn.functional.normalize(y, dim=-1, eps=1e-6)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=0)
    for rows in (found, wanted):
        (rows * weights).sum().backward()
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-12, atol=0)


def test_cosines_are_products_of_unit_rows():
    pairs = [[below_and_above_the_floor(), below_and_above_the_floor().flip(0) + 0.1] for _ in range(2)]
    found, wanted = ([x.requires_grad_() for x in pair] for pair in pairs)
    weights = torch.arange(1.0, 5.0, dtype=torch.float64)
    cosines = row_cosine(*found)
    products = (torch.nn.functional.normalize(wanted[0], eps=1e-6) * unit(wanted[1])).sum(-1)
    torch.testing.assert_close(cosines, products)
    for value in (cosines, products):
        (value * weights).sum().backward()
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-10, atol=1e-12)
    assert torch.autograd.gradcheck(row_cosine, [x.detach()[:1].requires_grad_() for x in found])


def test_views_of_two_types_meet_in_the_wider_one():
    wide, narrow = torch.zeros(2, 3, dtype=torch.float64), torch.zeros(2, 3)
    assert [view.dtype for view in as_views(wide, narrow)] == [torch.float64] * 2
    assert [view.dtype for view in as_views(narrow.half(), narrow)] == [torch.float32] * 2


@pytest.mark.parametrize("build", [TiCo, SwAV, DINO])
def test_embeddings_of_another_width_are_refused(build):
    views = torch.zeros(2, 4, 16)
    given = (views,) if build is SwAV else (views, views)
    with pytest.raises(ValueError, match=f"16 wide, but this {build.__name__} was made for dim=8"):
        build(8)(*given)
