# SPDX-License-Identifier: Apache-2.0
"""The data module of tables: reading, splitting, fitting the schema on the training rows, encoding.

A batch has ``x`` (B, columns) float32 as :class:`~conjoin.tabular.schema.Schema` encodes it, and either
``label`` (B,) int64, -1 where unknown, or, for regression, ``target`` (B,) float32 in standard deviations of
the training targets, NaN where unknown (``target_mean`` and ``target_scale`` lead back).
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from conjoin.core import random
from conjoin.core.data import DataModule, Split
from conjoin.core.masking import Masks
from conjoin.tabular.schema import Scaling, Schema
from conjoin.tabular.table import Table

if TYPE_CHECKING:
    from conjoin.core.report.gallery import Panel

__all__ = ("Source", "TableDataset", "TableModule", "Task", "split_rows")

Task = Literal["classification", "regression"]
_SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Source:
    """What was read.

    Attributes:
        table: Features only.
        target: Class names (object, None where unknown) or numbers (float64, NaN where unknown), (N,); None
            if there is none.
        classes: Class names in their order; None to sort those that occur.
        split: (N,) 0, 1, 2 for train, validation, test where the set brings its own; None to draw one.
    """

    table: Table
    target: NDArray[Any] | None = None
    classes: tuple[str, ...] | None = None
    split: NDArray[np.uint8] | None = None


def split_rows(count: int, val: float, test: float, seed: int = 0) -> NDArray[np.uint8]:
    """A split drawn by key: (count,) with 0, 1, 2 for train, validation, test.

    Raises:
        ValueError: If a share is not in (0, 1), they leave nothing to train on, or a split would be empty.
    """
    for name, share in (("val_fraction", val), ("test_fraction", test)):
        if not 0 < share < 1:
            raise ValueError(
                f"{name} must lie between 0 and 1, not {share}: choices are made on val, test is looked at "
                "once."
            )
    sizes = round(val * count), round(test * count)
    if val + test >= 1 or min(sizes) < 1 or sum(sizes) >= count:
        raise ValueError(
            f"val_fraction {val} and test_fraction {test} of {count} rows leave a split empty: change them "
            "or add rows."
        )
    order = random.permutation(torch.tensor([random.key(seed, "table split")]), count)[0].numpy()
    split = np.zeros(count, np.uint8)
    split[order[: sizes[1]]] = 2
    split[order[sizes[1] : sum(sizes)]] = 1
    return split


class TableDataset(Dataset[dict[str, Tensor]]):
    """Encoded rows by position.

    Args:
        **fields: Tensors (N, ...): ``x`` and ``label`` or ``target``.
    """

    def __init__(self, **fields: Tensor) -> None:
        self.fields = fields

    def __len__(self) -> int:
        return len(self.fields["x"])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: values[index] for name, values in self.fields.items()}


class TableModule(DataModule):
    """Base of the tabular data modules; a subclass writes :meth:`read`.

    Args:
        task: What the target is; None for a table without one.
        scaling: Of numeric columns, see ``Schema``.
        statistics: Rows on which scales, categories and target statistics are fitted: ``"train"``, or
            ``"all"`` as T-JEPA's release does, test rows included.
        pretrain_rows: Rows of the training loader: ``"train"``, or ``"all"`` as released. Probes use the
            training split in any case.
        val_fraction: Share of rows held out for choices, where the set has no split of its own.
        test_fraction: Share of rows held out for the final figure.
        split_seed: Of that split, apart from the run's seed.
        batch_size: Rows per batch and process.
        num_workers: Worker processes per loader; 0 is best for tables, which are in memory.
        eval_batch_size: Rows per batch in evaluation; ``batch_size`` if not given.
        seed: Seed of the order; the run's seed if not given.

    Attributes:
        schema: Fitted on the first use; None before.
        num_classes: C of a classification, after the first use.
        class_names: Their names.
        target_mean: Of the training targets of a regression.
        target_scale: Their standard deviation: an error in standardised units times this is in original ones.
    """

    def __init__(
        self,
        task: Task | None,
        *,
        scaling: Scaling = "standard",
        statistics: Literal["train", "all"] = "train",
        pretrain_rows: Literal["train", "all"] = "train",
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        batch_size: int = 512,
        num_workers: int = 0,
        eval_batch_size: int | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(batch_size, num_workers, eval_batch_size=eval_batch_size, seed=seed)
        for name, value, known in (
            ("task", task, ("classification", "regression", None)),
            ("statistics", statistics, ("train", "all")),
            ("pretrain_rows", pretrain_rows, ("train", "all")),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, not {value!r}.")
        self.task = task
        self.scaling: Scaling = scaling
        self.statistics = statistics
        self.pretrain_rows = pretrain_rows
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.split_seed = split_seed
        self.schema: Schema | None = None
        self.target_mean = 0.0
        self.target_scale = 1.0
        self._fields: dict[str, Tensor] = {}
        self._split: NDArray[np.uint8] = np.empty(0, np.uint8)

    @abstractmethod
    def read(self) -> Source:
        """Read the table.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If it cannot be read.
        """

    def setup(self, stage: str) -> None:
        """Read, so that sizes are known to callbacks and the system before the first batch."""
        self.load()

    def load(self) -> Schema:
        """Read, split, fit and encode, once.

        Raises:
            ValueError: If the table, its split or its target is not usable.
        """
        if self.schema is None:
            source = self.read()
            split = source.split
            if split is None:
                split = split_rows(len(source.table), self.val_fraction, self.test_fraction, self.split_seed)
            fitted = split == 0 if self.statistics == "train" else np.ones(len(split), bool)
            schema = Schema.fit(source.table.rows(fitted), self.scaling)
            self._fields = {
                "x": torch.from_numpy(schema.encode(source.table)),
                **self._targets(source, fitted),
            }
            self._split, self.schema = split, schema
        return self.schema

    def _targets(self, source: Source, fitted: NDArray[np.bool_]) -> dict[str, Tensor]:
        if self.task is None or source.target is None:
            return {}
        if self.task == "classification":
            present = sorted({str(value) for value in source.target if value is not None})
            names = source.classes or tuple(present)
            if strange := set(present) - set(names):
                raise ValueError(
                    f"The target has the value {min(strange)!r}, which is no class of {', '.join(names)}."
                )
            if len(names) < 2:
                raise ValueError(f"The target has the classes {names or 'none'}: a classification needs two.")
            places = {name: place for place, name in enumerate(names)}
            self.class_names, self.num_classes = tuple(names), len(names)
            label = [-1 if value is None else places[str(value)] for value in source.target]
            return {"label": torch.tensor(label, dtype=torch.int64)}
        known = source.target[fitted]
        known = known[~np.isnan(known)]
        if len(known) < 2 or known.std() == 0:
            raise ValueError("The target of the training rows does not vary: there is nothing to regress on.")
        self.target_mean, self.target_scale = float(known.mean()), float(known.std())
        scaled = (source.target - self.target_mean) / self.target_scale
        return {"target": torch.from_numpy(scaled.astype(np.float32))}

    def build(self, split: Split) -> TableDataset:
        """The encoded rows of a split."""
        self.load()
        chosen = torch.from_numpy(np.flatnonzero(self._split == _SPLITS.index(split)))
        return TableDataset(**{name: values[chosen] for name, values in self._fields.items()})

    def train_dataloader(self) -> Any:
        """Shuffled by key; over every row if ``pretrain_rows="all"``."""
        if self.pretrain_rows == "train":
            return super().train_dataloader()
        self.load()
        whole, self._built["train"] = self._built.get("train"), TableDataset(**self._fields)
        try:
            return super().train_dataloader()
        finally:
            del self._built["train"]
            if whole is not None:
                self._built["train"] = whole

    def raw_features(self, batch: Mapping[str, Any]) -> Tensor:
        """The baseline that needs no encoder: scaled numbers and one-hot categories, (B, F)."""
        return self.load().one_hot(batch["x"].to(torch.float32))

    def draw(
        self, sample: Mapping[str, Any], masks: Masks | None, grid: tuple[int, ...]
    ) -> "Sequence[Panel]":
        """A row as heat strips for the report; see :mod:`conjoin.tabular.data.draw`."""
        from conjoin.tabular.data.draw import strips

        return strips(sample["x"], self.load(), masks, grid)
