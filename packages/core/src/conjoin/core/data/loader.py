# SPDX-License-Identifier: Apache-2.0
"""A data loader that can say how far it has come and go on from there."""

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from conjoin.core.data.keyed import KeyedSampler

__all__ = ("KeyedLoader",)


class KeyedLoader(DataLoader[Any]):
    """A :class:`torch.utils.data.DataLoader` over a :class:`KeyedSampler` that resumes inside an epoch.

    Lightning stores the state of a loader that has ``state_dict``/``load_state_dict`` in each checkpoint.
    The state counts the batches that training has *received*, not those that worker processes have
    prepared, so it does not depend on the number of workers.
    """

    sampler: KeyedSampler

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._epoch = 0
        self._received = 0
        self._resume: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        if not isinstance(self.sampler, KeyedSampler):
            # Trainer.predict puts its own in place, over bare indices: each sample once, draws of epoch 0.
            return super().__iter__()
        # Lightning makes the first iterator of a resumed run before it tells the sampler the epoch.
        start = 0
        if self._resume is not None:
            self.sampler.epoch, start = self._resume
            self._resume = None
        self.sampler.start_batch = start
        self._epoch, self._received = self.sampler.epoch, start
        return self._count(super().__iter__())

    def _count(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            self._received += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Epoch, and batches received in it."""
        return {"epoch": self._epoch, "received": self._received}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Make the next iterator start where the saved one stopped, or at the next epoch if it was done."""
        epoch, received = state["epoch"], state["received"]
        self._resume = (epoch + 1, 0) if received >= self.sampler.num_batches else (epoch, received)
