# SPDX-License-Identifier: Apache-2.0
"""Several views of each sample, made by worker processes from the raw sample.

Transforms on the device (:mod:`conjoin.core.transforms`) see what the data module hands to the encoder. Where
views must be cut from the *whole* raw sample (large photographs, above all), :class:`MultiView` wraps any
data module: it hands each raw sample to a policy, in place of the module's own training transform, and the
batch carries ``views`` beside ``x``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor

from conjoin.core.data.datamodule import DataModule, Split
from conjoin.core.data.loader import KeyedLoader
from conjoin.core.data.looks import Looks
from conjoin.core.data.wrapped import Wrapped

__all__ = ("MultiView", "SampleViews")


class SampleViews(ABC):
    """A policy: all views of one raw sample.

    It may draw from Python's, NumPy's and torch's global generators, which are seeded for each sample and
    epoch, so views depend on neither workers nor ranks.
    """

    @abstractmethod
    def __call__(self, x: Any) -> list[Tensor]:
        """The views of a raw sample, global ones first; equal sizes for all samples."""

    def framed(self, x: Any) -> tuple[list[Tensor], list[Tensor] | None]:
        """The views, and where each was cut; a policy that cannot say gives None.

        A frame is (d, 2), float32, for a view with d axes after its channels: along each axis the place of
        the view's first cell in the raw sample, in cells, and the step to the next one, negative if the axis
        was turned around.
        """
        return self(x), None


class _Both:
    """A sample's views, with the view that stands for the sample."""

    def __init__(self, views: SampleViews, single: Callable[[Any], Any] | None, train: bool) -> None:
        self.views, self.single, self.train = views, single, train

    def __call__(self, x: Any) -> dict[str, Any]:
        views, frames = self.views.framed(x)
        found = {"views": views} if frames is None else {"views": views, "frames": frames}
        if self.train:
            return found
        single = x if self.single is None else self.single(x)
        return {**found, "x": single.x if isinstance(single, Looks) else single}


class MultiView(Wrapped):
    """A data module whose training and validation batches carry ``views``, a list of V batches (B, ...).

    If the policy knows them, ``frames`` is the list of the V batches (B, d, 2) that say where they were cut.

    In training ``x`` is the first view; in validation it is the sample as evaluation sees it, and the views
    are those of epoch 0. Everything else (splits, classes, evaluation) is the wrapped module's, and so are
    batch size, workers and seed: set them there.

    Args:
        data: The data module.
        views: The policy, in place of its training transform.
    """

    def __init__(self, data: DataModule, views: SampleViews) -> None:
        super().__init__(data)
        self.views = views
        self.train_transform = _Both(views, None, train=True)
        self.eval_transform = _Both(views, data.eval_transform, train=False)

    def batch_transform(self, batch: dict[str, Any], train: bool) -> dict[str, Any]:
        """The wrapped module's for ``x``, :meth:`view_transform` for each view."""
        found = batch["x"]
        if not isinstance(found, dict):
            return self.data.batch_transform(batch, train)
        views = [self.view_transform(batch | {"x": view}, train) for view in found["views"]]
        made = {**found, "views": views}
        if train:
            return batch | made | {"x": views[0]}
        return made | self.data.batch_transform(batch | {"x": found["x"]}, train)

    def view_transform(self, batch: dict[str, Any], train: bool) -> Tensor:
        """One view, ``batch["x"]``, on its device: what the wrapped module does with a batch."""
        x: Tensor = self.data.batch_transform(batch, train)["x"]
        return x

    def test_dataloader(self) -> KeyedLoader:
        """The wrapped module's test split, without views."""
        return self.data.test_dataloader()

    def predict_dataloader(self) -> KeyedLoader:
        """The wrapped module's, without views."""
        return self.data.predict_dataloader()

    def evaluation_dataloader(self, split: Split) -> KeyedLoader:
        """The wrapped module's, without views."""
        return self.data.evaluation_dataloader(split)
