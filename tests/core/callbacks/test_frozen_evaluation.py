# SPDX-License-Identifier: Apache-2.0
"""The callback of ``conjoin test``: where it writes, what it logs, what it needs."""

import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

import conjoin.core.checkpoint
from conjoin.core.callbacks import FrozenEvaluation
from conjoin.core.evaluation import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluation"))
from standin import Data, Model


@pytest.fixture
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conjoin.core.checkpoint, "fresh", lambda model: Model(trained=False).eval())


@pytest.mark.usefixtures("_fresh")
@pytest.mark.parametrize("inside", [True, False])
def test_callback_writes_beside_the_checkpoints(tmp_path: Path, inside: bool, capsys: Any) -> None:
    callback = FrozenEvaluation(budgets=(5, None), probes=("linear",), draws=2)
    trainer = pl.Trainer(
        default_root_dir=tmp_path / "elsewhere",
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        callbacks=[callback],
    )
    checkpoint = None
    if inside:
        checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
        checkpoint.parent.mkdir(parents=True)
        torch.save({"state_dict": Model().state_dict(), "pytorch-lightning_version": "2.6.0"}, checkpoint)
    trainer.test(Model(), Data(), ckpt_path=checkpoint, verbose=False)
    written = tmp_path / ("run" if inside else "elsewhere") / "evaluation.json"
    table = Table.from_json(written.read_text())
    assert table == callback.table
    value = table.select(features="raw input", split="test", labels_per_class=None).rows[0].value
    assert float(trainer.callback_metrics["test/raw_input/linear/all"]) == pytest.approx(value)
    assert "Frozen evaluation" in capsys.readouterr().out


def test_callback_needs_a_data_module(tmp_path: Path) -> None:
    trainer = pl.Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        logger=False,
        callbacks=[FrozenEvaluation()],
        enable_progress_bar=False,
    )
    with pytest.raises(ValueError, match="needs a data module"):
        trainer.test(Model(), Data().test_dataloader())


def test_task_and_episodes_are_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    def evaluate(model: Any, data: Any, **options: Any) -> Table:
        asked.update(options)
        return Table()

    monkeypatch.setattr("conjoin.core.callbacks.frozen_evaluation.evaluate", evaluate)
    callback = FrozenEvaluation(task="multilabel", few_shot=((5, 1),))
    trainer = pl.Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        callbacks=[callback],
    )
    trainer.test(Model(), Data(), verbose=False)
    assert (asked["task"], asked["few_shot"], asked["probes"]) == ("multilabel", ((5, 1),), None)
