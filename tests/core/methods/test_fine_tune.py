# SPDX-License-Identifier: Apache-2.0
"""Any pre-trained encoder with a head, for three tasks; frozen, resumed, rebuilt from its own file."""

import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from conjoin.core.checkpoint import fresh, load, load_model
from conjoin.core.data import Looks
from conjoin.core.methods import FineTune, JointEmbedding
from conjoin.core.methods.fine_tune import pretrained_encoder
from conjoin.core.optim import Optim

sys.path.insert(0, str(Path(__file__).parent))
import tuned
from tuned import tiny

sys.path.pop(0)
FAST = Optim(lr=5e-3, start_lr=5e-3, final_lr=1e-4, weight_decay=0.01, final_weight_decay=None)


@pytest.fixture
def file(tmp_path):
    return tuned.checkpoint(tmp_path)[0]


def equal(one, other):
    return all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_weights_are_the_teachers_unless_the_students_are_asked_for(tmp_path):
    path, system = tuned.checkpoint(tmp_path)
    tuning = FineTune(str(path), task="classification", outputs=3)
    assert equal(tuning.encoder, system.teacher)
    assert all(parameter.requires_grad for parameter in tuning.encoder.parameters())
    assert equal(FineTune(str(path), weights="student").encoder, system.encoder)
    assert {name.split(".")[0] for name in tuning.state_dict()} == {"encoder", "head"}


def test_a_teacher_of_a_part_replaces_that_part(tmp_path):
    from conjoin.core.callbacks import EMATeacher

    class Partly(tiny.TinyJEPA):
        def configure_callbacks(self):
            return EMATeacher(lambda step: 0.9, "encoder.transformer", "average")

    system = Partly()
    system.average = tiny.TinyEncoder().transformer
    projection = system.encoder.project.weight.clone()
    encoder = pretrained_encoder(system)
    assert equal(encoder.transformer, system.average)
    assert torch.equal(encoder.project.weight, projection)


TASKS = {
    "classification": (tuned.Classes, "accuracy", lambda value: value > 0.8),
    "regression": (tuned.Numbers, "rmse", lambda value: value < 10 * 0.41 / 2),  # 0.41: without any model
    "multilabel": (tuned.Several, "macro_auc", lambda value: value > 0.8),
}


@pytest.mark.parametrize(
    ("task", "head"),
    [
        ("classification", "linear"),
        ("regression", "attentive"),
        ("multilabel", "mlp"),
        ("multilabel", "cross_attention"),
    ],
)
def test_learns_and_is_measured_by_its_tasks_figure(file, tmp_path, task, head):
    data, metric, good = TASKS[task]
    model = FineTune(str(file), head=head, dropout=0.1, optim=FAST, seed=0)
    trainer = tiny.trainer(tmp_path, max_epochs=12)
    trainer.fit(model, data(batch_size=16, seed=0))
    assert model.task == task
    logged = trainer.callback_metrics
    assert good(float(logged[f"val/{metric}"])), logged
    # The figure of the split, from outside.
    module = data(batch_size=96)
    batch = next(iter(module.evaluation_dataloader("val")))
    model.eval()
    with torch.no_grad():
        out = model.head(model.encoder(batch["x"]))
    if task == "classification":
        expected = (out.argmax(1) == batch["label"]).double().mean()
    elif task == "regression":
        expected = 10 * (out[:, 0] - batch["target"]).double().square().mean().sqrt()
    else:
        expected = pytest.importorskip("sklearn.metrics").roc_auc_score(batch["labels"], out)
    assert float(logged[f"val/{metric}"]) == pytest.approx(float(expected), rel=1e-5)
    trainer.test(model, module, verbose=False)
    assert f"test/{metric}" in trainer.callback_metrics


def test_its_own_checkpoint_is_enough(file, tmp_path):
    model = FineTune(str(file), head="mlp", seed=3)
    trainer = tiny.trainer(tmp_path, max_steps=2, limit_val_batches=0)
    trainer.fit(model, tuned.Classes(batch_size=16))
    trainer.save_checkpoint(tmp_path / "tuned.ckpt")
    file.unlink()
    again = load_model(tmp_path / "tuned.ckpt")
    assert isinstance(again, FineTune)
    assert (again.task, again.seed) == ("classification", 3)
    x = torch.randn(5, 1, 16, 16)
    torch.testing.assert_close(
        again.head(again.encoder(x)), model.eval().head(model.encoder(x)), rtol=0, atol=0
    )
    assert again.embed({"x": x}).shape == (5, 16)
    untrained = fresh(again)
    assert not equal(untrained.encoder, again.encoder)
    assert untrained.head.layers[-1].out_features == 3


def test_pools_as_the_pretrained_system_does(tmp_path):
    class Flat(tiny.TinyJEPA):
        @staticmethod
        def pool_tokens(tokens):
            return tokens.flatten(1)

    model = FineTune(system=Flat(), task="regression", outputs=1)
    assert model.head.layers.in_features == 16 * 16
    assert model.embed({"x": torch.randn(2, 1, 16, 16)}).shape == (2, 256)
    again = FineTune(system=model, task="regression", outputs=1)
    assert again.head.layers.in_features == 16 * 16


class Snapshots(ModelCheckpoint):
    """The encoder's weights at the start of each epoch."""

    def __init__(self, folder):
        super().__init__(folder, filename="{step}", every_n_train_steps=1, save_top_k=-1)
        self.seen = []

    def on_train_epoch_end(self, trainer, pl_module):
        self.seen.append({name: value.clone() for name, value in pl_module.encoder.state_dict().items()})


@pytest.mark.slow
def test_freezes_then_trains_and_resumes_bit_for_bit(file, tmp_path):
    """From inside a frozen epoch, from a border, and from inside a free epoch."""

    def run(folder, start=None):
        model = FineTune(
            str(file), head="mlp", dropout=0.3, freeze_epochs=2, layer_decay=0.7, label_smoothing=0.1, seed=5
        )
        watch = Snapshots(folder)
        trainer = tiny.trainer(folder, callbacks=[watch], max_epochs=4, enable_checkpointing=True)
        trainer.fit(model, tuned.Classes(batch_size=16, seed=5), ckpt_path=start)
        return model, trainer, watch

    model, trainer, watch = run(tmp_path / "whole")
    start = FineTune(str(file)).encoder.state_dict()
    for epoch, still in enumerate((True, True, False, False)):
        assert all(torch.equal(watch.seen[epoch][name], value) for name, value in start.items()) == still
    assert trainer.global_step == 24
    optimizer = trainer.optimizers[0].state_dict()
    for step in (3, 12, 20):
        other, again, _ = run(tmp_path / str(step), tmp_path / "whole" / f"step={step}.ckpt")
        assert again.global_step == 24
        assert equal(model, other)
        found = again.optimizers[0].state_dict()
        assert found["param_groups"] == optimizer["param_groups"]
        for name, state in optimizer["state"].items():
            assert all(torch.equal(value, found["state"][name][key]) for key, value in state.items())
    # Six steps of each of the 2 + 2 epochs for the head, of the last two for the encoder.
    steps = {int(state["step"]) for state in optimizer["state"].values()}
    assert steps == {12, 24}


def test_unknown_answers_do_not_count(file):
    x = torch.randn(4, 1, 16, 16)
    for task, name, answer, unknown in (
        ("classification", "label", torch.tensor([0, 2, 1, 1]), -1),
        ("regression", "target", torch.randn(4), float("nan")),
        ("multilabel", "labels", torch.rand(4, 2).round(), float("nan")),
    ):
        model = FineTune(
            str(file), task=task, outputs={"classification": 3, "regression": 1}.get(task, 2)
        ).eval()
        part = model.step({"x": x[:2], name: answer[:2]}).loss
        holed = answer.clone()
        holed[2:] = unknown
        loss = model.step({"x": x, name: holed}).loss
        torch.testing.assert_close(loss, part)
        loss.backward()
        assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())
        holed[:] = unknown
        assert float(model.step({"x": x, name: holed}).loss) == 0


class Looked(tuned.Classes):
    """Each picture is looked at once, twice or three times, with more noise than in training."""

    @staticmethod
    def eval_transform(x):
        generator = torch.Generator().manual_seed(int(x.sum() * 1000) % 1000)
        count = int(torch.randint(1, 4, (), generator=generator))
        looks = x + torch.randn(count, *x.shape, generator=generator)
        return Looks(looks[0], looks)


@pytest.mark.parametrize("vote_on", ["logits", "probabilities"])
def test_evaluation_averages_over_looks(file, tmp_path, vote_on):
    data = Looked(batch_size=16, eval_batch_size=40, seed=0)
    model = FineTune(str(file), vote_on=vote_on, optim=FAST, seed=0)
    trainer = tiny.trainer(tmp_path, max_epochs=3)
    trainer.fit(model, data)
    logged = trainer.callback_metrics
    # Sample by sample, from outside.
    model.eval()
    right, losses, features = [], [], []
    plain = data.dataset("val")
    for sample in plain:
        looks = data.eval_transform(sample["x"]).looks
        with torch.no_grad():
            tokens = model.encoder(looks)
            out = model.head(tokens)
        p = out.mean(0).softmax(0) if vote_on == "logits" else out.softmax(1).mean(0)
        right.append(float(p.argmax() == sample["label"]))
        losses.append(float(-p[sample["label"]].log()))
        features.append(tokens.mean(dim=(0, 1)))
    assert float(logged["val/accuracy"]) == pytest.approx(sum(right) / 96, abs=1e-6)
    assert float(logged["val/loss"]) == pytest.approx(sum(losses) / 96, rel=1e-4)
    batches = list(data.evaluation_dataloader("val"))
    assert sum(len(batch["looks"]) for batch in batches) > 96 + 40
    torch.testing.assert_close(torch.cat([model.embed(batch) for batch in batches]), torch.stack(features))
    torch.testing.assert_close(
        torch.cat([model.step(batch).embedding for batch in batches]), torch.stack(features)
    )
    # One look, from the same model, is another answer.
    batch = batches[0]
    assert not torch.allclose(
        model.step({"x": batch["x"], "label": batch["label"]}).loss, model.step(batch).loss
    )


def test_training_never_looks_twice(file):
    model = FineTune(str(file), task="classification", outputs=3).train()
    x, label = torch.randn(4, 1, 16, 16), torch.tensor([0, 1, 2, 0])
    looks = {"looks": torch.full((8, 1, 16, 16), float("nan")), "look_counts": torch.tensor([2] * 4)}
    assert bool(model.step({"x": x, "label": label, **looks}).loss.isfinite())
    assert not bool(model.eval().step({"x": x, "label": label, **looks}).loss.isfinite())


def test_guards(file, tmp_path):
    with pytest.raises(ValueError, match="vote_on must be 'logits' or 'probabilities', not 'ranks'"):
        FineTune(str(file), vote_on="ranks")
    with pytest.raises(ValueError, match="needs the checkpoint of a pre-trained system"):
        FineTune()
    with pytest.raises(ValueError, match="weights must be 'ema' or 'student', not 'mean'"):
        FineTune(str(file), weights="mean")
    with pytest.raises(ValueError, match=r"layer_decay must lie in \(0, 1\], not 0"):
        FineTune(str(file), layer_decay=0)
    with pytest.raises(ValueError, match="freeze_epochs must not be negative, not -1"):
        FineTune(str(file), freeze_epochs=-1)
    with pytest.raises(ValueError, match="task must be one of"):
        FineTune(str(file), task="ranking")
    model = FineTune(str(file), task="regression", outputs=1)
    with pytest.raises(ValueError, match="needs batches with 'target', and these have x, label"):
        model.step({"x": torch.randn(2, 1, 16, 16), "label": torch.zeros(2)})
    trainer = tiny.trainer(tmp_path, max_steps=1)

    class Silent(tuned.Classes):
        num_classes = None

    with pytest.raises(ValueError, match="Silent does not say how many classes"):
        trainer.fit(FineTune(str(file)), Silent())
    trainer = tiny.trainer(tmp_path, max_steps=1)
    with pytest.raises(ValueError, match="without a data module needs to be told"):
        trainer.fit(FineTune(str(file)), tuned.Classes().train_dataloader())
    assert issubclass(FineTune, JointEmbedding)
    assert load(file)["conjoin"]["class_path"] == "tiny.TinyJEPA"
