# SPDX-License-Identifier: Apache-2.0
"""The JEPA template: who sees what, who learns what, and how the teacher moves."""

import sys
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch

from conjoin.core import JEPA
from conjoin.core.callbacks import EMATeacher
from conjoin.core.masking import MultiBlockMask
from conjoin.core.nn import Predictor
from conjoin.core.objectives import ObjectiveOutput

sys.path.insert(0, str(Path(__file__).parents[2] / "integration"))
import tiny


def batch(size=6):
    x = torch.sin(torch.arange(size * 256.0)).view(size, 1, 16, 16)
    return {"x": x, "index": torch.arange(size)}


def test_gradients_reach_every_block_and_the_mask_token_but_not_the_teacher():
    model = tiny.TinyJEPA()
    model.step(batch()).loss.backward()
    assert all(p.grad is None and not p.requires_grad for p in model.teacher.parameters())
    for block in (*model.encoder.transformer.blocks, *model.predictor.predictor_blocks):
        for name, parameter in block.named_parameters():
            assert parameter.grad is not None, name
        assert any(p.grad.abs().sum() > 0 for p in block.parameters())
    assert model.encoder.project.weight.grad.abs().sum() > 0
    assert model.predictor.mask_token.grad.abs().sum() > 0
    assert set(model.trainable()) == {model.encoder, model.predictor}


def test_the_context_does_not_see_hidden_pixels():
    model, data = tiny.TinyJEPA().eval(), batch()
    masks = model.partition(data)
    changed = data["x"].clone()
    for sample, keep in enumerate(masks.context):
        visible = set(keep.tolist())
        for token in set(range(16)) - visible:
            row, column = divmod(token, 4)
            changed[sample, 0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 10
    assert not torch.equal(changed, data["x"])
    context = model.encode_context(data, masks)
    assert torch.equal(model.encode_context(data | {"x": changed}, masks), context)
    assert not torch.equal(model.encode_targets(data | {"x": changed}), model.encode_targets(data))
    # And it does see those that are visible.
    row, column = divmod(int(masks.context[0, 0]), 4)
    seen = data["x"].clone()
    seen[0, 0, 4 * row, 4 * column] += 10
    assert not torch.equal(model.encode_context(data | {"x": seen}, masks)[0], context[0])


def test_masks_are_a_function_of_sample_and_epoch_not_of_the_batch():
    model, data = tiny.TinyJEPA().eval(), batch()
    masks = model.partition(data)
    assert torch.equal(model.partition(data).context, masks.context)
    hidden = [set(t.flatten().tolist()) for t in masks.targets]
    assert all(not hidden[i] & set(masks.context[i].tolist()) for i in range(6))


def test_outputs_for_callbacks():
    model, data = tiny.TinyJEPA(), batch()
    out = model.step(data)
    features = model.teacher(data["x"])
    torch.testing.assert_close(out.embedding, features.mean(1))
    index = out.extras["target_index"]
    for sample in range(6):
        for block in range(2):
            expected = features[sample][index[sample, block]]
            torch.testing.assert_close(out.extras["targets"][sample, block], expected)
    assert not out.embedding.requires_grad
    assert not out.extras["targets"].requires_grad


def test_embed_is_the_mean_of_the_teachers_tokens():
    model, data = tiny.TinyJEPA(), batch()
    with torch.no_grad():
        for parameter in model.teacher.parameters():
            parameter.add_(0.1)  # so that teacher and student differ
        expected = model.teacher(data["x"]).mean(1)
        student = model.encoder(data["x"]).mean(1)
    torch.testing.assert_close(model.embed(data), expected)
    assert not torch.allclose(model.embed(data), student)
    assert model.representation is model.teacher


def test_the_teacher_stays_in_evaluation_mode():
    model = tiny.TinyJEPA()
    model.train()
    assert model.encoder.training
    assert model.predictor.training
    assert not any(module.training for module in model.teacher.modules())


def test_fit_moves_the_teacher_by_its_average_alone(tmp_path):
    """Each step: teacher = m teacher + (1 - m) student, with m linear from 0.9 to 1 over the run."""

    class Follow(pl.Callback):
        def on_train_start(self, trainer, pl_module):
            self.expected = [p.clone() for p in pl_module.teacher.parameters()]
            self.steps = 0

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            momentum = 0.9 + 0.1 * self.steps / 6
            self.steps += 1
            student = pl_module.encoder.parameters()
            pairs = zip(self.expected, student, strict=True)
            self.expected = [momentum * t + (1 - momentum) * s.detach() for t, s in pairs]

    follow, model = Follow(), tiny.TinyJEPA(lr=0.05)
    fit = tiny.trainer(tmp_path, callbacks=[follow], max_epochs=None, max_steps=6)
    fit.fit(model, tiny.TinyData(batch_size=16))
    assert follow.steps == 6
    for found, expected in zip(model.teacher.parameters(), follow.expected, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    pairs = zip(model.teacher.parameters(), model.encoder.parameters(), strict=True)
    assert any(not torch.equal(teacher, student) for teacher, student in pairs)
    assert isinstance(next(iter(model.configure_callbacks())), EMATeacher)


def test_the_objective_can_be_replaced():
    class Count(torch.nn.Module):
        def forward(self, predictions, targets, valid=None):
            return ObjectiveOutput(
                predictions.sum() * 0 + predictions.shape[1], {"blocks": torch.tensor(2.0)}
            )

    encoder = tiny.TinyEncoder()
    predictor = Predictor(16, encoder.grid, dim=8, depth=1, heads=2)
    masks = MultiBlockMask(targets=2, min_keep=2)
    out = JEPA(encoder, predictor, masks, objective=Count(), seed=0).step(batch())
    assert (out.loss.item(), out.terms["blocks"].item()) == (2.0, 2.0)


@pytest.mark.parametrize("ema", [(-0.1, 1.0), (0.9, 1.1)])
def test_momentum_outside_of_zero_to_one_is_refused(ema):
    encoder = tiny.TinyEncoder()
    predictor = Predictor(16, encoder.grid, dim=8, depth=1, heads=2)
    with pytest.raises(ValueError, match=r"ema must be two momenta in \[0, 1\]"):
        JEPA(encoder, predictor, MultiBlockMask(targets=2, min_keep=2), ema=ema, seed=0)


def test_masks_that_cannot_fit_are_refused_at_once():
    encoder = tiny.TinyEncoder()
    predictor = Predictor(16, encoder.grid, dim=8, depth=1, heads=2)
    with pytest.raises(ValueError, match="min_keep"):
        JEPA(encoder, predictor, MultiBlockMask(min_keep=16), seed=0)


def test_validation_hands_on_what_it_has_embedded():
    model, data = tiny.TinyJEPA(), batch()
    assert model.step(data).frozen is None  # in training nobody asks
    model.eval()
    assert torch.equal(model.step(data).frozen, model.embed(data))

    class Other(tiny.TinyJEPA):
        def encode_targets(self, batch):
            return 2 * super().encode_targets(batch)

    assert Other().eval().step(data).frozen is None  # the targets are not the representation any more
