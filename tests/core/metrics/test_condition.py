# SPDX-License-Identifier: Apache-2.0
"""The pseudo-condition number against numpy's, of dead directions, and over ranks."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from conjoin.core.metrics import PseudoConditionNumber, pseudo_condition_number


def embeddings(rows: int = 30, width: int = 5) -> torch.Tensor:
    return torch.randn(rows, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.3


def test_by_hand() -> None:
    assert float(pseudo_condition_number(torch.diag(torch.tensor([8.0, 2.0, 4.0])))) == pytest.approx(4)
    assert float(pseudo_condition_number(torch.eye(6)[:, :3])) == pytest.approx(1)
    assert math.isinf(float(pseudo_condition_number(torch.ones(6, 3))))


@pytest.mark.parametrize("shape", [(30, 5), (4, 9)])
def test_equals_numpy(shape: tuple[int, int]) -> None:
    expected = np.linalg.cond(embeddings(*shape).numpy())
    assert float(pseudo_condition_number(embeddings(*shape))) == pytest.approx(expected, rel=1e-9)
    metric = PseudoConditionNumber()
    for part in embeddings(*shape).split(3):
        metric.update(part)
    assert float(metric.compute()) == pytest.approx(expected, rel=1e-9)


def test_guards() -> None:
    with pytest.raises(ValueError, match="at least one embedding, got none"):
        pseudo_condition_number(torch.zeros(0, 3))
    with (
        pytest.raises(ValueError, match="has seen no embeddings"),
        pytest.warns(UserWarning, match="before the ``update``"),
    ):
        PseudoConditionNumber().compute()


def two_ranks(rank: int, world: int) -> torch.Tensor:
    metric = PseudoConditionNumber()
    metric.update(embeddings()[:22] if rank == 0 else embeddings()[22:])
    return metric.compute()


@pytest.mark.ddp
@pytest.mark.slow
def test_two_ranks(ddp: Any) -> None:
    for value in ddp(two_ranks):
        torch.testing.assert_close(value, pseudo_condition_number(embeddings()), rtol=0, atol=1e-10)
