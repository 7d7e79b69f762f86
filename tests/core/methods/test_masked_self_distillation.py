# SPDX-License-Identifier: Apache-2.0
"""iBOT as a system: what the student does not see, what the teacher sees, and what is compared."""

import pytest
import torch
from torch import nn

from conjoin.core.masking import BlockMask, RandomMask
from conjoin.core.methods import Head, MaskedSelfDistillation, SelfDistillation
from conjoin.core.objectives import DINO, IBOT
from conjoin.core.transforms import Noise, ViewGroup, Views


class Patches(nn.Module):
    """Four by four patches of two by two cells; tokens are summed with a mean of all, so that they mix."""

    embed_dim = 5
    grid = (4, 4)

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(1, 5, 2, 2)
        self.last = nn.Linear(5, 5)

    def forward(self, x, keep=None, hide=None):
        tokens = self.patch(x).flatten(2).mT
        tokens = tokens if hide is None else hide(tokens)
        return self.last(tokens + tokens.mean(1, keepdim=True))


HEAD = Head(8, 6, 3, norm="none", prototypes=16)
VIEWS = Views([ViewGroup(2, [Noise(0.5)])])


def system(**options):
    return MaskedSelfDistillation(Patches(), IBOT(16), HEAD, **{"views": VIEWS, "seed": 0, **options})


def batch(rows=6, side=8):
    return {"x": torch.randn(rows, 1, side, side), "index": torch.arange(rows)}


def test_the_loss_is_that_of_summaries_and_hidden_patches():
    model = system(masks=RandomMask((0.5, 0.5)), masked=0.7)
    with torch.no_grad():
        model.mask_token.token.normal_()
        for parameter in (*model.teacher.parameters(), *model.teacher_projector.parameters()):
            parameter.add_(0.1)
    data = batch()
    views = model.make_views(data)
    hidden = [model.hidden(data, number) for number in range(2)]
    own, others = [], []
    for view, mask in zip(views, hidden, strict=True):
        patches = model.encoder.patch(view).flatten(2).mT
        patches = torch.where(mask[..., None], model.mask_token.token, patches)
        own.append(model.encoder.last(patches + patches.mean(1, keepdim=True)))
        others.append(model.teacher(view))
    expected = IBOT(16)(
        [model.projector(tokens.mean(1)) for tokens in own],
        [model.teacher_projector(tokens.mean(1)) for tokens in others],
        [model.projector(tokens) for tokens in own],
        [model.teacher_projector(tokens) for tokens in others],
        torch.stack(hidden),
    )
    out = model.step(data)
    torch.testing.assert_close(out.loss, expected.loss)
    torch.testing.assert_close(out.terms["patch"], expected.terms["patch"])
    torch.testing.assert_close(out.embedding, others[0].mean(1))
    out.loss.backward()
    learnt = (*model.encoder.parameters(), *model.projector.parameters(), *model.mask_token.parameters())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in learnt)
    assert all(p.grad is None for p in model.teacher.parameters())
    assert model.mask_token in model.trainable()


def test_the_student_never_sees_what_is_hidden_and_the_teacher_does():
    model = system(masked=1.0, views=Views([ViewGroup(2, [Noise(0.0)])]))
    data = batch()
    seen = {}
    model.encoder.register_forward_hook(lambda module, args, out: seen.update(student=out))
    model.teacher.register_forward_hook(lambda module, args, out: seen.update(teacher=out))
    model.step(data)
    first = dict(seen)
    hidden = model.hidden(data, 0) & model.hidden(data, 1)
    cells = hidden.view(-1, 1, 4, 4).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert cells.any()
    model.step({**data, "x": data["x"] + 3.0 * cells})
    assert torch.equal(seen["student"], first["student"])
    assert not torch.equal(seen["teacher"], first["teacher"])


def test_small_views_are_whole_and_not_for_the_teacher():
    model = system(views=Views([ViewGroup(2, []), ViewGroup(3, [Noise()])]), masked=1.0)
    calls = {"student": [], "teacher": []}
    for name, module in (("student", model.encoder), ("teacher", model.teacher)):
        module.register_forward_pre_hook(
            lambda module, args, kwargs, name=name: calls[name].append((len(args[0]), "hide" in kwargs)),
            with_kwargs=True,
        )
    model.step(batch())
    assert calls == {"student": [(12, True), (18, False)], "teacher": [(12, False)]}


def test_how_much_is_hidden():
    data = batch(rows=400)
    for share in (0.0, 0.3, 1.0):
        model = system(masks=BlockMask((0.25, 0.25), (1.0, 1.0)), masked=share)
        first, second = model.hidden(data, 0), model.hidden(data, 1)
        counts = first.sum(1)
        assert set(counts.tolist()) <= {0, 4}
        assert abs((counts > 0).float().mean() - share) < 0.08
        if share:
            assert not torch.equal(first, second)
        few = {name: value[[3, 7]] for name, value in data.items()}
        assert torch.equal(model.hidden(few, 0), first[[3, 7]])  # by sample, not by place in the batch


def test_without_masks_the_patch_term_is_zero_and_the_rest_is_dino():
    model = system(masked=0.0)
    data = batch()
    out = model.step(data)
    assert out.terms["patch"] == 0
    plain = SelfDistillation(Patches(), DINO(16), HEAD, views=VIEWS, together=True, seed=0)
    plain.encoder.load_state_dict(model.encoder.state_dict())
    plain.teacher.load_state_dict(model.teacher.state_dict())
    torch.testing.assert_close(plain.step(data).loss, out.loss)


def test_without_average_the_student_is_its_own_teacher():
    model = system(ema=None)
    model.step(batch()).loss.backward()
    assert model.representation is model.encoder


def test_what_is_refused():
    class Plain(nn.Module):
        embed_dim = 5
        grid = (4, 4)

        def forward(self, x, keep=None):
            return x

    with pytest.raises(ValueError, match="Plain cannot hide patches"):
        MaskedSelfDistillation(Plain(), IBOT(16), HEAD, seed=0)
    with pytest.raises(ValueError, match="DINO compares no patches: use SelfDistillation"):
        MaskedSelfDistillation(Patches(), DINO(16), HEAD, seed=0)
    with pytest.raises(ValueError, match="IBOT compares hidden patches: use MaskedSelfDistillation"):
        SelfDistillation(Patches(), IBOT(16), HEAD, seed=0)
    with pytest.raises(ValueError, match=r"masked is a probability in \[0, 1\], not 1.5"):
        system(masked=1.5)
    with pytest.raises(ValueError, match="masks cannot fit in a grid"):
        system(masks=BlockMask((1.0, 1.0), (1.0, 1.0)))
    with pytest.raises(ValueError, match="has 9 patches and masks are for 16"):
        system().step(batch(side=6))
