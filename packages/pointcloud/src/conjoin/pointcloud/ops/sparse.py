# SPDX-License-Identifier: Apache-2.0
"""Sparse three-dimensional convolution without compiled extensions: which voxel feeds which.

Graham, Engelcke and van der Maaten, "3D Semantic Segmentation with Submanifold Sparse Convolutional Networks"
(CVPR 2018, arXiv 1711.10275). A rulebook lists, for every tap of the kernel, the pairs (output row, input
row) that it joins; a convolution is then one small matrix product per tap. A rulebook depends on the active
places alone, so all layers over the same places share it. Building one waits for the device a fixed number
of times (sizes must be known); convolving never does.
"""

import itertools
from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ("Rulebook", "SparseVoxels", "strided_rules", "submanifold_rules")

Triple = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Rulebook:
    """Pairs of rows per kernel tap, and the places of the outputs.

    Attributes:
        kernel: Taps per axis (z, y, x).
        outputs: Output rows, one int64 tensor per tap in the order z, y, x (x fastest).
        inputs: Input rows, the same.
        places: (M', 4) int64 (batch, z, y, x) of the outputs.
        shape: The output grid (Z, Y, X).
        identity: The tap that joins every row with itself, or None.
    """

    kernel: Triple
    outputs: tuple[Tensor, ...]
    inputs: tuple[Tensor, ...]
    places: Tensor
    shape: Triple
    identity: int | None = None

    def __len__(self) -> int:
        """Number of pairs."""
        return sum(map(len, self.inputs))


@dataclass(frozen=True, eq=False)
class SparseVoxels:
    """Features at the active places of a batch of grids.

    Args:
        features: (M, C).
        places: (M, 4) int64 (batch, z, y, x), each at most once, any order.
        shape: The grid (Z, Y, X).
        batch_size: Samples B.
        rules: Rulebooks already built over these places.

    Raises:
        ValueError: If shapes or types do not fit.
    """

    features: Tensor
    places: Tensor
    shape: Triple
    batch_size: int
    rules: dict[Triple, Rulebook] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or self.places.shape != (len(self.features), 4):
            raise ValueError(
                "SparseVoxels: features must be (M, C) and places (M, 4), not "
                f"{tuple(self.features.shape)} and {tuple(self.places.shape)}."
            )
        if self.places.dtype != torch.int64:
            raise ValueError(f"SparseVoxels: places must be int64, not {self.places.dtype}.")

    def with_features(self, features: Tensor) -> "SparseVoxels":
        """Other features at the same places; the rulebooks are shared."""
        return SparseVoxels(features, self.places, self.shape, self.batch_size, self.rules)

    def submanifold(self, kernel: Triple) -> Rulebook:
        """The rulebook of a submanifold convolution over these places, built once."""
        if kernel not in self.rules:
            self.rules[kernel] = submanifold_rules(self.places, self.shape, self.batch_size, kernel)
        return self.rules[kernel]

    def dense(self) -> Tensor:
        """(B, C, Z, Y, X) with zeros elsewhere, with gradient."""
        grid = self.features.new_zeros(self.batch_size, *self.shape, self.features.shape[1])
        grid = grid.index_put(tuple(self.places.unbind(1)), self.features)
        return grid.permute(0, 4, 1, 2, 3).contiguous()


def submanifold_rules(places: Tensor, shape: Triple, batch_size: int, kernel: Triple = (3, 3, 3)) -> Rulebook:
    """Rulebook of a convolution whose outputs are exactly its inputs' places.

    Args:
        places: (M, 4) int64 (batch, z, y, x).
        shape: The grid (Z, Y, X).
        batch_size: Samples.
        kernel: Odd numbers of taps per axis.

    Raises:
        ValueError: If a number of taps is even, or a place lies outside the grid or occurs twice.
    """
    if any(side < 1 or side % 2 == 0 for side in kernel):
        raise ValueError(f"A submanifold kernel needs odd sides, not {kernel}.")
    # Numbered with a halo, a step across the border never lands on a place of another row or sample.
    halo = [side // 2 for side in kernel]
    padded = [side + 2 * edge for side, edge in zip(shape, halo, strict=True)]
    keys, order = _number(places, padded, halo).sort()
    offsets = list(itertools.product(*(range(-edge, edge + 1) for edge in halo)))
    half = len(offsets) // 2
    steps = [_linear(offset, padded) for offset in offsets[half + 1 :]]
    # A tap and its mirror image join the same rows the other way round: half of the taps are searched.
    wanted = keys + torch.tensor(steps, device=keys.device, dtype=torch.int64).unsqueeze(1)
    found = torch.searchsorted(keys, wanted).clamp_max_(max(len(keys) - 1, 0))
    hits = keys[found] == wanted if len(keys) else torch.zeros_like(wanted, dtype=torch.bool)
    counts = _checked(places, keys, shape, batch_size, hits.sum(1))
    tap, row = hits.nonzero(as_tuple=True)
    neighbour = torch.split(order[found[tap, row]], counts)
    center = torch.split(order[row], counts)
    whole = torch.arange(len(places), device=places.device)
    return Rulebook(
        kernel,
        outputs=(*reversed(neighbour), whole, *center),
        inputs=(*reversed(center), whole, *neighbour),
        places=places,
        shape=shape,
        identity=half,
    )


def strided_rules(
    places: Tensor,
    shape: Triple,
    batch_size: int,
    kernel: Triple = (3, 3, 3),
    stride: Triple = (2, 2, 2),
    padding: Triple = (1, 1, 1),
) -> Rulebook:
    """Rulebook of a convolution whose outputs are all places that any active input reaches.

    Args:
        places: (M, 4) int64 (batch, z, y, x).
        shape: The grid (Z, Y, X).
        batch_size: Samples.
        kernel: Taps per axis.
        stride: Step per axis.
        padding: Zeros before and after, per axis.

    Raises:
        ValueError: If a size does not fit, or a place lies outside the grid or occurs twice.
    """
    if min(kernel) < 1 or min(stride) < 1 or min(padding) < 0:
        raise ValueError(
            f"kernel {kernel} and stride {stride} must be positive, padding {padding} not negative."
        )
    out = tuple(
        (side + 2 * pad - taps) // step + 1
        for side, pad, taps, step in zip(shape, padding, kernel, stride, strict=True)
    )
    if min(out) < 1:
        raise ValueError(f"A kernel of {kernel} with padding {padding} does not fit into a grid of {shape}.")
    device = places.device
    taps = torch.tensor(list(itertools.product(*map(range, kernel))), device=device)
    limits, steps, pads = (torch.tensor(value, device=device) for value in (out, stride, padding))
    ahead = places[:, 1:] + pads - taps.unsqueeze(1)  # (T, M, 3)
    target = ahead.div(steps, rounding_mode="floor")
    hits = ((ahead % steps == 0) & (target >= 0) & (target < limits)).all(-1)
    keys = _number(places, list(shape), [0, 0, 0]).sort().values
    counts = _checked(places, keys, shape, batch_size, hits.sum(1))
    tap, row = hits.nonzero(as_tuple=True)
    reached = torch.cat((places[row, :1], target[tap, row]), dim=1)
    unique, inverse = torch.unique(_number(reached, list(out), [0, 0, 0]), return_inverse=True)
    axes = []
    for side in reversed(out):
        axes.append(unique % side)
        unique = unique.div(side, rounding_mode="floor")
    return Rulebook(
        kernel,
        outputs=torch.split(inverse, counts),
        inputs=torch.split(row, counts),
        places=torch.stack((unique, *reversed(axes)), dim=1),
        shape=(out[0], out[1], out[2]),
    )


def _linear(offset: tuple[int, ...], sides: list[int]) -> int:
    return (offset[0] * sides[1] + offset[1]) * sides[2] + offset[2]


def _number(places: Tensor, sides: list[int], edge: list[int]) -> Tensor:
    """One integer per place, ascending in (batch, z, y, x)."""
    batch, z, y, x = places.unbind(1)
    return ((batch * sides[0] + z + edge[0]) * sides[1] + y + edge[1]) * sides[2] + x + edge[2]


def _checked(places: Tensor, keys: Tensor, shape: Triple, batch_size: int, counts: Tensor) -> list[int]:
    """The counts as numbers, fetched together with the findings on the places: one wait for the device."""
    limits = torch.tensor((batch_size, *shape), device=places.device)
    outside = ((places < 0) | (places >= limits)).any(1).sum()
    twice = (keys[1:] == keys[:-1]).sum()
    *numbers, bad, repeated = torch.cat((counts, outside.view(1), twice.view(1))).tolist()
    if bad:
        raise ValueError(
            f"{bad} of {len(places)} voxels lie outside the {batch_size} grids of {shape}: clip them first."
        )
    if repeated:
        raise ValueError(f"{repeated} voxels share a place with another: merge them first.")
    return [int(number) for number in numbers]
