# SPDX-License-Identifier: Apache-2.0
"""The online probe: its tally, its state; what it shares with the neighbours is in ``test_online.py``."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from conjoin.core.callbacks import OnlineProbe
from conjoin.core.callbacks.online_probe import Score

sys.path.insert(0, str(Path(__file__).parent))
from monitored import Data, Tiny, trainer


def test_a_restored_probe_validates_without_training(tmp_path: Path) -> None:
    fit = trainer(tmp_path, [OnlineProbe(lr=0.05)], steps=30)
    fit.fit(Tiny(), Data())
    fit.save_checkpoint(tmp_path / "a.ckpt")
    again = trainer(tmp_path, [OnlineProbe()])
    again.validate(Tiny(), Data(), ckpt_path=tmp_path / "a.ckpt", verbose=False)
    assert again.callback_metrics["probe/linear_acc"] == fit.callback_metrics["probe/linear_acc"]


def score(rank: int, world: int) -> float | None:
    """Seven samples; the sampler repeats the first on the second rank, which has it wrong there too."""
    index = torch.tensor([0, 2, 4, 6] if rank == 0 else [1, 3, 5, 0])
    label = index % 3
    predicted = torch.where(index == 0, 1, label)
    tally = Score()
    tally.add({"label": label, "index": index}, predicted)
    return tally.compute(torch.device("cpu"))


def test_score_without_index_counts_every_sample() -> None:
    tally = Score()
    for _ in range(2):
        tally.add({"label": torch.tensor([0, 1, -1])}, torch.tensor([0, 0, 0]))
    assert tally.compute(torch.device("cpu")) == 0.5
    assert tally.compute(torch.device("cpu")) is None


@pytest.mark.ddp
@pytest.mark.slow
def test_a_repeated_sample_counts_once_over_two_ranks(ddp: Any) -> None:
    assert ddp(score) == [pytest.approx(6 / 7)] * 2


def test_a_single_class_is_refused() -> None:
    with pytest.raises(ValueError, match="num_classes must be at least 2"):
        OnlineProbe(num_classes=1)
