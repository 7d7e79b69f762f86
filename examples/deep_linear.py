# SPDX-License-Identifier: Apache-2.0
"""Train deep linear networks: JEPA learns the predictable mode first, MAE the large one."""

import argparse
import importlib
from pathlib import Path

import torch
from torch import Tensor

from conjoin.core.theory import (
    DeepLinear,
    DeepLinearJEPA,
    DeepLinearMAE,
    JEPAFlow,
    MAEFlow,
    ModeFlow,
    static_pairs,
)

SIGNAL = torch.tensor([1.0, 0.9])  # lambda: the first mode is the larger one ...
NOISE = torch.tensor([1.0, 0.05])  # ... and the noisier: rho is 0.50 and 0.95
KINDS = {"JEPA": (JEPAFlow, DeepLinearJEPA, 10000), "MAE": (MAEFlow, DeepLinearMAE, 400)}
EPS, LR = 0.02, 0.05


# --8<-- [start:main]
def train(network: DeepLinear, x: Tensor, y: Tensor, steps: int) -> Tensor:
    """Singular values of the encoder along each mode, (steps, modes), by full-batch gradient descent."""
    optimizer = torch.optim.SGD(network.parameters(), lr=LR)
    path = []
    for _ in range(steps):
        path.append(network.product().detach().norm(dim=0))
        optimizer.zero_grad()
        network(x, y).backward()
        optimizer.step()
    return torch.stack(path)


def main(depth: int = 3, count: int = 5000, figure: Path | None = None) -> float:
    """Train both; the largest relative difference of a trained half-rise from the predicted one."""
    x, y, _ = static_pairs(SIGNAL, NOISE, count)
    lam, second = (x * y).mean(0), x.square().mean(0)  # the moments of this sample
    worst, drawn = 0.0, {}
    for name, (theory, kind, steps) in KINDS.items():
        path = train(kind(2, depth, EPS), x, y, steps)
        flows = [theory(a, a / b, depth) for a, b in zip(lam.tolist(), second.tolist(), strict=True)]
        for mode, flow in enumerate(flows):
            half = flow.fixed_point() / 2
            expected = flow.time_to(half, EPS) / LR
            seen = int((path[:, mode] >= half).nonzero()[0])
            worst = max(worst, abs(seen / expected - 1))
            print(
                f"{name}, lambda {flow.lam:.2f}, rho {flow.rho:.2f}: "
                f"half learned at step {seen}, predicted {expected:.0f}"
            )
        drawn[name] = (path, flows)
    if figure:
        draw(drawn, figure)
    return worst


# --8<-- [end:main]


def draw(drawn: dict[str, tuple[Tensor, list[ModeFlow]]], path: Path) -> None:
    """Lines of the theory, dots of the networks; matplotlib is no dependency of conjoin."""
    plt = importlib.import_module("matplotlib.pyplot")
    canvas, panels = plt.subplots(1, len(drawn), figsize=(9, 3.2), sharey=True, layout="constrained")
    for panel, (name, (trained, flows)) in zip(panels, drawn.items(), strict=True):
        for mode, (flow, colour) in enumerate(zip(flows, ("tab:orange", "tab:blue"), strict=True)):
            share = torch.linspace(EPS / flow.fixed_point() + 1e-6, 0.995, 300).tolist()
            times = [flow.time_to(part * flow.fixed_point(), EPS) / LR for part in share]
            label = rf"$\lambda$ {flow.lam:.2f}, $\rho$ {flow.rho:.2f}"
            panel.plot(times, share, color=colour, label=label)
            steps = torch.arange(0, len(trained), len(trained) // 40)
            panel.plot(steps, trained[steps, mode] / flow.fixed_point(), ".", color=colour, markersize=4)
        panel.set(title=name, xlabel="step", xlim=(0, len(trained)))
        panel.grid(alpha=0.3)
        panel.legend()
    panels[0].set_ylabel("singular value / its end")
    canvas.savefig(path, dpi=90)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--figure", type=Path, help="where to draw the trajectories; needs matplotlib")
    main(**vars(parser.parse_args()))
