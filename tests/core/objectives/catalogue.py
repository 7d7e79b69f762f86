# SPDX-License-Identifier: Apache-2.0
"""Every objective as one case: how it is built, and what a batch of it looks like.

Tests that say the same of all objectives (ranks, compilation, precision, gradients) and the table in the
documentation run over this list; ``test_all.py`` fails if a public objective is missing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from conjoin.core import objectives as o

WIDTH = 6
INPUT = 12


@dataclass(frozen=True)
class Case:
    """One objective.

    Attributes:
        name: For the test's name and the table.
        build: Makes the objective.
        call: Calls it with the student's embeddings, the teacher's, and what else the batch holds. Each of
            the former is a list of three views (n, WIDTH); tests make them by a network.
    """

    name: str
    build: Callable[[], nn.Module]
    call: Callable[[Any, list[Tensor], list[Tensor], dict[str, Tensor]], o.ObjectiveOutput]


def two(objective: Any, z: list[Tensor], t: list[Tensor], batch: dict[str, Tensor]) -> o.ObjectiveOutput:
    return objective(z[0], z[1])


def many(objective: Any, z: list[Tensor], t: list[Tensor], batch: dict[str, Tensor]) -> o.ObjectiveOutput:
    return objective(torch.stack(z))


def wide(objective: Any, z: list[Tensor], t: list[Tensor], batch: dict[str, Tensor]) -> o.ObjectiveOutput:
    """More columns than twice the rows, for objectives that then take another way."""
    full = [v if v.dtype == torch.float64 else v.float() for v in z[:2]]
    return objective([torch.cat([(v * (k + 1)).sin() for k in range(10)], dim=1) for v in full])


def taught(objective: Any, z: list[Tensor], t: list[Tensor], batch: dict[str, Tensor]) -> o.ObjectiveOutput:
    return objective(torch.stack(z[:2]), torch.stack(t[:2]))


def crops(objective: Any, z: list[Tensor], t: list[Tensor], batch: dict[str, Tensor]) -> o.ObjectiveOutput:
    return objective(z, t[:2])


def labelled(objective: Any, z: list[Tensor], t: list[Tensor], batch: dict[str, Tensor]) -> o.ObjectiveOutput:
    return objective(z[0], z[1], labels=batch["label"])


def momentum_view(
    objective: Any, z: list[Tensor], t: list[Tensor], batch: dict[str, Tensor]
) -> o.ObjectiveOutput:
    return objective(z[0], z[1], target=t[2])


def patches(views: list[Tensor]) -> Tensor:
    """(T, n, P, K): three patches are the views in turn, scaled."""
    return torch.stack([torch.stack([v, v.roll(1, 1), -v], dim=1) for v in views[:2]])


def masked(objective: Any, z: list[Tensor], t: list[Tensor], batch: dict[str, Tensor]) -> o.ObjectiveOutput:
    return objective(z, t[:2], patches(z), patches(t), batch["mask"].transpose(0, 1))


def located(objective: Any, z: list[Tensor], t: list[Tensor], batch: dict[str, Tensor]) -> o.ObjectiveOutput:
    maps = [torch.stack([v, v.roll(1, 1), v.roll(2, 1) * 2, -v], dim=1) for v in z]
    return objective(z, maps, list(batch["place"].transpose(0, 1)))


def regressed(
    objective: Any, z: list[Tensor], t: list[Tensor], batch: dict[str, Tensor]
) -> o.ObjectiveOutput:
    return objective(z[0], t[0])


def partly(objective: Any, z: list[Tensor], t: list[Tensor], batch: dict[str, Tensor]) -> o.ObjectiveOutput:
    """Some positions do not count, and ranks have different numbers of them."""
    return objective(z[0], t[0], batch["mask"].flatten(1).any(dim=1))


CASES = [
    Case("NTXent", o.NTXent, two),
    Case("NTXent, 3 views", lambda: o.NTXent(0.5, "mean"), many),
    Case("DCL", o.DCL, two),
    Case("DCLW", lambda: o.DCL(weight_sigma=0.5), many),
    Case("InfoNCE", lambda: o.InfoNCE(symmetric=False), two),
    Case("CLIP", o.CLIP, two),
    Case("SupCon", o.SupCon, labelled),
    Case("SupCon, no labels", o.SupCon, many),
    Case("MoCoV3", o.MoCoV3, taught),
    Case("BYOL", o.BYOL, taught),
    Case("SimSiam", o.SimSiam, crops),
    Case("BarlowTwins", o.BarlowTwins, two),
    Case("BarlowTwins, wide", o.BarlowTwins, wide),
    Case("VICReg", o.VICReg, two),
    Case("VICReg, wide", o.VICReg, wide),
    Case("VICReg, 3 views", o.VICReg, many),
    Case("VICRegL", lambda: o.VICRegL(matches=(3, 2)), located),
    Case("TiCo", lambda: o.TiCo(WIDTH), taught),
    Case("TiCo, moment gradient", lambda: o.TiCo(WIDTH, moment_gradient=True), taught),
    Case("SpectralContrastive", o.SpectralContrastive, many),
    Case("SpectralContrastive, wide", o.SpectralContrastive, wide),
    Case("SIGReg", lambda: o.SIGReg(slices=16, seed=3), many),
    Case("SIGReg, pooled", lambda: o.SIGReg(slices=16, seed=3, pool_views=True, chunk=5), many),
    Case("LeJEPA", lambda: o.LeJEPA(global_views=2, slices=16, seed=3), many),
    Case("INTL, samples", o.INTL, two),
    Case("INTL, channels", lambda: o.INTL(axis=1), many),
    Case("INTL, momentum view", lambda: o.INTL(axis=1), momentum_view),
    Case("INTL, whitening", lambda: o.INTL(beta=0.0, axis=1, transform="power"), two),
    Case("WMSE", lambda: o.WMSE(group=8, iterations=2, seed=3), two),
    Case("WMSE, not normalised", lambda: o.WMSE(group=8, normalize=False, seed=3), many),
    Case("SwAV", lambda: o.SwAV(WIDTH, 5), many),
    Case("SwAV, queue", lambda: o.SwAV(WIDTH, 5, queue_length=20, freeze_steps=2), many),
    Case("DINO", lambda: o.DINO(WIDTH, final_teacher_temperature=0.07, warmup_steps=4), crops),
    Case("DINO, Sinkhorn", lambda: o.DINO(WIDTH, centering="sinkhorn"), crops),
    Case("IBOT", lambda: o.IBOT(WIDTH), masked),
    Case("KoLeo", o.KoLeo, many),
    Case("LatentRegression", o.LatentRegression, regressed),
    Case("LatentRegression, valid", o.LatentRegression, partly),
    Case("LatentRegression, whitened", lambda: o.LatentRegression(normalization="whiten"), partly),
]


def net(seed: int) -> nn.Linear:
    """A linear encoder in float64."""
    layer = nn.Linear(INPUT, WIDTH).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(WIDTH, INPUT, dtype=torch.float64, generator=generator) / 3)
        layer.bias.copy_(torch.randn(WIDTH, dtype=torch.float64, generator=generator) / 3)
    return layer


def rows(count: int, seed: int = 0) -> dict[str, Tensor]:
    """A batch of ``count`` samples; every row is its own."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "x": torch.randn(count, 3, INPUT, dtype=torch.float64, generator=generator),
        "label": torch.randint(4, (count,), generator=generator),
        "mask": torch.rand(count, 2, 3, generator=generator) < 0.5,
        "place": torch.rand(count, 3, 4, 2, dtype=torch.float64, generator=generator),
    }


def cut(batch: dict[str, Tensor], start: int, end: int) -> dict[str, Tensor]:
    """Some of the samples."""
    return {name: value[start:end] for name, value in batch.items()}


def evaluate(
    case: Case, objective: nn.Module, student: nn.Module, teacher: nn.Module, batch: dict[str, Tensor]
) -> o.ObjectiveOutput:
    """Embed a batch and score it."""
    z = student(batch["x"])
    with torch.no_grad():
        t = teacher(batch["x"])
    return case.call(objective, list(z.unbind(1)), list(t.unbind(1)), batch)
