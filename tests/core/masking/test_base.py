# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core.masking import Masks

CONTEXT = torch.tensor([[0, 2], [1, 3]])
TARGETS = torch.tensor([[[1, 3]], [[0, 2]]])


def test_repr_length_and_move():
    masks = Masks(CONTEXT, TARGETS, targets_valid=torch.ones(2, 1, 2, dtype=torch.bool))
    assert repr(masks) == "Masks(batch=2, context=2, targets=1x2, padded)"
    assert repr(Masks(CONTEXT, TARGETS)) == "Masks(batch=2, context=2, targets=1x2)"
    assert len(masks) == 2
    moved = masks.to("meta")
    assert moved.context.device.type == moved.targets.device.type == "meta"
    assert moved.targets_valid.device.type == "meta"
    assert moved.context_valid is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((CONTEXT[0], TARGETS), r"\(B, Kc\)"),
        ((CONTEXT, TARGETS[:, 0]), r"\(B, M, Kt\)"),
        ((CONTEXT[:1], TARGETS), "1 samples, targets 2"),
        ((CONTEXT.int(), TARGETS), "context must be int64"),
        ((CONTEXT, TARGETS.float()), "targets must be int64"),
        ((CONTEXT, TARGETS, torch.ones(2, 2)), "context_valid must be bool"),
        ((CONTEXT, TARGETS, None, torch.ones(2, 2, dtype=torch.bool)), "targets_valid must be bool"),
    ],
)
def test_wrong_shapes_and_types(arguments, message):
    with pytest.raises(ValueError, match=message):
        Masks(*arguments)


def test_maps_put_each_index_in_its_cell_and_ignore_padding():
    valid = torch.tensor([[True, False], [True, True]])
    context, targets = Masks(torch.tensor([[0, -1], [1, 5]]), TARGETS, valid).as_grid((2, 3))
    assert context.shape == (2, 2, 3)
    assert targets.shape == (2, 1, 2, 3)
    assert context[0].nonzero().tolist() == [[0, 0]]
    assert context[1].nonzero().tolist() == [[0, 1], [1, 2]]
    assert targets[0, 0].nonzero().tolist() == [[0, 1], [1, 0]]


def test_validate_accepts_good_and_names_bad_indices():
    Masks(CONTEXT, TARGETS).validate((2, 2))
    padded = torch.tensor([[True, False], [True, True]])
    Masks(torch.tensor([[3, 0], [1, 3]]), torch.tensor([[[1, 2]], [[0, 2]]]), padded).validate((4,))
    with pytest.raises(ValueError, match="from 0 to 3"):
        Masks(CONTEXT, TARGETS).validate((3,))
    with pytest.raises(ValueError, match="from -1"):
        Masks(CONTEXT - 1, TARGETS).validate((4,))
    with pytest.raises(ValueError, match="ascending"):
        Masks(CONTEXT.flip(1), TARGETS).validate((4,))
    with pytest.raises(ValueError, match="ascending"):
        Masks(CONTEXT, torch.tensor([[[1, 1]], [[0, 2]]])).validate((4,))
    with pytest.raises(ValueError, match="1 of 2 samples"):
        Masks(torch.tensor([[0, 1], [1, 3]]), TARGETS).validate((4,))
    Masks(torch.tensor([[0, 1], [1, 3]]), TARGETS).validate((4,), disjoint=False)
