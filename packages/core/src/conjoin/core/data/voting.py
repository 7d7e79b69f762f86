# SPDX-License-Identifier: Apache-2.0
"""Voting: evaluation looks at several random renderings of each sample and averages.

The habit of point-cloud classification (Point-JEPA reports its fine-tuned models with and without it: ten
random subsamples and scalings of each cloud, whose answers are averaged), here for any data module, since a
random rendering of a sample is what its training shows.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from conjoin.core.data.datamodule import DataModule
from conjoin.core.data.loader import KeyedLoader
from conjoin.core.data.looks import Looks
from conjoin.core.data.wrapped import Wrapped

__all__ = ("Voting",)

Transform = Callable[[Any], Any]


class _Renderings:
    """A sample as evaluation sees it, and as training would in so many epochs."""

    def __init__(self, single: Transform | None, random: Transform | None, votes: int) -> None:
        self.single, self.random, self.votes = single, random, votes

    def __call__(self, x: Any) -> Looks:
        alone = x if self.single is None else self.single(x)
        looks = [x if self.random is None else self.random(x) for _ in range(self.votes)]
        return Looks(alone.x if isinstance(alone, Looks) else alone, torch.stack(looks))


class Voting(Wrapped):
    """A data module whose evaluation batches hold ``votes`` random renderings of each sample as ``looks``.

    Renderings are made by the transforms of training, sample by sample and on the device; draws are keyed, so
    they never change. ``FineTune`` averages its answers over them (``vote_on`` says how), probes and
    ``conjoin embed`` the features. Training is the wrapped module's; evaluation costs ``votes`` times as
    much.

    Args:
        data: The data module. Batch size, workers and seed are its own: set them there.
        votes: Renderings of each sample; ten in the paper.

    Raises:
        ValueError: If ``votes`` is not positive.
    """

    def __init__(self, data: DataModule, votes: int = 10) -> None:
        if votes < 1:
            raise ValueError(f"votes must be at least 1, not {votes}.")
        super().__init__(data)
        self.votes = votes
        self.eval_transform = _Renderings(data.eval_transform, data.train_transform, votes)

    def train_dataloader(self) -> KeyedLoader:
        """The wrapped module's."""
        return self.data.train_dataloader()

    def batch_transform(self, batch: dict[str, Any], train: bool) -> dict[str, Any]:
        """The wrapped module's; each rendering goes through that of training, as of an epoch of its own."""
        if train:
            return self.data.batch_transform(batch, train)
        plain = {name: value for name, value in batch.items() if name not in ("looks", "look_counts")}
        by_vote = batch["looks"].unflatten(0, (-1, self.votes)).unbind(1)
        votes = [self._render(plain, x, vote) for vote, x in enumerate(by_vote)]
        return self.data.batch_transform(plain, train=False) | {
            "looks": torch.stack(votes, dim=1).flatten(0, 1),
            "look_counts": batch["look_counts"],
        }

    def _render(self, batch: dict[str, Any], x: Tensor, vote: int) -> Tensor:
        epoch = torch.full_like(batch["epoch"], vote)
        found: Tensor = self.data.batch_transform(batch | {"x": x, "epoch": epoch}, train=True)["x"]
        return found
