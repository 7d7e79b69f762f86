# SPDX-License-Identifier: Apache-2.0
"""What every objective returns."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ("ObjectiveOutput",)


@dataclass(frozen=True)
class ObjectiveOutput:
    """A loss and the named terms it is made of.

    Attributes:
        loss: Scalar to be minimised, float32 or wider.
        terms: Detached scalars for the log, by name; weights are already applied, so terms that are
            summands add up to the loss.
    """

    loss: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)


# A pytree, so that whoever looks for the tensors of a module's output finds them: FSDP2 gathers an
# objective's own parameters (SwAV's prototypes) again before the backward pass only if it does.
torch.export.register_dataclass(ObjectiveOutput)
