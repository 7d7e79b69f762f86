# SPDX-License-Identifier: Apache-2.0
"""Extraction, the table, and the whole evaluation with its callback on a stand-in."""

import io
import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import DataLoader

import conjoin.core.checkpoint
from conjoin.core import random
from conjoin.core.callbacks import FrozenEvaluation
from conjoin.core.evaluation import Row, Table, evaluate, extract, raw_input

WIDTH = 10


def samples(count: int, seed: int, classes: int = 3) -> list[dict[str, Tensor]]:
    """Classes differ in the first three inputs only; the others are loud."""
    keys = random.fold(random.key(seed, "x"), torch.arange(count))
    x = random.normal(keys, WIDTH).float()
    label = torch.arange(count) % classes
    x[:, 3:] *= 20
    x[torch.arange(count), label % 3] += 2.5
    return [{"x": x[i].view(1, 1, WIDTH), "label": label[i], "index": torch.tensor(i)} for i in range(count)]


class Data(pl.LightningDataModule):
    num_classes = 3
    sizes = (("train", 120), ("val", 60), ("test", 60))

    def evaluation_dataloader(self, split: str) -> DataLoader[Any]:
        number, count = next((n, c) for n, (name, c) in enumerate(self.sizes) if name == split)
        return DataLoader(samples(count, number), batch_size=32)  # type: ignore[arg-type]

    def test_dataloader(self) -> DataLoader[Any]:
        return self.evaluation_dataloader("test")


class Model(pl.LightningModule):
    """Trained: sees the first three inputs. Fresh: a random mixture of all."""

    def __init__(self, trained: bool = True) -> None:
        super().__init__()
        with random.seeded(0):
            self.encoder = nn.Sequential(nn.Linear(WIDTH, 2, bias=False), nn.Dropout(0.5))
        if trained:
            self.encoder[0] = nn.Linear(WIDTH, 3, bias=False)
            self.encoder[0].weight.data.copy_(torch.eye(3, WIDTH))

    def tokens(self, batch: dict[str, Tensor]) -> Tensor:
        return self.encoder(batch["x"].flatten(1)).unsqueeze(1)

    def embed(self, batch: dict[str, Tensor]) -> Tensor:
        assert not torch.is_grad_enabled()
        return self.tokens(batch).mean(1)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        pass


@pytest.fixture
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conjoin.core.checkpoint, "fresh", lambda model: Model(trained=False).eval())


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


@pytest.mark.usefixtures("_fresh")
def test_the_trained_model_beats_its_baselines() -> None:
    table = evaluate(Model(), Data(), budgets=(5, 1000, None), draws=2, progress=False)
    assert {row.labels_per_class for row in table} == {5, None}  # 1000 per class there are not
    assert len(table) == 3 * 2 * 2 * 2
    for probe in ("linear", "knn"):
        found = {
            (row.features, row.budget): row
            for row in table.select(probe=probe, split="test", metric="accuracy")
        }
        assert found["teacher", "all"].value > found["random init", "all"].value + 0.2
        assert found["teacher", "all"].value > 0.8
        assert found["teacher", "5"].draws == 2
        assert found["teacher", "5"].std > 0
        assert found["teacher", "all"].draws == 1
        assert found["teacher", "all"].std == 0
    knn = {row.features: row.value for row in table.select(probe="knn", split="test", labels_per_class=None)}
    assert knn["teacher"] > knn["raw input"]
    again = evaluate(Model(), Data(), budgets=(5, 1000, None), draws=2, progress=False)
    assert again == table


def test_attentive_probe_runs_under_inference_mode_and_skips_raw_input() -> None:
    with torch.inference_mode():
        table = evaluate(
            Model(), Data(), budgets=(None,), probes=("attentive",), baselines=("raw",), progress=False
        )
    assert {row.features for row in table} == {"teacher"}
    assert table.rows[1].value > 0.5


def test_guards() -> None:
    with pytest.raises(ValueError, match="unknown probe 'svm': choose among linear, knn, attentive"):
        evaluate(Model(), Data(), probes=("svm",), progress=False)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown baseline 'pca'"):
        evaluate(Model(), Data(), baselines=("pca",), progress=False)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="draws must be at least 1"):
        evaluate(Model(), Data(), draws=0, progress=False)

    class Unlabelled(Data):
        def evaluation_dataloader(self, split: str) -> Any:
            return [{"x": torch.ones(3, 1, 1, WIDTH)}]

    with pytest.raises(ValueError, match="no sample of the train split has a label"):
        evaluate(Model(), Unlabelled(), baselines=(), progress=False)


def rows() -> Table:
    return Table([
        Row("teacher", "linear", 10, "val", "accuracy", 0.9, 0.01, 3),
        Row("teacher", "linear", 10, "test", "accuracy", 0.5, 0.02, 3),
        Row("raw input", "linear", 10, "test", "accuracy", 0.25, 0.0, 3),
        Row("teacher", "linear", None, "test", "accuracy", 0.75, 0.0, 1),
    ])  # fmt: skip


def test_table_round_trip(tmp_path: Path) -> None:
    text = rows().to_json(tmp_path / "deep" / "evaluation.json")
    assert Table.from_json(text) == rows()
    assert (
        json.loads((tmp_path / "deep" / "evaluation.json").read_text())["rows"][3]["labels_per_class"] is None
    )


def test_table_printed() -> None:
    out = io.StringIO()
    Console(file=out, width=90).print(rows())
    text = out.getvalue()
    for words in ("10 / class", "all labels", "50.0 ± 2.0", "75.0", "25.0"):
        assert words in text
    assert "90.0" not in text  # validation is for choices


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
