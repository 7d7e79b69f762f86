# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core.objectives import DINO, IBOT, patch_cross_entropy


def sample():
    g = torch.Generator().manual_seed(0)
    students, targets = torch.randn(5, 4, 6, dtype=torch.float64, generator=g).split([3, 2])
    own, teacher = torch.randn(2, 2, 4, 7, 6, dtype=torch.float64, generator=g).unbind(0)
    masks = torch.rand(2, 4, 7, generator=g) < 0.4
    masks[0, 0] = False
    masks[1, 2] = True
    return students, targets, own, teacher, masks


def loop(own, teacher, masks, center, temperature=0.04):
    images = []
    for view in range(2):
        for i in range(4):
            terms = []
            for p in range(7):
                if masks[view, i, p]:
                    target = torch.softmax((teacher[view, i, p] - center) / temperature, 0)
                    terms.append(-(target * torch.log_softmax(own[view, i, p] / 0.1, 0)).sum().item())
            images.append(sum(terms) / max(len(terms), 1))
    return sum(images) / len(images)


def test_terms_and_both_centres():
    students, targets, own, teacher, masks = sample()
    objective, dino = IBOT(6, cls_weight=2.0, patch_weight=0.5).double(), DINO(6).double()
    center = torch.zeros(6, dtype=torch.float64)
    for _ in range(3):
        out = objective(students, targets, own, teacher, masks)
        wanted = loop(own, teacher, masks, center)
        assert out.terms["patch"].item() == pytest.approx(0.5 * wanted, rel=1e-10)
        torch.testing.assert_close(out.terms["cls"], 2 * dino(students, targets).loss)
        center = 0.9 * center + 0.1 * teacher.mean(dim=(0, 1, 2))
        torch.testing.assert_close(objective.patch_center[0], center)
        torch.testing.assert_close(objective.center, dino.center)


def test_an_image_without_masked_patches_adds_nothing():
    logits = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0))
    targets = torch.softmax(logits, -1)
    nothing = torch.zeros(1, 1, 3, dtype=torch.bool)
    assert patch_cross_entropy([logits], [targets], nothing).item() == 0


def test_patches_may_have_their_own_temperatures():
    students, targets, own, teacher, masks = sample()
    objective = IBOT(6, patch_teacher_temperature=0.07).double()
    found = objective(students, targets, own, teacher, masks).terms["patch"].item()
    assert found == pytest.approx(loop(own, teacher, masks, torch.zeros(6), 0.07), rel=1e-10)


def test_guards():
    students, targets, own, teacher, masks = sample()
    for wrong in (masks[:1], masks[:, :3], masks[..., :5]):
        with pytest.raises(ValueError, match="must be"):
            IBOT(6).double()(students, targets, own, teacher, wrong)
    for options in ({"patch_center_momentum": 2.0}, {"cls_weight": -1.0}, {"patch_weight": -1.0}):
        with pytest.raises(ValueError, match=next(iter(options)).split("_")[-1]):
            IBOT(6, **options)
    with pytest.raises(ValueError, match="temperature"):
        IBOT(6, patch_teacher_temperature=0.0)


def test_masked_patches_alone_score_as_all_do():
    *_, own, teacher, masks = sample()
    wanted = torch.softmax(teacher, -1)
    alone = patch_cross_entropy(
        [view[mask] for view, mask in zip(own, masks, strict=True)],
        [view[mask] for view, mask in zip(wanted, masks, strict=True)],
        masks,
    )
    torch.testing.assert_close(alone, patch_cross_entropy(own, wanted, masks))


def test_masks_of_integers_and_patches_of_another_width():
    students, targets, own, teacher, masks = sample()
    wanted = IBOT(6).double()(students, targets, own, teacher, masks).loss
    assert IBOT(6).double()(students, targets, own, teacher, masks.long()).loss == wanted
    with pytest.raises(ValueError, match="6 wide, but this IBOT was made for dim=5"):
        IBOT(5).double()(students[..., :5], targets[..., :5], own, teacher, masks)
