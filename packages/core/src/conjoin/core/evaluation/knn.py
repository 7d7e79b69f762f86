# SPDX-License-Identifier: Apache-2.0
"""k-nearest-neighbour classification of frozen features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from conjoin.core.evaluation.features import Features, accuracy
from conjoin.core.evaluation.linear import principal_axes, standardiser

__all__ = ("KNNChoice", "Space", "Votes", "knn_probe", "knn_spaces")

_CHUNK = 1 << 24  # similarities held at once
WHITENED_AXES = 64  # axes beyond are mostly noise, unless features are wide and samples many


@dataclass(frozen=True)
class Space:
    """An affine map of features: minus ``mean`` (D,), over ``std`` (D,), times ``axes`` (D, R) if given."""

    mean: Tensor
    std: Tensor
    axes: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """(N, D) to (N, D) or (N, R)."""
        x = (x - self.mean) / self.std
        return x if self.axes is None else x @ self.axes


@dataclass(frozen=True)
class Votes:
    """The nearest neighbours of each query, nearest first.

    Attributes:
        similarity: (Q, k) cosine.
        label: (Q, k) of the neighbours.
    """

    similarity: Tensor
    label: Tensor

    @classmethod
    def of(cls, bank: Tensor, label: Tensor, queries: Tensor, k: int) -> "Votes":
        """The ``k`` rows of ``bank`` (N, D), labelled ``label`` (N,), nearest to each query (Q, D)."""
        k = min(k, len(bank))
        bank = normalize(bank, dim=1)
        chunks = queries.split(max(_CHUNK // len(bank), 1))  # type: ignore[no-untyped-call]
        parts = [(normalize(chunk, dim=1) @ bank.T).topk(k, dim=1) for chunk in chunks]
        similarity = torch.cat([part.values for part in parts])
        return cls(similarity, label[torch.cat([part.indices for part in parts])])

    def predict(self, k: int, temperature: float | None) -> Tensor:
        """(Q,) classes by the vote of the nearest ``k``; ties go to the smaller class.

        Args:
            k: Voters.
            temperature: Weight ``exp(similarity / temperature)`` per vote; ``None`` for one each.
        """
        label = self.label[:, :k]
        similarity = self.similarity[:, :k]
        # The nearest one's weight is 1: no overflow at small temperatures, and the same winner.
        weight = torch.ones_like(similarity)
        if temperature is not None:
            weight = ((similarity - similarity[:, :1]) / temperature).exp()
        ballot = similarity.new_zeros(len(label), int(self.label.max()) + 1)
        return ballot.scatter_add_(1, label, weight).argmax(dim=1)


@dataclass(frozen=True)
class KNNChoice:
    """What validation chose, and how well it did.

    Attributes:
        k: Neighbours.
        temperature: Of the votes.
        metric: ``"cosine"``; ``"centred"`` or ``"standardised"``: cosine after removing each feature's
            mean, or mean and scale; ``"whitened 64"``: cosine in so many leading principal axes, each scaled
            to unit variance.
        val: Accuracy on the validation split.
        test: Accuracy on the test split.
    """

    k: int
    temperature: float | None
    metric: str
    val: float
    test: float


def knn_probe(
    train: Features,
    val: Features,
    test: Features,
    *,
    spaces: Mapping[str, Space] | None = None,
    ks: Sequence[int] = (1, 5, 10, 20, 50),
    temperatures: Sequence[float | None] = (None, 0.07, 0.2),
) -> KNNChoice:
    """Choose neighbours, temperature and metric on ``val``, then measure once on ``test``.

    The first of several equally good choices wins; ``k`` above the size of the bank is skipped.

    Args:
        train: The labelled bank.
        val: For the choice.
        test: For the number.
        spaces: What :func:`knn_spaces` found, usually on more features than have labels; the bank's own
            if not given.
        ks: Neighbours to try.
        temperatures: Of the votes; None for one vote each.
    """
    usable = [k for k in ks if k <= len(train)] or [len(train)]
    best: KNNChoice | None = None
    for metric, place in (knn_spaces(train.x) if spaces is None else spaces).items():
        sets = [place(part.x) for part in (train, val, test)]
        votes = Votes.of(sets[0], train.label, sets[1], max(usable))
        found = best
        for k in usable:
            for temperature in temperatures:
                score = accuracy(votes.predict(k, temperature), val.label)
                if found is None or score > found.val:
                    found = KNNChoice(k, temperature, metric, score, 0.0)
        if found is not best and found is not None:
            predicted = Votes.of(sets[0], train.label, sets[2], found.k).predict(found.k, found.temperature)
            best = KNNChoice(found.k, found.temperature, metric, found.val, accuracy(predicted, test.label))
    if best is None:
        raise ValueError("knn_probe needs at least one k, one temperature and one space")
    return best


def knn_spaces(pool: Tensor, axes: Sequence[int] = (WHITENED_AXES,)) -> dict[str, Space]:
    """The spaces in which neighbours are sought, by the names of :class:`KNNChoice`.

    Args:
        pool: (N, D) features; no labels are needed.
        axes: Numbers of leading principal axes to whiten, each a space; at most as many as there are.
    """
    mean, std = standardiser(pool)
    coordinates, directions = principal_axes((pool - mean) / std)
    whitening = directions / coordinates.square().mean(0).sqrt().unsqueeze(1)
    ones = torch.ones_like(std)
    counts = [min(count, len(directions)) for count in axes]
    return {
        "cosine": Space(torch.zeros_like(mean), ones),
        "centred": Space(mean, ones),
        "standardised": Space(mean, std),
        **{f"whitened {count}": Space(mean, std, whitening[:count].T) for count in counts},
    }
