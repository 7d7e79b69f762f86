# SPDX-License-Identifier: Apache-2.0
"""Averages of answers, against loops in double precision."""

import pytest
import torch

from conjoin.core.methods.vote import vote

COUNTS = torch.tensor([2, 1, 5])


def by_hand(outputs, average):
    """Each sample's mean probabilities, in double precision."""
    return torch.stack([average(part.double()).mean(0) for part in outputs.split(COUNTS.tolist())])


@pytest.mark.parametrize("task", ["classification", "regression", "multilabel"])
def test_logits_and_numbers_are_averaged_as_they_are(task):
    outputs = torch.randn(8, 3)
    expected = by_hand(outputs, lambda x: x).float()
    torch.testing.assert_close(vote(outputs, COUNTS, task), expected)
    if task == "regression":
        torch.testing.assert_close(vote(outputs, COUNTS, task, "probabilities"), expected)


def test_probabilities_come_back_as_logits():
    outputs = 4 * torch.randn(8, 3)
    classes = vote(outputs, COUNTS, "classification", "probabilities")
    torch.testing.assert_close(classes.softmax(1).double(), by_hand(outputs, lambda x: x.softmax(1)))
    labels = vote(outputs, COUNTS, "multilabel", "probabilities")
    torch.testing.assert_close(labels.sigmoid().double(), by_hand(outputs, torch.sigmoid))
    # The two ways differ: a look that is sure of itself counts for more among logits.
    assert not torch.allclose(labels, vote(outputs, COUNTS, "multilabel"))


def test_sure_answers_keep_their_order_and_stay_finite():
    outputs = torch.tensor([[30.0], [40.0], [-30.0], [200.0], [-200.0], [-200.0], [-200.0], [-200.0]])
    found = vote(outputs, torch.tensor([1, 1, 1, 1, 4]), "multilabel", "probabilities")[:, 0]
    assert bool(found.isfinite().all())
    torch.testing.assert_close(found[:3], outputs[:3, 0])
    assert found[3] > found[1] > found[0] > found[2] > found[4]
    classes = vote(torch.tensor([[0.0, 500.0]]), torch.tensor([1]), "classification", "probabilities")
    assert bool(classes.isfinite().all())
