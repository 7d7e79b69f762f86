# SPDX-License-Identifier: Apache-2.0
import dataclasses

import pytest
import torch

from conjoin.core.objectives import ObjectiveOutput


def test_terms_are_empty_and_not_shared_by_default():
    one, other = ObjectiveOutput(torch.ones(())), ObjectiveOutput(torch.zeros(()))
    assert one.terms == {}
    assert one.terms is not other.terms


def test_cannot_be_changed_after_the_fact():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ObjectiveOutput(torch.ones(())).loss = torch.zeros(())
