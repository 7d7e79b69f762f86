# SPDX-License-Identifier: Apache-2.0
import lightning.pytorch as pl
import pytest
import torch
from sklearn.metrics import average_precision_score

from conjoin.audio import AJEPA, SoundFineTune
from conjoin.core import JEPA
from conjoin.core.checkpoint import load_model
from conjoin.core.data import DataModule
from conjoin.core.masking import RandomMask
from conjoin.core.nn import Predictor, Transformer
from conjoin.core.optim import Optim


def system():
    return AJEPA(
        "vit_s",
        24,
        16,
        2,
        encoder_dim=16,
        encoder_depth=2,
        encoder_heads=2,
        predictor_dim=8,
        predictor_depth=1,
        predictor_heads=2,
        seed=0,
    )


class Loud(DataModule):
    """Low bands loud, high bands loud, both, or neither."""

    def __init__(self, several=False):
        super().__init__(batch_size=8, seed=0)
        if several:
            self.label_names = ("low", "high")
        else:
            self.num_classes = 4

    def build(self, split):
        generator = torch.Generator().manual_seed({"train": 0, "val": 1, "test": 2}[split])
        samples = []
        for number in range(16 if split == "train" else 10):
            x = torch.randn(1, 24, 16, generator=generator) * 0.3
            low, high = number % 2, number // 2 % 2
            x[..., :8] += 2 * low
            x[..., 8:] += 2 * high
            labels = torch.tensor([low, high], dtype=torch.float32)
            samples.append({"x": x, "label": low + 2 * high, "labels": labels})
        return samples


class Guess(pl.Callback):
    def __init__(self):
        self.outputs, self.labels = [], []

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        self.outputs.append(pl_module._outputs)
        self.labels.append(batch["labels"])


def trained(model, data, *callbacks, epochs):
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        check_val_every_n_epoch=epochs,
        callbacks=list(callbacks),
    )
    trainer.fit(model, datamodule=data)
    return trainer


FAST = Optim(lr=1e-2, start_lr=1e-3, final_lr=1e-3, warmup_steps=2, weight_decay=0.0, final_weight_decay=None)


def test_learns_classes_and_rebuilds_itself(tmp_path):
    model = SoundFineTune(system=system(), optim=FAST, seed=0)
    assert (model.encoder.ratio, model.encoder.mode, model.layer_decay) == (0.1, "keys", 0.75)
    trainer = trained(model, Loud(), epochs=40)
    assert float(trainer.callback_metrics["val/accuracy"]) > 0.6
    assert "val/map" not in trainer.callback_metrics
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    again = load_model(tmp_path / "a.ckpt")
    assert isinstance(again, SoundFineTune)
    assert again.encoder.ratio == 0.1
    x = torch.randn(2, 1, 24, 16)
    torch.testing.assert_close(again.encoder(x), model.eval().encoder(x))


def test_several_labels_are_scored_by_average_precision():
    guess = Guess()
    model = SoundFineTune(system=system(), optim=FAST, regularize_mode="self", seed=0)
    trainer = trained(model, Loud(several=True), guess, epochs=2)
    expected = average_precision_score(torch.cat(guess.labels), torch.cat(guess.outputs), average="macro")
    assert float(trainer.callback_metrics["val/map"]) == pytest.approx(expected, abs=1e-5)
    assert "val/macro_auc" in trainer.callback_metrics


def test_regularised_steps_are_keyed():
    def loss(seed):
        model = SoundFineTune(system=system(), task="classification", outputs=4, regularize=0.5, seed=seed)
        batch = next(iter(Loud().evaluation_dataloader("train")))
        model.train()
        return model.step(batch).loss.item(), model.eval().step(batch).loss.item()

    assert loss(0) == loss(0)
    trained_loss, plain = loss(0)
    assert trained_loss != plain


class Plain(Transformer):
    grid = (4,)


def test_guards():
    other = JEPA(Plain(16, 1, 2), Predictor(16, (4,), 8, 1, 2), RandomMask(), seed=0)
    with pytest.raises(ValueError, match="needs a SpectrogramViT, not Plain: use FineTune instead"):
        SoundFineTune(system=other, task="classification", outputs=2)
    with pytest.raises(ValueError, match=r"at least 0 and below 1, not 1.5"):
        SoundFineTune(system=system(), regularize=1.5)
    with pytest.raises(ValueError, match="needs the checkpoint of a pre-trained system"):
        SoundFineTune()
