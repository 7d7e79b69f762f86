# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.audio import TimeFrequencyMask
from conjoin.audio.masking import shares_line
from conjoin.core import random
from conjoin.core.masking import Masks

PAPER = (64, 8)


def drawn(sampler, grid, batch=32, number=0):
    keys = random.fold(random.key(number, "test"), torch.arange(batch))
    return sampler(grid, keys, random.key(number, "step"))


def lines(index, grid):
    return {i // grid[1] for i in index.tolist()}, {i % grid[1] for i in index.tolist()}


@pytest.mark.parametrize("grid", [PAPER, (12, 8), (32, 8)])
def test_no_context_token_shares_a_moment_or_a_band_with_a_target(grid):
    relaxed = total = 0
    for number in range(10):
        masks = drawn(TimeFrequencyMask(), grid, number=number)
        masks.validate(grid)  # sorted, in the grid, disjoint
        found = shares_line(masks, grid)
        for row in range(len(masks)):
            rows, columns = lines(masks.context[row], grid)
            hidden = lines(masks.targets[row].flatten(), grid)
            assert bool(found[row]) == bool(rows & hidden[0] or columns & hidden[1])
        relaxed += int(found.sum())
        total += len(masks)
    # Drawing anew, targets included, nearly always finds masks that keep the rule.
    assert relaxed <= 0.02 * total


def test_blocks_have_the_paper_size():
    for number in range(20):
        masks = drawn(TimeFrequencyMask(), PAPER, batch=4, number=number)
        assert masks.targets.shape[1] == 3
        # 5 to 7.5 % of 512 are 25.6 to 38.4 cells; sides are whole numbers.
        assert 20 <= masks.targets.shape[2] <= 45
        assert masks.context.shape[1] > 10


def test_every_band_and_moment_can_be_heard_and_hidden():
    heard, hidden = torch.zeros(PAPER), torch.zeros(PAPER)
    for number in range(30):
        context, targets = drawn(TimeFrequencyMask(), PAPER, number=number).as_grid(PAPER)
        heard += context.sum(dim=0)
        hidden += targets.any(dim=1).sum(dim=0)
    assert (hidden > 0).all()
    assert (heard.sum(dim=1) > 0).all()
    assert heard[:, 0].sum() > 0
    assert heard[:, -1].sum() > 0


def test_without_rounds_the_rule_gives_way_but_targets_stay_hidden():
    sampler = TimeFrequencyMask(rounds=0, min_keep=60)
    relaxed = 0
    for number in range(5):
        masks = drawn(sampler, PAPER, number=number)
        masks.validate(PAPER)
        assert masks.context.shape[1] > 60
        relaxed += int(shares_line(masks, PAPER).sum())
    assert relaxed > 40


def test_overlap_leaves_everything():
    masks = drawn(TimeFrequencyMask(allow_overlap=True, context_scale=(1.0, 1.0)), PAPER)
    assert masks.context.shape[1] == 512


def test_shares_line_by_hand():
    grid = (3, 3)
    targets = torch.tensor([[[0]], [[0]], [[0]], [[4]]])
    context = torch.tensor([[4, 8], [1, 8], [6, 8], [0, 8]])
    assert shares_line(Masks(context, targets), grid).tolist() == [False, True, True, False]


def test_guards():
    with pytest.raises(
        ValueError, match=r"rows and columns of a target of \(\d, \d\) at most \d+ tokens are"
    ):
        TimeFrequencyMask(min_keep=10).check((4, 4))
    with pytest.raises(ValueError, match="target_scale is"):
        TimeFrequencyMask(target_scale=(0.2, 0.1))
    TimeFrequencyMask().check(PAPER)
