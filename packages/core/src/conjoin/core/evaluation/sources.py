# SPDX-License-Identifier: Apache-2.0
"""What is evaluated: the frozen model, the same with new weights, the input itself."""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from conjoin.core.evaluation.features import raw_input

__all__ = ("Baseline", "Precision", "Source", "sources")

Baseline = Literal["random", "raw"]
Precision = Callable[[], contextlib.AbstractContextManager[Any]]


@dataclass(frozen=True)
class Source:
    """Something with features.

    Attributes:
        name: What the table calls it.
        model: The module, or None for the input itself.
        embed: Pooled features (B, F) of a batch.
        choices: Several such features, among which validation chooses.
        tokens: Token features (B, N, D), if it has any.
    """

    name: str
    model: Any
    embed: Callable[[Any], Tensor]
    choices: Callable[[Any], list[Tensor]]
    tokens: Callable[[Any], Tensor] | None


def sources(
    model: Any, baselines: Sequence[Baseline], data: Any, layers: Sequence[int], precision: Precision
) -> Iterable[Source]:
    """The teacher and its baselines, one after the other, each made when it is asked for.

    Args:
        model: With ``embed`` and, if it has tokens, ``tokens``.
        baselines: Which to add.
        data: With ``raw_features(batch)`` if the flattened input is not the baseline.
        layers: Numbers of last blocks whose pooled features are tried.
        precision: Makes the context to embed in.
    """
    yield _frozen_source("teacher", model, layers, precision)
    if "random" in baselines:
        # Imported here: checkpoints know the systems, which know the callbacks, which know this module.
        from conjoin.core.checkpoint import fresh

        untrained = fresh(model).to(getattr(model, "device", "cpu"))
        yield _frozen_source("random init", untrained, layers, precision)
    if "raw" in baselines:
        raw = getattr(data, "raw_features", raw_input)
        yield Source("raw input", None, raw, lambda batch: [raw(batch)], None)


def _frozen_source(name: str, model: Any, layers: Sequence[int], precision: Precision) -> Source:
    def embed(batch: Any) -> Tensor:
        with precision():
            return model.embed(batch)  # type: ignore[no-any-return]

    def choices(batch: Any) -> list[Tensor]:
        with precision():
            return model.embed_each(batch, layers)  # type: ignore[no-any-return]

    def tokens(batch: Any) -> Tensor:
        with precision():
            return model.tokens(batch)  # type: ignore[no-any-return]

    # A module of one's own need not know of any block but the last.
    plain = tuple(layers) == (1,)
    return Source(
        name,
        model,
        embed,
        (lambda batch: [embed(batch)]) if plain else choices,
        tokens if hasattr(model, "tokens") else None,
    )
