# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import torch

from conjoin.core.report.run import Run
from conjoin.core.report.subject import Subject, build_datamodule


def test_samples_are_mixed_and_always_the_same(subject: Subject) -> None:
    first = torch.cat([batch["index"] for batch in subject.batches(50, size=16)])
    again = torch.cat([batch["index"] for batch in subject.batches(50, size=7)])
    assert len(first) == 50
    torch.testing.assert_close(first, again)
    assert len(set(first.tolist())) == 50
    assert first.tolist() != sorted(first.tolist())
    assert subject.size == 160
    assert sum(len(batch["x"]) for batch in subject.batches(1000)) == 160


def test_embeddings_match_the_model(subject: Subject) -> None:
    values, labels = subject.embeddings(70)
    batch = next(subject.batches(70, size=70))
    torch.testing.assert_close(values, subject.model.embed(batch).detach())
    assert labels.tolist() == batch["label"].tolist()


def test_numbers_come_in_their_own_units(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    subject.datamodule.target_scale, subject.datamodule.target_mean = 10.0, 3.0
    plain = Subject.batches

    def batches(self: Subject, count: int, size: int = 64) -> object:
        for batch in plain(self, count, size):
            yield {"x": batch["x"], "target": batch.pop("label").float()}

    monkeypatch.setattr(Subject, "batches", batches)
    _, numbers = subject.embeddings(8)
    assert numbers.is_floating_point()
    assert set(numbers.tolist()) <= {3.0, 13.0, 23.0, 33.0, 43.0}


def test_label_names(subject: Subject) -> None:
    assert subject.label_name(1) == "green disc"
    assert subject.label_name(99) == "class 99"


def test_without_a_checkpoint(run_dir: Path) -> None:
    (run_dir / "checkpoints" / "last.ckpt").unlink()
    with pytest.raises(ValueError, match="no checkpoints/last"):
        Subject.of(Run.read(run_dir))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (None, "names no data module"),
        ({"batch_size": 3}, "names no data module"),
        ({"class_path": "subprocess.Popen", "init_args": {"args": "false"}}, "not a data module"),
        ({"class_path": "conjoin.core.data.Nothing"}, "Nothing"),
    ],
)
def test_only_data_modules_are_built(spec: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_datamodule(spec)


def test_a_data_module_is_built_with_its_arguments() -> None:
    made = build_datamodule({"class_path": "lightning.pytorch.LightningDataModule", "init_args": None})
    assert type(made).__name__ == "LightningDataModule"
