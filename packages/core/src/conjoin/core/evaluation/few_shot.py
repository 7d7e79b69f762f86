# SPDX-License-Identifier: Apache-2.0
"""Few-shot recognition: W classes of S examples each, tested on 20 others per class, ten times.

The settings of the literature on shapes (Sharma and Kaul, "Self-Supervised Few-Shot Learning on Point
Clouds", NeurIPS 2020): 5 or 10 ways, 10 or 20 shots. Here a linear support-vector machine on frozen features
of any modality, where papers fine-tune; episodes are drawn by key.
"""

import statistics
from dataclasses import dataclass

import torch

from conjoin.core import random
from conjoin.core.evaluation.features import Features
from conjoin.core.evaluation.svm import svm_probe
from conjoin.core.evaluation.table import Row

__all__ = ("FewShot", "few_shot", "few_shot_row")


@dataclass(frozen=True)
class FewShot:
    """Accuracy over the episodes.

    Attributes:
        mean: Their mean.
        std: Their standard deviation.
        episodes: One accuracy each.
    """

    mean: float
    std: float
    episodes: tuple[float, ...]


def few_shot(
    features: Features,
    ways: int = 5,
    shots: int = 10,
    *,
    queries: int = 20,
    episodes: int = 10,
    cost: float = 0.012,
    seed: int = 0,
) -> FewShot:
    """Measure frozen features on few-shot episodes.

    Args:
        features: Labelled features (N, D).
        ways: Classes per episode.
        shots: Examples per class to learn from.
        queries: Examples per class to be tested on.
        episodes: How many.
        cost: Of the support-vector machine.
        seed: Of the episodes.

    Raises:
        ValueError: If fewer than ``ways`` classes have ``shots + queries`` examples, or a number is too
            small.
    """
    if ways < 2 or min(shots, queries, episodes) < 1:
        raise ValueError(
            f"An episode needs two ways and one shot, query and episode, not {ways}, {shots}, "
            f"{queries}, {episodes}."
        )
    sizes = features.label.bincount()
    usable = torch.nonzero(sizes >= shots + queries)[:, 0]
    if len(usable) < ways:
        raise ValueError(
            f"Only {len(usable)} classes have {shots + queries} examples, too few for {ways} ways of "
            f"{shots} shots and {queries} queries."
        )
    found = []
    for episode in range(episodes):
        key = torch.tensor([random.key(seed, "few-shot", ways, shots, episode)])
        chosen = usable[random.permutation(key, len(usable))[0, :ways]]
        learn, ask = [], []
        for label in chosen.tolist():
            members = torch.nonzero(features.label == label)[:, 0]
            order = members[random.permutation(random.fold(int(key), torch.tensor([label])), len(members))[0]]
            learn.append(order[:shots])
            ask.append(order[shots : shots + queries])
        train, test = features.select(torch.cat(learn)), features.select(torch.cat(ask))
        found.append(svm_probe(train, test, test, costs=(cost,)).test)
    spread = statistics.stdev(found) if len(found) > 1 else 0.0
    return FewShot(statistics.fmean(found), spread, tuple(found))


def few_shot_row(name: str, features: Features, ways: int, shots: int, *, seed: int = 0) -> Row:
    """The row of the evaluation table for one source of features, over :func:`few_shot`'s episodes.

    Args:
        name: ``"teacher"``, ``"random init"``, ``"raw input"``.
        features: Of the test split.
        ways: Classes per episode.
        shots: Examples per class to learn from.
        seed: Of the episodes.
    """
    found = few_shot(features, ways, shots, seed=seed)
    return Row(
        name, f"{ways}-way", shots, "test", "few_shot_accuracy", found.mean, found.std, len(found.episodes)
    )
