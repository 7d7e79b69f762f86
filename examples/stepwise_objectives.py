# SPDX-License-Identifier: Apache-2.0
"""Watch Barlow Twins, SimCLR and VICReg teach a network with small weights its dimensions, one at a time."""

import argparse
import importlib
from pathlib import Path

import torch
from lightning.pytorch import seed_everything
from torch import Tensor, nn
from torch.nn import functional

from conjoin.core.objectives import BarlowTwins, NTXent, VICReg
from conjoin.samples import fashion

# Objective, learning rate, unit in which it sees embeddings. Two objectives would make a small start large
# at once. Barlow Twins divides columns by the root of variance + eps: 1 leaves small ones small. NT-Xent
# divides rows by their length, but not by less than 1e-6: in that unit, rows shorter than 1 stay short.
OBJECTIVES: dict[str, tuple[nn.Module, float, float]] = {
    "Barlow Twins": (BarlowTwins(redundancy=1.0, eps=1.0), 0.1, 1.0),
    "SimCLR": (NTXent(temperature=0.5), 0.1, 1e-6),
    "VICReg": (VICReg(), 0.03, 1.0),
}
LEARNED = 0.1  # of the largest eigenvalue


def pairs(count: int) -> tuple[Tensor, Tensor]:
    """Garments of Fashion-MNIST, twice moved by up to a pixel, shrunk to 7 x 7, centred: (count, 49) each."""
    images = torch.tensor(fashion().train.images[:count], dtype=torch.float64).view(count, 28, 28) / 255
    views = []
    for _ in range(2):
        moves = torch.randint(-1, 2, (count, 2)).tolist()
        moved = torch.stack(
            [image.roll(tuple(move), (0, 1)) for image, move in zip(images, moves, strict=True)]
        )
        views.append(functional.avg_pool2d(moved.unsqueeze(1), 4).flatten(1))
    both = torch.cat(views)
    both = both - both.mean(0)
    first, second = (4 * both / both.norm(dim=1).square().mean().sqrt()).chunk(2)
    return first, second


# --8<-- [start:train]
def train(
    objective: nn.Module,
    lr: float,
    unit: float,
    scale: float,
    steps: int,
    count: int = 100,
    dim: int = 8,
    width: int = 64,
) -> tuple[Tensor, Tensor]:
    """One hidden layer whose weights are ``scale`` times the usual ones, by full-batch gradient descent.

    Returns:
        The steps looked at (T,) and the eigenvalues of the embeddings' covariance then (T, dim).
    """
    seed_everything(0, verbose=False)
    views = pairs(count)
    network = nn.Sequential(
        nn.Linear(views[0].shape[1], width, bias=False), nn.ReLU(), nn.Linear(width, dim, bias=False)
    ).double()
    for weight in network.parameters():
        nn.init.kaiming_normal_(weight)
        weight.data *= scale
    optimizer = torch.optim.SGD(network.parameters(), lr=lr)
    looks = sorted({int(10 ** (i / 40)) for i in range(400)})
    seen, spectra = [], []
    for step in range(1, steps + 1):
        first, second = network(views[0]), network(views[1])
        if step in looks:
            seen.append(step)
            spectra.append(torch.linalg.eigvalsh(first.detach().T.cov(correction=0)).flip(0))
        optimizer.zero_grad()
        objective(unit * first, unit * second).loss.backward()
        optimizer.step()
    return torch.tensor(seen), torch.stack(spectra)


def rises(seen: Tensor, spectra: Tensor) -> list[tuple[int, bool]]:
    """Of all dimensions but the first and the last: when each is learned, and whether it rose alone.

    It is learned at the step from which its eigenvalue stays above a tenth of the largest, and rose alone if
    the next eigenvalue is then less than a tenth of its own. Dimensions that are learned from the first look
    on, or never, are left out.
    """
    found = []
    for k in range(1, spectra.shape[1] - 1):
        below = (spectra[:, k] < LEARNED * spectra[:, 0]).nonzero()
        if len(below) and int(below[-1]) + 1 < len(seen):
            at = int(below[-1]) + 1
            alone = bool(spectra[at, k + 1] < LEARNED * spectra[at, k])
            found.append((int(seen[at]), alone))
    return found


# --8<-- [end:train]


def draw(curves: dict[str, tuple[Tensor, Tensor]], path: Path) -> None:
    """One panel for each objective; matplotlib is no dependency of conjoin."""
    plt = importlib.import_module("matplotlib.pyplot")
    canvas, panels = plt.subplots(1, len(curves), figsize=(10, 3.4), sharey=True, layout="constrained")
    for panel, (name, (seen, spectra)) in zip(panels, curves.items(), strict=True):
        panel.set_prop_cycle(color=plt.get_cmap("viridis")(torch.linspace(0, 0.9, spectra.shape[1]).numpy()))
        panel.loglog(seen, spectra)
        panel.set(title=name, xlabel="optimiser step")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("eigenvalue of the covariance")
    canvas.savefig(path, dpi=90)


def main(steps: int = 3000, scale: float = 0.1, figure: Path | None = None) -> dict[str, int]:
    """How many dimensions rise alone under each objective."""
    curves = {name: train(*setting, scale, steps) for name, setting in OBJECTIVES.items()}
    alone = {}
    for name, (seen, spectra) in curves.items():
        found = rises(seen, spectra)
        alone[name] = sum(lonely for _, lonely in found)
        said = ", ".join(f"{step}{'' if lonely else ' (not alone)'}" for step, lonely in found)
        print(f"{name}: {alone[name]} of {spectra.shape[1] - 2} dimensions rise alone, at steps {said}")
    if figure:
        draw(curves, figure)
    return alone


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--scale", type=float, default=0.1, help="of the weights, 1 is the usual one")
    parser.add_argument("--figure", type=Path, help="where to draw the eigenvalues; needs matplotlib")
    main(**vars(parser.parse_args()))
