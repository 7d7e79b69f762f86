# SPDX-License-Identifier: Apache-2.0
"""Neighbours during training; what they share with the probe is in ``test_online.py``."""

import sys
from pathlib import Path

import pytest

from conjoin.core.callbacks import OnlineKNN

sys.path.insert(0, str(Path(__file__).parent))
from monitored import Data, Tiny, trainer


def test_neighbours_in_the_training_split(tmp_path: Path) -> None:
    fit = trainer(tmp_path, [OnlineKNN(k=3, bank="train", temperature=None)], steps=6)
    fit.fit(Tiny(), Data())
    assert fit.callback_metrics["probe/knn_acc"] > 0.9


def test_guards() -> None:
    for make, words in (
        (lambda: OnlineKNN(k=0), "k must be at least 1"),
        (lambda: OnlineKNN(temperature=0), "temperature must be positive"),
        (lambda: OnlineKNN(bank="shelf"), "bank must be 'buffer' or 'train'"),
    ):
        with pytest.raises(ValueError, match=words):
            make()
