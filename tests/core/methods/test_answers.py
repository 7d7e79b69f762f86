# SPDX-License-Identifier: Apache-2.0
"""Figures of a whole split, each sample once, whatever the ranks."""

import math

import pytest
import torch

from conjoin.core.methods.answers import Answers, answers_of, known, score


def test_repeated_samples_count_once_and_unknown_ones_not_at_all() -> None:
    answers = Answers()
    out = torch.eye(3)
    answers.add({"index": torch.tensor([0, 1, 2])}, out, torch.tensor([0, 0, -1]))
    answers.add({"index": torch.tensor([1, 3, 1])}, out, torch.tensor([0, 1, 0]))
    # Samples 0 (right), 1 (wrong), 3 (right); a mean over rows would be 2 of 5.
    assert answers.compute("classification") == pytest.approx(2 / 3)
    assert answers.compute("classification") is None


def test_samples_without_an_index_are_all_different() -> None:
    answers = Answers()
    for _ in range(2):
        answers.add({}, torch.tensor([[0.0], [2.0]]), torch.tensor([1.0, 5.0]))
    assert answers.compute("regression") == pytest.approx(math.sqrt((1 + 9) / 2))


def test_scores() -> None:
    labels = torch.tensor([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0], [0.0, 1.0]])
    logits = torch.tensor([[3.0, 0.0], [2.0, 1.0], [1.0, 2.0], [0.0, 3.0]])
    # Of the first label's four pairs three are ordered rightly; the second does not vary.
    assert score(logits, labels, "multilabel") == 0.75
    assert math.isnan(score(logits[:, 1:], labels[:, 1:], "multilabel"))


def test_known() -> None:
    nan = float("nan")
    assert known(torch.tensor([0, -1]), "classification").tolist() == [True, False]
    assert known(torch.tensor([0.0, nan]), "regression").tolist() == [True, False]
    assert known(torch.tensor([[0.0, 1.0], [nan, 1.0]]), "multilabel").tolist() == [True, False]
    with pytest.raises(ValueError, match="needs batches with 'labels', and these have x"):
        answers_of({"x": torch.zeros(1)}, "multilabel")


def split(rank: int, world: int) -> float | None:
    """Ten samples over two ranks of which the last one comes twice."""
    torch.manual_seed(0)
    out, right = torch.randn(10, 1), torch.randn(10)
    mine = [[0, 2, 4, 6, 8, 9], [1, 3, 5, 7, 9, 0]][rank] if world == 2 else list(range(10))
    answers = Answers()
    for part in (mine[:3], mine[3:]):
        answers.add({"index": torch.tensor(part)}, out[part], right[part])
    return answers.compute("regression")


@pytest.mark.slow
@pytest.mark.ddp
def test_two_ranks_find_what_one_finds(ddp) -> None:  # type: ignore[no-untyped-def]
    assert ddp(split) == pytest.approx([split(0, 1)] * 2)
