# SPDX-License-Identifier: Apache-2.0
"""Pictures that are in memory already."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

__all__ = ("ArrayDataset", "subset")


class ArrayDataset(Dataset[dict[str, Any]]):
    """Pictures and what belongs to them, by position.

    Args:
        x: uint8 (N, C, H, W).
        label: int64 (N,).
        **extras: Further tensors (N, ...) or lists of N strings.
    """

    def __init__(self, x: Tensor, label: Tensor, **extras: Tensor | list[str]) -> None:
        self.fields: dict[str, Tensor | list[str]] = {"x": x, "label": label, **extras}
        self.x = x
        self.label = label

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: values[index] for name, values in self.fields.items()}


def subset(
    images: NDArray[np.uint8], labels: NDArray[Any], chosen: NDArray[np.int64] | None = None
) -> ArrayDataset:
    """A data set of (some of) the pictures (N, C, H, W), copied so that torch owns them."""
    if chosen is None:
        chosen = np.arange(len(images))
    return ArrayDataset(
        torch.from_numpy(np.array(images[chosen])), torch.from_numpy(np.array(labels[chosen], np.int64))
    )
