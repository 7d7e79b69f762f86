# SPDX-License-Identifier: Apache-2.0
"""Several looks at each sample in evaluation: windows of a long recording, or renderings that vote.

A batch holds them beside ``x``, which stays the one look that stands for the sample (for pictures, baselines
and tokens):

* ``looks`` (R, ...): those of one sample after those of another, each as the encoder takes it;
* ``look_counts`` (B,) int64: how many belong to each sample, at least 1; they sum up to R.

``embed`` then averages features and fine-tuning answers over a sample's looks. Training batches have none. An
``eval_transform`` that returns :class:`Looks` makes them, or a data module's ``batch_transform``.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import default_collate

__all__ = ("Looks", "collate", "mean_of_looks", "over_looks")


class Looks(NamedTuple):
    """What an evaluation transform returns for a sample that is looked at several times.

    Attributes:
        x: The look that stands for the sample, (...).
        looks: All of them, (V, ...).
    """

    x: Tensor
    looks: Tensor


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Samples to a batch; the numbers of their looks may differ, and a sample without :class:`Looks` has one.

    Args:
        samples: Whose ``x`` are tensors or :class:`Looks`.
    """
    found = [sample["x"] for sample in samples]
    if not any(isinstance(x, Looks) for x in found):
        return default_collate(samples)  # type: ignore[no-any-return]
    pairs = [x if isinstance(x, Looks) else Looks(x, x.unsqueeze(0)) for x in found]
    batch: dict[str, Any] = default_collate(
        [sample | {"x": pair.x} for sample, pair in zip(samples, pairs, strict=True)]
    )
    batch["looks"] = torch.cat([pair.looks for pair in pairs])
    batch["look_counts"] = torch.tensor([len(pair.looks) for pair in pairs])
    return batch


def over_looks(batch: dict[str, Any], function: Callable[[Tensor], Iterable[Tensor]]) -> list[Tensor]:
    """Run a function over the looks of a batch, in float32.

    As many go in at a time as the batch has samples, so that long recordings need no more memory.

    Args:
        batch: With ``looks`` and ``look_counts``.
        function: Looks (b, ...) to tensors of b rows each.

    Returns:
        Each tensor's rows for all R looks.
    """
    parts = [tuple(function(rows)) for rows in batch["looks"].split(len(batch["look_counts"]))]
    return [torch.cat(column).float() for column in zip(*parts, strict=True)]


def mean_of_looks(rows: Tensor, counts: Tensor) -> Tensor:
    """The mean over the looks of each sample.

    Args:
        rows: (R, ...) floats.
        counts: (B,) int64.

    Returns:
        (B, ...).
    """
    return torch.segment_reduce(rows, "mean", lengths=counts)
