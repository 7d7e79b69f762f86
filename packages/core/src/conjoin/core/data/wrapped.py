# SPDX-License-Identifier: Apache-2.0
"""A data module around another one: its splits, classes and numbers, with batches changed."""

from typing import Any

from torch.utils.data import Dataset

from conjoin.core.data.datamodule import DataModule, Split

__all__ = ("Wrapped",)


class Wrapped(DataModule):
    """Everything is the wrapped module's, but what a subclass changes.

    Args:
        data: The data module. Batch size, workers and seed are its own: set them there.
    """

    def __init__(self, data: DataModule) -> None:
        super().__init__(
            data.batch_size,
            data.num_workers,
            eval_batch_size=data.eval_batch_size,
            seed=data.seed,
            max_corrupt=data.max_corrupt,
        )
        self.data = data
        self.num_classes, self.class_names = data.num_classes, data.class_names
        self.train_transform, self.eval_transform = data.train_transform, data.eval_transform

    def __getattr__(self, name: str) -> Any:
        """What only the wrapped module has (``image_size``, ``label_names``, ``draw``)."""
        if name.startswith("__") or "data" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.data, name)

    def prepare_data(self) -> None:
        """The wrapped module's."""
        self.data.prepare_data()

    def setup(self, stage: str) -> None:
        """The wrapped module's."""
        self.data.setup(stage)

    def build(self, split: Split) -> Dataset[Any]:
        """The wrapped module's data set."""
        found = self.data.dataset(split)
        # Some know their classes only when their files have been read.
        self.num_classes, self.class_names = self.data.num_classes, self.data.class_names
        return found

    def batch_transform(self, batch: dict[str, Any], train: bool) -> dict[str, Any]:
        """The wrapped module's."""
        return self.data.batch_transform(batch, train)
