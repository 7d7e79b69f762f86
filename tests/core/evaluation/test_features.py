# SPDX-License-Identifier: Apache-2.0
"""Extraction: each sample once, in order, in evaluation mode, whatever the number of ranks."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from conjoin.core.evaluation import extract, raw_input

sys.path.insert(0, str(Path(__file__).parent))
from standin import WIDTH, Model, samples


def test_extract_keeps_each_sample_once_in_order() -> None:
    data = samples(10, 0)
    loader = [
        torch.utils.data.default_collate([data[i] for i in batch])
        for batch in ([3, 1, 2], [0, 3, 5], [4, 9, 8], [7, 6])
    ]
    features = extract(raw_input, loader, progress=False)
    assert features.index.tolist() == list(range(10))
    torch.testing.assert_close(features.x, torch.stack([item["x"].flatten() for item in data]))
    assert features.label.tolist() == [i % 3 for i in range(10)]


def test_extract_without_labels_and_indices_and_in_evaluation_mode() -> None:
    model = Model().train()
    batches = [{"x": torch.ones(3, 1, 1, WIDTH)}, {"x": torch.ones(2, 1, 1, WIDTH)}]
    features = extract(model, batches, progress=False)
    assert features.label.tolist() == [-1] * 5
    assert features.index.tolist() == list(range(5))
    assert torch.equal(features.x, torch.ones(5, 3))  # no dropout
    assert model.training
    assert model.encoder[1].training
    with pytest.raises(ValueError, match="loader of 'nothing' is empty"):
        extract(raw_input, [], description="nothing", progress=False)


def shard(rank: int, world: int) -> list[int]:
    from torch.utils.data.distributed import DistributedSampler

    data = samples(11, 0)
    plain = DataLoader(data, batch_size=2)  # type: ignore[arg-type]
    sampler = DistributedSampler(data, world, rank, shuffle=False)  # type: ignore[arg-type]
    sharded = DataLoader(data, batch_size=2, sampler=sampler)  # type: ignore[arg-type]
    found = [extract(raw_input, loader, progress=False) for loader in (plain, sharded)]
    assert torch.equal(found[0].x, found[1].x)
    return found[1].index.tolist()


@pytest.mark.ddp
@pytest.mark.slow
def test_extract_on_two_ranks(ddp: Any) -> None:
    assert ddp(shard) == [list(range(11))] * 2
