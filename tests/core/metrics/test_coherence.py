# SPDX-License-Identifier: Apache-2.0
"""Coherence of Hadamard blocks, of one-sample directions, against leverages by least squares, over ranks."""

from typing import Any

import numpy as np
import pytest
import torch

from conjoin.core.metrics import Coherence, coherence


def embeddings(rows: int = 40, width: int = 6) -> torch.Tensor:
    z = torch.randn(rows, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return z * torch.linspace(0.1, 3, width)


def hadamard(order: int) -> torch.Tensor:
    block = torch.ones(1, 1)
    while len(block) < order:
        block = torch.cat((torch.cat((block, block), 1), torch.cat((block, -block), 1)))
    return block


def test_extremes() -> None:
    assert float(coherence(hadamard(32)[:, :8])) == pytest.approx(1)
    spike = torch.zeros(50, 2)
    spike[:, 0] = 1
    spike[7, 1] = 1e-3  # a whole direction for one sample, however short
    assert float(coherence(spike)) == pytest.approx(25, rel=0.03)
    assert float(coherence(torch.ones(10, 4))) == pytest.approx(1)


@pytest.mark.parametrize("shape", [(40, 6), (5, 12)])
def test_equals_leverages_by_the_pseudo_inverse(shape: tuple[int, int]) -> None:
    z = embeddings(*shape).numpy()
    hat = z @ np.linalg.pinv(z)  # the projection on the columns
    expected = shape[0] / np.linalg.matrix_rank(z) * max(hat[i, i] for i in range(shape[0]))
    assert float(coherence(torch.from_numpy(z))) == pytest.approx(expected, rel=1e-10)


def test_rounding_is_no_direction() -> None:
    line = torch.arange(1.0, 101).outer(torch.tensor([1.0, 2.0, -1.0]))
    noisy = line + 1e-6 * torch.randn(100, 3, generator=torch.Generator().manual_seed(1))
    assert float(coherence(noisy)) == pytest.approx(float(coherence(line)), rel=1e-4)


def test_streams() -> None:
    metric = Coherence()
    for part in embeddings().split([7, 33]):
        metric.update(part)
    torch.testing.assert_close(metric.compute(), coherence(embeddings()), rtol=1e-10, atol=0)


def test_guards() -> None:
    with pytest.raises(ValueError, match="not all zero, got 4 of zeros"):
        coherence(torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"tolerance must lie in \[0, 1\), got 1"):
        Coherence(tolerance=1)


def two_ranks(rank: int, world: int) -> torch.Tensor:
    metric = Coherence()
    for part in (embeddings()[:31] if rank == 0 else embeddings()[31:]).split(20):
        metric.update(part)
    return metric.compute()


@pytest.mark.ddp
@pytest.mark.slow
def test_two_ranks(ddp: Any) -> None:
    for value in ddp(two_ranks):
        torch.testing.assert_close(value, coherence(embeddings()), rtol=0, atol=1e-10)
