# SPDX-License-Identifier: Apache-2.0
"""Embeddings of a run for ``conjoin rank``: a clean split, views as in training, and the probe."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset, default_collate

from conjoin.core import random
from conjoin.core.cli.errors import UserError
from conjoin.core.data import DataModule, KeyedDataset, SampleKey, Split
from conjoin.core.evaluation import evaluate, task_of
from conjoin.core.evaluation.features import frozen, to_device
from conjoin.core.evaluation.progress import steps
from conjoin.core.evaluation.task import FIELDS
from conjoin.core.metrics import label_free

if TYPE_CHECKING:
    from conjoin.core.methods import JointEmbedding

__all__ = ("WIDEST", "Sampling", "Space", "has_projector", "measure", "probe")

Space = Literal["projection", "representation"]
WIDEST = 16_384
"""Columns beyond which a K x K matrix is no longer a reasonable thing to ask for."""


@dataclass(frozen=True)
class Sampling:
    """What of the data is looked at.

    Attributes:
        split: Which split.
        samples: Samples seen without augmentation (the 25,600 of RankMe's paper).
        view_samples: Samples seen in several views.
        views: Views of each of these (LiDAR's paper has 50).
    """

    split: Split = "train"
    samples: int = 25_600
    view_samples: int = 1_000
    views: int = 10

    def __post_init__(self) -> None:
        for name, least in (("samples", 4), ("view_samples", 2), ("views", 2)):
            if getattr(self, name) < least:
                raise UserError(f"--{name} must be at least {least}, not {getattr(self, name)}")


def has_projector(model: Any) -> bool:
    """Whether a system projects its features before it compares them."""
    return getattr(model, "projector", None) is not None


def measure(
    model: "JointEmbedding",
    data: DataModule,
    sampling: Sampling,
    space: Space,
    *,
    device: torch.device | str = "cpu",
    name: str = "",
    progress: bool = True,
) -> tuple[dict[str, float], int, int]:
    """Label-free measures of a model.

    Samples are drawn by key: of the same data the same ones for every model. A view is what training makes of
    a sample in an epoch: the data module's training transform in epoch 0, 1, ..., then the first of the
    system's own views where it makes some.

    Returns:
        Values by name; rows and width of the clean embeddings.

    Raises:
        UserError: The system does not have the space, or it is too wide.
    """
    model = model.to(device)
    embed = _embedder(model, space, name)

    @torch.no_grad()
    def rows(dataset: Any, keys: list[SampleKey], collate: Any, prepare: Any, what: str) -> Tensor:
        subset: Any = Subset(dataset, keys)  # type: ignore[arg-type]  # keys are what a KeyedDataset takes
        loader = DataLoader(subset, data.eval_batch_size, num_workers=data.num_workers, collate_fn=collate)
        with frozen(model):
            batches = steps(loader, f"{name}: {what}", progress)
            parts = [embed(prepare(to_device(batch, device))).float().cpu() for batch in batches]
        return torch.cat(parts)

    clean: Any = data.evaluation_dataloader(sampling.split)
    shuffled = random.permutation(torch.tensor(random.key(0, "rank")), len(clean.dataset))
    chosen = shuffled[: sampling.samples].sort().values.tolist()
    z = rows(clean.dataset, _keys(chosen, 1), clean.collate_fn, lambda batch: batch, sampling.split)
    if z.shape[1] > WIDEST:
        raise UserError(
            f"{name}: embeddings of {z.shape[1]} columns are too wide: use --space representation"
        )
    base, transform = data.dataset(sampling.split), data.train_transform
    augmented = KeyedDataset(base, transform, seed=data.seed, max_corrupt=data.max_corrupt)
    keys = _keys(shuffled[: sampling.view_samples].tolist(), sampling.views)
    seen = rows(augmented, keys, default_collate, _as_in_training(model, data, sampling.views), "views")
    return label_free(z, seen.reshape(-1, sampling.views, z.shape[1])), z.shape[0], z.shape[1]


def _keys(chosen: list[int], epochs: int) -> list[SampleKey]:
    """The epochs of a sample side by side, so that its views are neighbours."""
    return [SampleKey(index, epoch) for index in chosen for epoch in range(epochs)]


def _as_in_training(model: Any, data: DataModule, epochs: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What happens to a batch in training between the loader and the encoder's first view."""

    def prepare(batch: dict[str, Any]) -> dict[str, Any]:
        batch = data.batch_transform(batch, train=True)
        views = getattr(model, "views", None)
        if "views" in batch or not callable(views):
            return batch
        keys = random.fold(random.key(0, "rank/views"), batch["index"] * epochs + batch["epoch"])
        return batch | {"x": views(batch["x"], keys)[0]}

    return prepare


def _embedder(model: Any, space: Space, name: str) -> Callable[[Any], Tensor]:
    if space == "representation":
        return model.embed  # type: ignore[no-any-return]
    if not has_projector(model):
        raise UserError(f"{name}: {type(model).__name__} has no projector: use --space representation")
    teacher = model.representation is getattr(model, "teacher", None)
    head = model.teacher_projector if teacher else model.projector
    return lambda batch: head(model.embed(batch))


def probe(model: Any, data: DataModule, *, device: str = "cpu", progress: bool = True) -> dict[str, Any]:
    """The linear probe of the frozen representation with all labels.

    Returns:
        ``metric``, ``val`` and ``test``; nothing if the first training batch has no answers.
    """
    batch = next(iter(data.evaluation_dataloader("train")))
    answers = batch.get(FIELDS[task_of(data)])
    if answers is None:
        return {}
    known = ~answers.isnan() if answers.is_floating_point() else answers >= 0
    if not bool(known.any()):
        return {}
    table = evaluate(
        model, data, budgets=(None,), probes=("linear",), baselines=(), device=device, progress=progress
    )
    return {"metric": table.rows[0].metric, **{row.split: row.value for row in table.rows}}
