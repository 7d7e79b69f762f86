# SPDX-License-Identifier: Apache-2.0
"""The shared ring buffer: order, growth, state, one per trainer."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from conjoin.core.callbacks import FeatureBuffer, OnlineKNN, OnlineProbe, RepresentationMonitor

sys.path.insert(0, str(Path(__file__).parent))
from monitored import Data, Tiny, trainer


def rows(low: int, high: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    number = torch.arange(low, high)
    return number.float().unsqueeze(1).expand(-1, 3), number % 4, number


def test_keeps_the_last_rows_in_order() -> None:
    buffer = FeatureBuffer(10)
    for low in range(0, 28, 4):
        buffer.push(*rows(low, low + 4))
    kept = buffer.gather()
    assert kept.index.tolist() == list(range(18, 28))
    assert kept.x[:, 0].tolist() == list(range(18, 28))
    assert kept.label.tolist() == [n % 4 for n in range(18, 28)]
    assert len(buffer) == 10


def test_a_batch_larger_than_the_buffer() -> None:
    buffer = FeatureBuffer(5)
    buffer.push(*rows(0, 3))
    buffer.push(*rows(3, 20))
    assert buffer.gather().index.tolist() == [15, 16, 17, 18, 19]


def test_growing_keeps_what_is_there() -> None:
    buffer = FeatureBuffer(4)
    buffer.push(*rows(0, 6))
    buffer.grow(7)
    buffer.grow(3)
    buffer.push(*rows(6, 12))
    assert buffer.gather().index.tolist() == list(range(5, 12))


def test_state_goes_on_as_if_nothing_had_happened() -> None:
    buffer = FeatureBuffer(10)
    buffer.push(*rows(0, 13))
    twin = FeatureBuffer(10)
    twin.load_state_dict(buffer.state_dict())
    for each in (buffer, twin):
        each.push(*rows(13, 17))
    assert torch.equal(buffer.rows(), twin.rows())
    assert buffer.gather().index.tolist() == twin.gather().index.tolist()
    empty = FeatureBuffer(4)
    empty.load_state_dict(FeatureBuffer(4).state_dict())
    assert len(empty) == 0


def test_one_buffer_per_trainer_in_front_of_its_first_user(tmp_path: Path) -> None:
    monitor, probe, knn = RepresentationMonitor(max_samples=20), OnlineProbe(), OnlineKNN(size=30)
    first = trainer(tmp_path, [monitor, probe, knn], steps=2)
    first.fit(Tiny(), Data())
    buffers = [callback for callback in first.callbacks if isinstance(callback, FeatureBuffer)]
    assert len(buffers) == 1
    assert buffers[0].size == 30
    assert first.callbacks.index(buffers[0]) == first.callbacks.index(monitor) - 1
    assert buffers[0].gather().index.tolist() == list(range(16))
    second = trainer(tmp_path, [RepresentationMonitor()], steps=1)
    second.fit(Tiny(), Data())
    other = next(callback for callback in second.callbacks if isinstance(callback, FeatureBuffer))
    assert other is not buffers[0]
    assert len(other) == 8


def test_embeds_a_validation_batch_once() -> None:
    calls = []

    class Counting:
        def embed(self, batch: Any) -> torch.Tensor:
            calls.append(batch)
            return torch.ones(2, 3, dtype=torch.bfloat16)

    buffer, batch = FeatureBuffer(), {"x": torch.zeros(2, 3)}
    assert buffer.embed(Counting(), batch).dtype == torch.float32
    buffer.embed(Counting(), batch)
    assert len(calls) == 1
    buffer.embed(Counting(), dict(batch))
    assert len(calls) == 2


def test_uses_what_the_validation_step_has_embedded() -> None:
    class Mute:
        def embed(self, batch: Any) -> torch.Tensor:
            raise AssertionError("embedded a second time")

    buffer, batch, frozen = FeatureBuffer(4), {"x": torch.ones(2, 3)}, torch.rand(2, 5, dtype=torch.float64)
    buffer.on_validation_batch_end(None, None, {"loss": 0, "frozen": frozen}, batch, 0)  # type: ignore[arg-type]
    assert torch.equal(buffer.embed(Mute(), batch), frozen.float())
    with pytest.raises(AssertionError, match="second time"):
        buffer.embed(Mute(), dict(batch))  # another batch


def test_guards(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="size must be at least 2, got 1"):
        FeatureBuffer(1)
    with pytest.raises(RuntimeError, match="no training step has run"):
        FeatureBuffer().rows()

    class Silent(Tiny):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch, batch_idx)["loss"]

    with pytest.raises(KeyError, match=r"Silent\.training_step must return"):
        trainer(tmp_path, [RepresentationMonitor()], steps=1).fit(Silent(), Data())


def two_ranks(rank: int, world: int) -> Any:
    buffer = FeatureBuffer(10)
    # Rank 0 gives even numbers, rank 1 odd ones; each keeps its last five.
    for low in range(0, 16, 4):
        buffer.push(*(part[rank::2] for part in rows(low, low + 4)))
    state = buffer.state_dict()
    twin = FeatureBuffer(10)
    twin.load_state_dict(state)
    return buffer.gather().index, buffer.rows(), twin.rows(), state


@pytest.mark.ddp
@pytest.mark.slow
def test_two_ranks(ddp: Any) -> None:
    answers = ddp(two_ranks)
    for gathered, own, restored, _ in answers:
        assert gathered.tolist() == [6, 8, 10, 12, 14, 7, 9, 11, 13, 15]
        assert torch.equal(own, restored)
    alone = FeatureBuffer(10)
    alone.load_state_dict(answers[0][3])
    assert len(alone) == 10
