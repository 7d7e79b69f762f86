# SPDX-License-Identifier: Apache-2.0
"""Self-distillation: who sees what, who learns, and how the teacher moves."""

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from conjoin.core.callbacks import EMATeacher
from conjoin.core.methods import Head, SelfDistillation
from conjoin.core.methods.head import Prototypes
from conjoin.core.objectives import BYOL, DINO, INTL, MoCoV3, NTXent, SimSiam, TiCo
from conjoin.core.optim import Optim


class Rows(nn.Module):
    """Two linear layers with a batch norm and dropout between them, on a vector as one token."""

    embed_dim = 5

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 5)
        )

    def forward(self, x, keep=None):
        return self.layers(x.flatten(1)).unsqueeze(1)


def views(count=2, rows=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    made = [torch.randn(rows, 4, generator=generator) for _ in range(count)]
    return {"x": made[0], "views": made, "index": torch.arange(rows)}


def test_the_teacher_sees_the_first_views_and_gets_no_gradient():
    model = SelfDistillation(Rows(), DINO(16), Head(8, 6, norm="none", prototypes=16), targets=2, seed=0)
    seen = {"student": 0, "teacher": 0}
    for name in ("encoder", "teacher"):
        key = "student" if name == "encoder" else "teacher"

        def count(module, args, key=key):
            seen[key] += 1

        getattr(model, name).register_forward_pre_hook(count)
    out = model.step(views(5))
    assert seen == {"student": 5, "teacher": 2}
    assert "projection" not in out.extras  # scores of prototypes
    out.loss.backward()
    assert all(p.grad is not None for p in (*model.encoder.parameters(), *model.projector.parameters()))
    frozen = (*model.teacher.parameters(), *model.teacher_projector.parameters())
    assert all(p.grad is None and not p.requires_grad for p in frozen)
    assert not set(model.trainable()) & {model.teacher, model.teacher_projector}


def test_the_loss_is_that_of_predictions_and_targets():
    model = SelfDistillation(Rows(), BYOL(), Head(8, 6), Head(7, 6), seed=0).eval()
    with torch.no_grad():
        for parameter in model.teacher.parameters():
            parameter.add_(0.1)
    data = views()
    students = torch.stack([model.predictor(model.projector(model.encoder(v)[:, 0])) for v in data["views"]])
    targets = torch.stack([model.teacher_projector(model.teacher(v)[:, 0]) for v in data["views"]])
    out = model.step(data)
    torch.testing.assert_close(out.loss, BYOL()(students, targets).loss)
    torch.testing.assert_close(out.embedding, model.teacher(data["x"])[:, 0])


def test_without_average_the_student_is_its_own_gradient_free_teacher():
    model = SelfDistillation(Rows(), SimSiam(), Head(8, 6), Head(7, 6), ema=None, seed=0).eval()
    assert model.teacher is None
    assert model.configure_callbacks() == []
    data = views()
    z = torch.stack([model.projector(model.encoder(v)[:, 0]) for v in data["views"]])
    p = torch.stack([model.predictor(rows) for rows in z])
    model.zero_grad()
    SimSiam()(p, z.detach()).loss.backward()
    expected = [parameter.grad.clone() for parameter in model.encoder.parameters()]
    model.zero_grad()
    model.step(data).loss.backward()
    for parameter, gradient in zip(model.encoder.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    assert model.representation is model.encoder


@pytest.mark.parametrize("objective", [BYOL(), SimSiam(), MoCoV3()])
def test_objectives_that_need_a_predictor_get_one(objective):
    model = SelfDistillation(Rows(), objective, Head(8, 6), seed=0)
    assert model.predictor.last.out_features == 6
    off = SelfDistillation(Rows(), objective, Head(8, 6), Head(layers=0), seed=0)
    assert isinstance(off.predictor, nn.Identity)


@pytest.mark.parametrize("objective", [DINO(6), TiCo(6)])
def test_others_get_none(objective):
    assert isinstance(SelfDistillation(Rows(), objective, Head(8, 6), seed=0).predictor, nn.Identity)


def test_intl_with_a_momentum_view():
    objective = INTL(axis=1)
    model = SelfDistillation(Rows(), objective, Head(8, 3), seed=0).eval()
    data = views(3)
    online = torch.stack([model.projector(model.encoder(v)[:, 0]) for v in data["views"][1:]])
    target = model.teacher_projector(model.teacher(data["x"])[:, 0])
    torch.testing.assert_close(model.step(data).loss, objective(online, target=target).loss)


def test_of_the_teacher_only_batch_norms_train():
    model = SelfDistillation(Rows(), seed=0)
    model.train()
    found = {
        type(m).__name__: m.training for m in (*model.teacher.modules(), *model.teacher_projector.modules())
    }
    assert {name for name, training in found.items() if training} == {"BatchNorm1d", "BatchNorm"}
    assert not found["Dropout"]
    model.eval()
    assert not any(m.training for m in (*model.teacher.modules(), *model.teacher_projector.modules()))


def test_which_features_are_frozen():
    assert SelfDistillation(Rows(), seed=0).representation.training is False
    teacher, student = (SelfDistillation(Rows(), frozen=f, seed=0) for f in ("teacher", "student"))
    assert teacher.representation is teacher.teacher
    assert student.representation is student.encoder
    out = student.eval().step(views())
    torch.testing.assert_close(out.embedding, student.encoder(views()["x"])[:, 0])


class Follow(pl.Callback):
    """The teacher as it should be: m t + (1 - m) s, m half a cosine from 0.9 to 1 over six steps."""

    def on_train_start(self, trainer, model):
        self.expected = [
            p.clone() for p in (*model.teacher.parameters(), *model.teacher_projector.parameters())
        ]
        self.steps, self.prototypes = 0, model.projector.prototypes.weight.clone()

    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx):
        momentum = 1 - 0.1 * (1 + torch.cos(torch.tensor(self.steps / 6 * torch.pi)).item()) / 2
        self.steps += 1
        students = (*model.encoder.parameters(), *model.projector.parameters())
        pairs = zip(self.expected, students, strict=True)
        self.expected = [momentum * t + (1 - momentum) * s.detach() for t, s in pairs]
        moved = not torch.equal(self.prototypes, model.projector.prototypes.weight)
        assert moved == (trainer.current_epoch >= 1)


def test_fit_moves_the_teacher_and_leaves_the_prototypes_out_of_the_first_epoch(tmp_path):
    model = SelfDistillation(
        Rows(),
        DINO(16),
        Head(8, 6, norm="none", prototypes=16),
        ema=(0.9, 1.0),
        freeze_prototypes=1,
        optim=Optim(lr=0.05, start_lr=0.05, weight_decay=0.1, final_weight_decay=None),
        seed=0,
    )
    loader = DataLoader(
        [{k: v for k, v in views(seed=s).items() if k != "index"} for s in range(3)], batch_size=None
    )
    follow = Follow()
    pl.Trainer(
        accelerator="cpu", max_epochs=2, logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, default_root_dir=tmp_path, callbacks=[follow],
    ).fit(model, loader)  # fmt: skip
    assert follow.steps == 6
    for found, expected in zip(
        (*model.teacher.parameters(), *model.teacher_projector.parameters()), follow.expected, strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert all(isinstance(callback, EMATeacher) for callback in model.configure_callbacks())
    # The teacher's batch norm has statistics of its own.
    own, students = model.teacher.layers[1].running_mean, model.encoder.layers[1].running_mean
    assert own.any()
    assert not torch.equal(own, students)
    assert isinstance(model.projector.prototypes, Prototypes)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SelfDistillation(Rows(), NTXent()), "NTXent has no targets: use Contrastive or Redundancy"),
        (lambda: SelfDistillation(Rows(), targets=0), "targets must be at least 1 and freeze_prototypes"),
        (lambda: SelfDistillation(Rows(), freeze_prototypes=-1), "freeze_prototypes at least 0, not 2, -1"),
        (lambda: SelfDistillation(Rows(), ema=(0.9, 1.1)), r"ema must be two momenta in \[0, 1\]"),
        (lambda: SelfDistillation(Rows(), frozen="both"), 'frozen must be "teacher" or "student"'),
        (lambda: SelfDistillation(Rows(), projector=nn.Linear(5, 3)), "give a ready predictor too"),
    ],
)
def test_refusals(make, words):
    with pytest.raises(ValueError, match=words):
        make()
