# SPDX-License-Identifier: Apache-2.0
"""One way to hand views to an objective, whatever their number.

Views of ``N`` samples are two matrices ``(z1, z2)`` of shape (N, D), or one stack (V, N, D), or a sequence of
V matrices. A student and its targets are two such things: two matrices are one direction (the student saw one
view, the target another); two stacks give a term for every student ``i`` and target ``j`` with ``i != j``.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from conjoin.core.objectives.once import once_differentiable

__all__ = (
    "Views",
    "as_pairs",
    "as_views",
    "check_width",
    "full_precision",
    "row_cosine",
    "unit",
    "view_pairs",
)

Views = Tensor | Sequence[Tensor]


def full_precision(x: Tensor) -> Tensor:
    """``x`` in float32, or in float64 if it is."""
    return x if x.dtype == torch.float64 else x.float()


class _Unit(torch.autograd.Function):
    """u = r x / l; the gradient is (r g - u (u . g) / r) / l from u and l, and r g / eps below the floor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float, radius: float) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        u: Tensor = x / (length.clamp_min(eps) / radius)
        ctx.save_for_backward(u, length)
        ctx.settings = eps, radius
        return u

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        u, length = ctx.saved_tensors
        eps, radius = ctx.settings
        along = (grad * u).sum(dim=-1, keepdim=True) / radius**2 * (length >= eps)
        return torch.addcmul(grad, u, along, value=-1).div_(length.clamp_min(eps) / radius), None, None


def unit(x: Tensor, eps: float = 1e-6, radius: float = 1.0) -> Tensor:
    """Rows (..., D) divided by their length, or by ``eps`` if they are shorter; differentiable once.

    The floor is that of the SimCLR and BYOL releases (1e-12 on the squared length) and is used for all
    objectives: torch's own, 1e-12 on the length, multiplies the gradient of a zero row by 1e12. ``radius`` is
    the length that rows get.
    """
    result: Tensor = _Unit.apply(x, eps, radius)  # type: ignore[no-untyped-call]
    return result


class _RowCosine(torch.autograd.Function):
    """c = a . b / (|a| |b|); no unit rows are made, forward or backward."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, eps: float) -> Tensor:
        lengths = [torch.linalg.vector_norm(x, dim=-1, keepdim=True) for x in (a, b)]
        cosine = (a * b).sum(dim=-1, keepdim=True)
        for length in lengths:
            cosine = cosine / length.clamp_min(eps)
        ctx.save_for_backward(a, b, *lengths, cosine)
        ctx.eps = eps
        return cosine.squeeze(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        a, b, length_a, length_b, cosine = ctx.saved_tensors
        grad = grad.unsqueeze(-1)
        floor_a, floor_b = length_a.clamp_min(ctx.eps), length_b.clamp_min(ctx.eps)
        across = grad / (floor_a * floor_b)
        grad_a = grad_b = None
        if ctx.needs_input_grad[0]:
            along = grad * cosine / floor_a.square() * (length_a >= ctx.eps)
            grad_a = (b * across).addcmul_(a, along, value=-1)
        if ctx.needs_input_grad[1]:
            along = grad * cosine / floor_b.square() * (length_b >= ctx.eps)
            grad_b = (a * across).addcmul_(b, along, value=-1)
        return grad_a, grad_b, None


def row_cosine(a: Tensor, b: Tensor, eps: float = 1e-6) -> Tensor:
    """``(unit(a) * unit(b)).sum(-1)`` of (..., D), (...), without the copies; differentiable once."""
    result: Tensor = _RowCosine.apply(a, b, eps)  # type: ignore[no-untyped-call]
    return result


def _matrices(views: Views, what: str) -> list[Tensor]:
    found = list(views.unbind(0)) if isinstance(views, Tensor) and views.ndim == 3 else views
    found = [found] if isinstance(found, Tensor) else list(found)
    if not found or any(view.ndim != 2 or view.shape != found[0].shape for view in found):
        raise ValueError(
            f"{what} must be matrices (N, D) of one shape or a stack (V, N, D), found shapes "
            f"{[tuple(view.shape) for view in found]}."
        )
    dtype = torch.float64 if any(view.dtype == torch.float64 for view in found) else torch.float32
    return [view.to(dtype) for view in found]


def as_views(*views: Views, at_least: int = 2) -> list[Tensor]:
    """The V matrices (N, D), in full precision.

    Args:
        *views: V matrices, or one stack (V, N, D), or one sequence of matrices.
        at_least: How many the objective needs.

    Raises:
        ValueError: If shapes differ or there are too few views.
    """
    whole: Views = views[0] if len(views) == 1 else [view for view in views if isinstance(view, Tensor)]
    if len(views) > 1 and len(whole) != len(views):
        raise ValueError("Pass either the views one by one or a single sequence of them, not a mixture.")
    found = _matrices(whole, "Views")
    if len(found) < at_least:
        raise ValueError(f"This objective compares at least {at_least} views, found {len(found)}.")
    return found


def view_pairs(count: int) -> list[tuple[int, int]]:
    """All pairs ``i < j`` of ``count`` views."""
    return list(combinations(range(count), 2))


def check_width(view: Tensor, dim: int, owner: object) -> None:
    """Refuse embeddings (..., D) whose width is not that of the objective's state.

    Raises:
        ValueError: If D is not ``dim``.
    """
    if view.shape[-1] != dim:
        raise ValueError(
            f"Embeddings are {view.shape[-1]} wide, but this {type(owner).__name__} was made for dim={dim}."
        )


def as_pairs(students: Views, targets: Views) -> tuple[list[Tensor], list[Tensor], list[tuple[int, int]]]:
    """Students, targets and which are compared.

    Args:
        students: (N, D), or V of them. Those with the index of a target come from the same view as it.
        targets: (N, D), or T <= V of them; detached here.

    Returns:
        The students, the targets (both in full precision), and the pairs (student, target): the only one for
        two matrices, all with different indices otherwise.

    Raises:
        ValueError: If shapes differ, or no pair is left.
    """
    own, others = _matrices(students, "Students"), _matrices(targets, "Targets")
    others = [target.detach() for target in others]
    if own[0].shape != others[0].shape:
        raise ValueError(
            f"Students {tuple(own[0].shape)} and targets {tuple(others[0].shape)} must have the same shape."
        )
    one_direction = all(isinstance(side, Tensor) and side.ndim == 2 for side in (students, targets))
    pairs = [(i, j) for i in range(len(own)) for j in range(len(others)) if one_direction or i != j]
    if not pairs or len(others) > len(own):
        raise ValueError(
            f"{len(own)} students and {len(others)} targets: each target needs a student of another view, "
            "and targets come from the first students' views."
        )
    return own, others, pairs
