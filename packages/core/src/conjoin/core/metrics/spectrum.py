# SPDX-License-Identifier: Apache-2.0
"""Spectra of embeddings and the label-free measures read from them, as plain functions.

Every measure here needs the embedding matrix ``Z`` (N, K) only through its second moments, so the
work is one float64 Gram matrix of the smaller side and one symmetric eigendecomposition; singular
values below ``1e-8`` of the largest are beyond the reach of that route and count as zero.

* RankMe: Garrido et al., "RankMe: Assessing the downstream performance of pretrained
  self-supervised representations by their rank", ICML 2023, arXiv 2210.02885.
* alpha-ReQ: Agrawal et al., "alpha-ReQ: Assessing representation quality in self-supervised
  learning by measuring eigenspectrum decay", NeurIPS 2022.
* NESum: He and Ozay, "Exploring the gap between collapsed and whitened features in
  self-supervised learning", ICML 2022.
* Self-cluster score: Tsitsulin et al., "Unsupervised embedding quality evaluation",
  arXiv 2305.16562, here with the *squared* norm, which is the one that vanishes for directions
  uniform on the sphere.
"""

import math
import warnings
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = (
    "PowerLaw",
    "alpha_req",
    "embedding_eigenvalues",
    "nesum",
    "participation_ratio",
    "power_law",
    "rankme",
    "rankme_from_singular_values",
    "self_cluster",
    "singular_values",
    "spectrum",
    "stable_rank",
)


# Rounding of a mean, squared: below this share of the mean squared row a variance is that of equal rows.
_ROUNDING = (64 * torch.finfo(torch.float64).eps) ** 2


class PowerLaw(NamedTuple):
    """A straight line through a log-log spectrum: ``ln l_j = intercept - alpha ln j``."""

    alpha: Tensor
    r2: Tensor
    window: tuple[int, int]


def finite_rows(z: Tensor) -> Tensor:
    """(N, K) float64 rows without those that hold a NaN or an infinity, with a warning if any did.

    Raises:
        ValueError: ``z`` is not a matrix.
    """
    if z.ndim != 2:
        raise ValueError(f"embeddings must have shape (N, K), got {tuple(z.shape)}")
    z = z.detach().to(torch.float64)
    keep = z.isfinite().all(dim=1)
    if not bool(keep.all()):
        lost = int((~keep).sum())
        warnings.warn(f"{lost} of {len(z)} embeddings are NaN or infinite and are left out", stacklevel=3)
        z = z[keep]
    return z


def scaled(z: Tensor) -> tuple[Tensor, float]:
    """``z`` over a power of two, and that power: no square of an entry overflows or vanishes."""
    exponent = math.frexp(float(z.abs().amax()))[1] if z.numel() else 0
    power = 2.0 ** max(min(exponent, 1000), -1000)
    return z / power, power


def unit_rows(z: Tensor) -> Tensor:
    """Directions of the rows of ``z`` (..., K), however short; rows of zeros are all given the same one."""
    if not z.shape[-1]:
        return z
    z = z / z.abs().amax(dim=-1, keepdim=True).clamp(min=torch.finfo(z.dtype).tiny)
    z = torch.where((z == 0).all(dim=-1, keepdim=True), 1.0, z)
    unit: Tensor = z / torch.linalg.vector_norm(z, dim=-1, keepdim=True)
    return unit


def centred(z: Tensor) -> tuple[Tensor, Tensor]:
    """``z`` (N, K) less its mean, and the mean (K,); exactly zero where all rows are equal."""
    first = z[:1]
    z = z - first
    rest = z.mean(dim=0)
    return z - rest, first[0] + rest


def is_rounding(variance: Tensor, square: Tensor) -> Tensor:
    """Whether a variance is that of equal rows whose mean squared norm is ``square``."""
    return variance <= _ROUNDING * square


def spectrum(gram: Tensor, square: Tensor | float = 0.0) -> Tensor:
    """Eigenvalues of a positive semi-definite float64 matrix, descending, rounding noise set to zero.

    Args:
        gram: The matrix.
        square: Of a covariance: mean squared norm of the rows before they were centred.

    Raises:
        ValueError: The matrix is not finite.
    """
    if not bool(gram.isfinite().all()):
        raise ValueError("the embeddings are too large: their squares overflow float64")
    values = torch.linalg.eigvalsh(gram).flip(-1)
    noise = torch.finfo(values.dtype).eps * values.shape[-1] * values[..., :1].clamp(min=0)
    noise = noise.clamp(min=_ROUNDING * float(square))
    return torch.where(values > noise, values, 0)


def singular_values(z: Tensor) -> Tensor:
    """The min(N, K) singular values of ``z`` (N, K), descending, float64; no centering."""
    z, power = scaled(finite_rows(z))
    gram = z.T @ z if z.shape[1] <= z.shape[0] else z @ z.T
    return spectrum(gram).sqrt() * power


def some_singular_values(z: Tensor, what: str) -> Tensor:
    """:func:`singular_values` of at least one row.

    Raises:
        ValueError: There is none; ``what`` needs it.
    """
    sigma = singular_values(z)
    if not len(sigma):
        raise ValueError(f"{what} needs at least one embedding, got none")
    return sigma


def embedding_eigenvalues(z: Tensor) -> Tensor:
    """Eigenvalues of the covariance (ddof 1) of the rows of ``z`` (N, K): (K,) float64, descending.

    Fewer rows than features leave at least ``K - N + 1`` zeros at the end.

    Raises:
        ValueError: Fewer than two rows.
    """
    values, power = _scaled_eigenvalues(z)
    return values * power * power


def _scaled_eigenvalues(z: Tensor) -> tuple[Tensor, float]:
    """The eigenvalues of the covariance of ``z`` over a power, and the power."""
    z, power = scaled(finite_rows(z))
    rows, width = z.shape
    if rows < 2:
        raise ValueError(f"a covariance needs at least 2 embeddings, got {rows}")
    square = z.square().sum() / rows
    z, _ = centred(z)
    gram = z.T @ z if width <= rows else z @ z.T
    values = spectrum(gram / (rows - 1), square)
    return torch.nn.functional.pad(values, (0, width - len(values))), power


def rankme_from_singular_values(sigma: Tensor, eps: float = 1e-7) -> Tensor:
    """RankMe of singular values (R,): ``exp(-sum_k p_k ln p_k)``, ``p_k = sigma_k / sum(sigma) + eps``.

    ``p`` is not normalised again after ``eps`` was added, as in the paper, so the value can exceed
    ``R`` slightly.
    """
    p = sigma / sigma.sum().clamp(min=torch.finfo(sigma.dtype).tiny) + eps
    return torch.exp(-(p * p.log()).sum())


def rankme(z: Tensor, eps: float = 1e-7) -> Tensor:
    """Effective rank of the embeddings ``z`` (N, K): about 1 when collapsed, at most about min(N, K).

    Neither centred nor squared. Compare only values with the same N and K, of one method.

    Raises:
        ValueError: There is no row.
    """
    return rankme_from_singular_values(some_singular_values(z, "RankMe"), eps)


def nesum(z: Tensor) -> Tensor:
    """Sum of the covariance's eigenvalues over the largest: K when whitened, 1 when of rank one."""
    return ratio_to_largest(_scaled_eigenvalues(z)[0])


def ratio_to_largest(eigenvalues: Tensor) -> Tensor:
    """``sum(l) / l_1`` of descending eigenvalues; 0 when all are zero."""
    return eigenvalues.sum() / eigenvalues[0].clamp(min=torch.finfo(eigenvalues.dtype).tiny)


def participation_ratio(eigenvalues: Tensor) -> Tensor:
    """``(sum l)^2 / sum l^2`` of eigenvalues (K,): K when all are equal, 1 when one is left, 0 when none."""
    total = eigenvalues.sum()
    return total.square() / eigenvalues.square().sum().clamp(min=torch.finfo(eigenvalues.dtype).tiny)


def stable_rank(z: Tensor) -> Tensor:
    """``||Z||_F^2 / ||Z||_2^2`` of the embeddings ``z`` (N, K); no centering.

    Raises:
        ValueError: There is no row.
    """
    sigma = some_singular_values(z, "a stable rank")
    # Divided before squaring, which the largest embeddings would not survive.
    return (sigma / sigma[0].clamp(min=torch.finfo(sigma.dtype).tiny)).square().sum()


def power_law(eigenvalues: Tensor, window: tuple[int, int] = (4, 100), weighted: bool = True) -> PowerLaw:
    """Least-squares line through ``(ln j, ln l_j)`` over the ranks ``window[0] <= j <= window[1]``.

    Args:
        eigenvalues: Descending, (K,); the window ends early where they run out or reach zero.
        window: First and last rank, counted from 1.
        weighted: Weight rank j by 1/j, as alpha-ReQ does, so that the crowded tail does not rule.

    Raises:
        ValueError: Fewer than two positive eigenvalues in the window.
    """
    first, last = window[0], min(window[1], int((eigenvalues > 0).sum()))
    if first < 1 or last <= first:
        raise ValueError(
            f"a power law needs two positive eigenvalues in the ranks {window}, found up to {last}"
        )
    j = torch.arange(first, last + 1, dtype=torch.float64, device=eigenvalues.device)
    x, y = j.log(), eigenvalues[first - 1 : last].to(torch.float64).log()
    w = 1 / j if weighted else torch.ones_like(j)
    w = w / w.sum()
    dx, dy = x - (w * x).sum(), y - (w * y).sum()
    slope = (w * dx * dy).sum() / (w * dx * dx).sum()
    rest = (w * (dy - slope * dx).square()).sum()
    return PowerLaw(-slope, 1 - rest / (w * dy * dy).sum().clamp(min=1e-300), (first, last))


def alpha_req(z: Tensor, window: tuple[int, int] = (4, 100), weighted: bool = True) -> PowerLaw:
    """Decay exponent of the covariance spectrum of ``z`` (N, K), see :func:`power_law`."""
    return power_law(_scaled_eigenvalues(z)[0], window, weighted)


def self_cluster(z: Tensor) -> Tensor:
    """How much the directions of ``z`` (N, K) crowd together: 0 when uniform on the sphere, 1 when equal.

    Rows of zeros coincide.
    """
    z = unit_rows(finite_rows(z))
    return self_cluster_from_moment(z.T @ z, len(z))


def self_cluster_from_moment(gram: Tensor, rows: int) -> Tensor:
    """The score from ``sum_i u_i u_i^T`` (K, K) of the unit vectors, whose norm is their Gram's."""
    width = gram.shape[0]
    if rows < 2 or width < 2:
        return torch.tensor(math.nan, dtype=gram.dtype, device=gram.device)
    excess = width * gram.square().sum() - rows * (width + rows - 1)
    return excess / ((width - 1) * (rows - 1) * rows)
