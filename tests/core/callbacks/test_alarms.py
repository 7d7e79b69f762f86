# SPDX-License-Identifier: Apache-2.0
"""Each rule on both sides of its threshold; that alarms speak in training is tested with the monitor."""

import math
from dataclasses import replace

import pytest

from conjoin.core.callbacks.alarms import (
    AssignmentCollapse,
    FeatureStdCollapse,
    LowContentShare,
    NonFiniteLoss,
    RankMeDrop,
    Reading,
)

GOOD = Reading(
    step=100,
    rankme=40.0,
    content_share=0.5,
    feature_std=0.9,
    loss_is_finite=True,
    comparable=True,
    assignment_information=0.3,
)


@pytest.mark.parametrize(
    ("alarm", "bad", "words"),
    [
        (RankMeDrop(fraction=0.5), {"rankme": 19.0}, "RankMe is 19.0, below 0.5 of its value 40.0 at step 7"),
        (LowContentShare(threshold=0.1), {"content_share": 0.09}, "only 0.09 of the targets' variance"),
        (FeatureStdCollapse(threshold=0.01, fraction=0.0), {"feature_std": 0.005}, "0.005, threshold 0.01"),
        (
            AssignmentCollapse(threshold=0.1),
            {"assignment_information": 0.09},
            "share 0.09 of the information",
        ),
        (AssignmentCollapse(), {"assignment_information": -1e-17}, "share 0 of the information"),
        (NonFiniteLoss(), {"loss_is_finite": False}, "the loss became NaN or infinite"),
    ],
)
def test_speaks_below_its_threshold_only(alarm, bad, words):
    reference = replace(GOOD, step=7)
    assert alarm.check(GOOD, reference) is None
    assert words in alarm.check(replace(GOOD, **bad), reference)


def test_at_the_threshold_all_is_well():
    assert RankMeDrop(fraction=0.5).check(replace(GOOD, rankme=20.0), GOOD) is None
    assert LowContentShare(threshold=0.1).check(replace(GOOD, content_share=0.1), GOOD) is None
    assert (
        FeatureStdCollapse(threshold=0.01, fraction=0.0).check(replace(GOOD, feature_std=0.01), GOOD) is None
    )
    assert AssignmentCollapse(threshold=0.3).check(GOOD, GOOD) is None


def test_embeddings_are_compared_with_the_first_ones_too():
    rule, reference = FeatureStdCollapse(fraction=0.1), replace(GOOD, feature_std=0.5)
    assert rule.check(replace(GOOD, feature_std=0.05), reference) is None
    assert "0.049, threshold 0.05" in rule.check(replace(GOOD, feature_std=0.049), reference)
    assert rule.check(replace(GOOD, feature_std=0.049), None) is None


def test_assignments_may_be_even_at_the_start():
    even = replace(GOOD, assignment_information=0.0)
    rule = AssignmentCollapse(start=20)
    assert rule.check(replace(even, step=19), None) is None
    assert rule.check(replace(even, step=20), None)


def test_a_method_without_prototypes_is_not_judged():
    assert AssignmentCollapse().check(replace(GOOD, assignment_information=math.nan), GOOD) is None


def test_rank_is_compared_between_comparable_readings_only():
    low = replace(GOOD, rankme=1.0)
    assert RankMeDrop().check(low, None) is None
    assert RankMeDrop().check(replace(low, comparable=False), GOOD) is None
    assert RankMeDrop().check(low, GOOD)


def test_a_method_without_targets_has_no_content_share():
    assert LowContentShare().check(replace(GOOD, content_share=math.nan), GOOD) is None


def test_patience():
    assert (RankMeDrop().patience, LowContentShare().patience, NonFiniteLoss().patience) == (2, 3, 1)
    with pytest.raises(ValueError, match="patience must be at least 1, got 0"):
        NonFiniteLoss(patience=0)
