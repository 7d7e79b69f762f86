# SPDX-License-Identifier: Apache-2.0
"""Splits made by key: the same pictures in every run, however the run is seeded."""

import numpy as np
import torch
from numpy.typing import NDArray

from conjoin.core.random import key, permutation

__all__ = ("held_out", "keyed_split")


def _check(name: str, share: float) -> None:
    if not 0 <= share < 1:
        raise ValueError(f"{name} must lie in [0, 1), not {share}.")


def keyed_split(
    labels: NDArray[np.int64], shares: dict[str, float], split_seed: int = 0
) -> dict[str, NDArray[np.int64]]:
    """Hold out a share of every class.

    Args:
        labels: (N,); equal numbers form a class (-1 too: pictures without labels).
        shares: Share per held-out split, in order of drawing; the rest is ``"train"``. A class of one stays
            in train.
        split_seed: Seed of the split, apart from the run's.

    Returns:
        Ascending positions per split, ``"train"`` first.

    Raises:
        ValueError: If a share lies outside [0, 1) or they leave nothing.
    """
    for name, share in shares.items():
        _check(f"{name}_fraction", share)
    if sum(shares.values()) >= 1:
        raise ValueError(
            f"The held-out fractions {shares} leave nothing to train on: make their sum smaller than 1."
        )
    parts: dict[str, list[NDArray[np.int64]]] = {name: [] for name in ("train", *shares)}
    order = np.argsort(labels, kind="stable")
    values, starts = np.unique(labels[order], return_index=True)
    for value, unordered in zip(values.tolist(), np.split(order, starts[1:]), strict=True):
        keys = torch.tensor([key(split_seed, "split", value)])
        members = unordered[permutation(keys, len(unordered))[0].numpy()]
        start = 0
        for name, share in shares.items():
            # Every class of two or more gives at least one picture, but never its last.
            count = min(max(1, round(share * len(members))), len(members) - 1 - start) if share else 0
            parts[name].append(members[start : start + max(count, 0)])
            start += max(count, 0)
        parts["train"].append(members[start:])
    return {
        name: np.sort(np.concatenate(chosen or [np.empty(0, np.int64)])) for name, chosen in parts.items()
    }


def held_out(labels: NDArray[np.int64], split: str, val_fraction: float) -> NDArray[np.int64]:
    """Positions of ``"train"`` or ``"val"`` in a training file that has its own test file.

    Raises:
        ValueError: If ``val_fraction`` is 0 and ``"val"`` is wanted.
    """
    chosen = keyed_split(labels, {"val": val_fraction})[split]
    if not len(chosen):
        raise ValueError(
            "There is no validation split: set val_fraction above 0 to hold a part of the training set out."
        )
    return chosen
