# SPDX-License-Identifier: Apache-2.0
import torch

from conjoin.core.objectives import StatefulObjective


class Total(StatefulObjective):
    """Adds up what it sees."""

    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(()))

    def forward(self, x):
        self.observe(x.sum(), torch.tensor(float(len(x))))

    def commit(self, total, rows):
        self.total.add_(total / rows)


def test_a_forward_pass_is_a_step():
    objective = Total()
    objective(torch.tensor([1.0, 3.0], requires_grad=True))
    assert (objective.total.item(), objective.steps.item()) == (2.0, 1)
    assert not objective.total.requires_grad


def test_evaluation_changes_nothing():
    objective = Total().eval()
    objective(torch.ones(2))
    assert (objective.total.item(), objective.steps.item()) == (0.0, 0)


def test_deferred_steps_average_micro_batches():
    objective = Total().defer()
    objective(torch.tensor([1.0, 3.0]))
    objective(torch.tensor([8.0]))
    assert (objective.total.item(), objective.steps.item()) == (0.0, 0)
    objective.advance()
    assert (objective.total.item(), objective.steps.item()) == (4.0, 1)
    objective.advance()  # a step that saw nothing
    assert (objective.total.item(), objective.steps.item()) == (4.0, 2)


def test_steps_are_saved():
    assert set(Total().state_dict()) == {"steps", "total"}
