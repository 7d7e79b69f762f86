# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core.evaluation import draw_labels


def test_label_draws() -> None:
    label = torch.tensor([0] * 20 + [1] * 5 + [2] * 30 + [-1] * 9)
    small, large = draw_labels(label, 4), draw_labels(label, 12)
    assert label[small].bincount().tolist() == [4, 4, 4]
    assert label[large].bincount().tolist() == [12, 5, 12]
    assert set(small.tolist()) <= set(large.tolist())
    assert torch.equal(small, draw_labels(label, 4))
    assert not torch.equal(small, draw_labels(label, 4, draw=1))
    assert not torch.equal(small, draw_labels(label, 4, seed=1))


def test_guards() -> None:
    with pytest.raises(ValueError, match="per_class must be at least 1"):
        draw_labels(torch.tensor([0, 1]), 0)
    with pytest.raises(ValueError, match="no sample has a label"):
        draw_labels(torch.full((3,), -1), 1)
