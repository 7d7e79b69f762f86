# SPDX-License-Identifier: Apache-2.0
"""Content share: exact on whole grids, unbiased on few samples, blind to copies."""

from typing import Any

import pytest
import torch
from torch import Tensor

from conjoin.core.metrics import ContentShare, content_share

GRID = 12


def draw(generator: torch.Generator, samples: int, common: float) -> Tensor:
    """Targets (B, N, D) with position and sample effects; per feature, content variance is 1.

    ``common`` of it is shared by all positions of a sample.
    """
    position = torch.randn(GRID, 4, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    shared = torch.randn(samples, 1, 4, generator=generator, dtype=torch.float64)
    own = torch.randn(samples, GRID, 4, generator=generator, dtype=torch.float64)
    return position + common**0.5 * shared + (1 - common) ** 0.5 * own


def truth() -> float:
    position = torch.randn(GRID, 4, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    between = float(position.var(0, correction=0).mean())
    return 1 / (1 + between)


def masked(generator: torch.Generator, targets: Tensor, blocks: int, size: int) -> tuple[Tensor, Tensor]:
    """Blocks of random positions that may overlap: (B, M, K, D) and (B, M, K)."""
    keys = torch.rand(len(targets), blocks, GRID, generator=generator)
    index = keys.argsort(-1)[..., :size].sort(-1).values
    flat = index.flatten(1).unsqueeze(-1).expand(-1, -1, targets.shape[-1])
    return targets.gather(1, flat).unflatten(1, (blocks, size)), index


def test_extremes() -> None:
    index = torch.arange(GRID).expand(6, 1, GRID)
    generator = torch.Generator().manual_seed(0)
    position = torch.randn(GRID, 4, generator=generator)
    assert float(content_share(position.expand(6, 1, GRID, 4), index)) == pytest.approx(0, abs=1e-12)
    constant = torch.full((6, 1, GRID, 4), 0.1)
    assert float(content_share(constant, index)) == 0
    noise = torch.randn(4000, 1, GRID, 4, generator=generator)
    assert float(content_share(noise, index[:1].expand(4000, 1, GRID))) == pytest.approx(1, abs=0.01)


def test_known_share_on_many_samples() -> None:
    generator = torch.Generator().manual_seed(0)
    targets = draw(generator, 20_000, common=0.5).unsqueeze(1)
    index = torch.arange(GRID).expand(20_000, 1, GRID)
    assert float(content_share(targets, index)) == pytest.approx(truth(), abs=0.01)


@pytest.mark.parametrize("common", [0.0, 1.0])
def test_few_samples_are_not_biased(common: float) -> None:
    """Five samples with overlapping blocks.

    The naive variances (divide by the counts) would be low by a third at about three samples a position.
    """
    generator = torch.Generator().manual_seed(1)
    values = []
    for _ in range(1500):
        targets, index = masked(generator, draw(generator, 5, common), blocks=2, size=5)
        values.append(content_share(targets, index, GRID))
    # A ratio of unbiased parts has a bias of the order of its relative variance: hence the tolerance.
    mean = float(torch.stack(values).nanmean())
    assert mean == pytest.approx(truth(), abs=0.04)


def test_overlapping_blocks_count_a_copy_once() -> None:
    generator = torch.Generator().manual_seed(2)
    targets, index = masked(generator, draw(generator, 8, 0.3), blocks=1, size=9)
    twice = torch.cat((targets, targets), 1), torch.cat((index, index), 1)
    torch.testing.assert_close(content_share(*twice), content_share(targets, index))


def test_padding_is_ignored() -> None:
    generator = torch.Generator().manual_seed(3)
    targets, index = masked(generator, draw(generator, 8, 0.3), blocks=1, size=9)
    padded = torch.cat((targets, torch.full_like(targets[:, :, :2], 1e6)), 2)
    longer = torch.cat((index, torch.full_like(index[:, :, :2], -1)), 2)
    torch.testing.assert_close(content_share(padded, longer), content_share(targets, index))


def test_agrees_with_a_loop() -> None:
    generator = torch.Generator().manual_seed(4)
    targets, index = masked(generator, draw(generator, 7, 0.3), blocks=1, size=6)
    seen: dict[int, list[Tensor]] = {}
    for sample in range(7):
        for slot in range(6):
            seen.setdefault(int(index[sample, 0, slot]), []).append(targets[sample, 0, slot])
    twice = {n: torch.stack(rows) for n, rows in seen.items() if len(rows) > 1}
    weights = sum(len(rows) for rows in twice.values())
    within = sum(len(rows) * float(rows.var(0).sum()) for rows in twice.values()) / weights
    square = float(targets.square().sum(-1).mean())
    products = [
        float(targets[a, 0, i] @ targets[b, 0, j])
        for a in range(7)
        for b in range(7)
        for i in range(6)
        for j in range(6)
        if a != b
    ]
    expected = within / (square - sum(products) / len(products))
    assert float(content_share(targets, index)) == pytest.approx(expected)


def test_metric_streams() -> None:
    generator = torch.Generator().manual_seed(5)
    targets, index = masked(generator, draw(generator, 30, 0.3), blocks=3, size=4)
    metric = ContentShare(GRID, 4)
    for low, high in ((0, 4), (4, 30)):
        metric.update(targets[low:high], index[low:high])
    torch.testing.assert_close(metric.compute(), content_share(targets, index))


def two_ranks(rank: int, world: int) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    targets, index = masked(generator, draw(generator, 30, 0.3), blocks=3, size=4)
    mine = slice(0, 11) if rank == 0 else slice(11, 30)
    metric = ContentShare(GRID, 4)
    metric.update(targets[mine], index[mine])
    return metric.compute()


@pytest.mark.ddp
@pytest.mark.slow
def test_two_ranks(ddp: Any) -> None:
    generator = torch.Generator().manual_seed(5)
    targets, index = masked(generator, draw(generator, 30, 0.3), blocks=3, size=4)
    for value in ddp(two_ranks):
        torch.testing.assert_close(value, content_share(targets, index))


def test_nothing_to_compare_is_nan() -> None:
    assert torch.isnan(content_share(torch.randn(1, 1, 3, 2), torch.arange(3).view(1, 1, 3)))


def test_guards() -> None:
    with pytest.raises(ValueError, match="need a target_index of shape"):
        content_share(torch.zeros(2, 3, 4), torch.zeros(2, 4, dtype=torch.long))
    with pytest.raises(ValueError, match="holds 3 but there are 3 positions"):
        content_share(torch.zeros(2, 1, 4), torch.full((2, 1), 3), positions=3)
    with pytest.raises(ValueError, match="must be positive"):
        ContentShare(0, 4)
