# SPDX-License-Identifier: Apache-2.0
"""Time and peak memory of one forward and backward pass of every objective.

Embeddings are drawn beforehand; a pass is the objective alone, with gradient to all student views.

    python benchmarks/objectives.py                          # N in 256, 1024, 4096 and D in 256, 2048, 8192
    python benchmarks/objectives.py --rows 256 --dims 256 2048 --only VICReg NTXent --device cuda

Memory is what the pass adds to its inputs: the most allocated memory on CUDA; on the CPU the growth of the
largest resident set, in a fresh process per cell, since an allocator keeps what was freed. Combinations that
an objective refuses (W-MSE needs more rows than columns) or that outlast ``--limit`` seconds show a dash.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from conjoin.core import objectives as o

Call = Callable[[Any, Tensor, Tensor], Any]


def views(objective: Any, z: Tensor, t: Tensor) -> Any:
    """Two views, stacked."""
    return objective(z)


def taught(objective: Any, z: Tensor, t: Tensor) -> Any:
    """Two students, two targets."""
    return objective(z, t)


def patched(objective: Any, z: Tensor, t: Tensor) -> Any:
    """Every sample is an image, and every eighth run of eight a map of eight patches."""
    count = z.shape[1] // 8
    parts = (2, count, 8, z.shape[2])
    masks = torch.arange(8, device=z.device).expand(2, count, 8) % 2 == 0
    own, teacher = (x[:, : count * 8].reshape(parts) for x in (z, t))
    return objective(z[:, :count], t[:, :count], own, teacher, masks)


def mapped(objective: Any, z: Tensor, t: Tensor) -> Any:
    """An eighth of the samples are images, with maps of eight positions."""
    count = z.shape[1] // 8
    maps = z[:, : count * 8].reshape(2, count, 8, z.shape[2])
    place = torch.arange(8.0, device=z.device).view(1, 8, 1).expand(count, 8, 2)
    return objective(z[:, :count], maps, [place, place])


OBJECTIVES: dict[str, tuple[Callable[[int], nn.Module], Call]] = {
    "NTXent": (lambda d: o.NTXent(), views),
    "DCL": (lambda d: o.DCL(), views),
    "InfoNCE": (lambda d: o.InfoNCE(), views),
    "CLIP": (lambda d: o.CLIP(), views),
    "SupCon": (lambda d: o.SupCon(), views),
    "MoCoV3": (lambda d: o.MoCoV3(), taught),
    "BYOL": (lambda d: o.BYOL(), taught),
    "SimSiam": (lambda d: o.SimSiam(), taught),
    "BarlowTwins": (lambda d: o.BarlowTwins(), views),
    "VICReg": (lambda d: o.VICReg(), views),
    "VICRegL": (lambda d: o.VICRegL(), mapped),
    "TiCo": (lambda d: o.TiCo(d), taught),
    "SpectralContrastive": (lambda d: o.SpectralContrastive(), views),
    "SIGReg": (lambda d: o.SIGReg(), views),
    "LeJEPA": (lambda d: o.LeJEPA(), views),
    "INTL samples": (lambda d: o.INTL(), views),
    "INTL channels": (lambda d: o.INTL(axis=1), views),
    "WMSE": (lambda d: o.WMSE(group=max(128, 2 * d)), views),
    "SwAV": (lambda d: o.SwAV(d), views),
    "DINO": (lambda d: o.DINO(d), taught),
    "IBOT": (lambda d: o.IBOT(d), patched),
    "KoLeo": (lambda d: o.KoLeo(), views),
    "LatentRegression": (lambda d: o.LatentRegression(), taught),
}


def peak(device: str) -> float:
    """Highest memory of this process so far, MiB."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(name: str, rows: int, dim: int, device: str, passes: int) -> dict[str, float]:
    """Median seconds of ``passes`` passes after one to warm up, and the memory that they add."""
    generator = torch.Generator().manual_seed(0)
    z, t = (torch.randn(2, rows, dim, generator=generator).to(device) for _ in range(2))
    z.requires_grad_()
    build, call = OBJECTIVES[name]
    objective = build(dim).to(device)
    # What a first pass of any objective loads is not its memory.
    o.NTXent()(z[:, :2]).loss.backward()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() / 2**20
    else:
        before = peak(device)
    seconds = []
    for _ in range(passes + 1):
        z.grad = None
        start = time.perf_counter()
        call(objective, z, t).loss.backward()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return {"seconds": statistics.median(seconds[1:]), "mib": peak(device) - before}


def alone(name: str, rows: int, dim: int, args: argparse.Namespace) -> dict[str, float] | None:
    """One cell in a process of its own; None if it failed or took too long."""
    command = [sys.executable, __file__, "--cell", name, str(rows), str(dim)]
    command += ["--device", args.device, "--passes", str(args.passes), "--threads", str(args.threads)]
    try:
        out = subprocess.run(command, check=True, capture_output=True, text=True, timeout=args.limit)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        reason = str(error.stderr or "no answer in time").strip().splitlines()[-1]
        print(f"{name} at {rows} x {dim}: {reason}", file=sys.stderr)
        return None
    result: dict[str, float] = json.loads(out.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Parse the arguments, measure, print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[256, 1024, 4096])
    parser.add_argument("--dims", type=int, nargs="+", default=[256, 2048, 8192])
    parser.add_argument("--only", nargs="+", choices=tuple(OBJECTIVES), default=list(OBJECTIVES))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for one cell")
    parser.add_argument("--cell", nargs=3, metavar=("NAME", "N", "D"), help="measure one cell, print JSON")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.cell:
        name, rows, dim = args.cell
        print(json.dumps(measure(name, int(rows), int(dim), args.device, args.passes)))
        return
    print(f"{args.device}, {args.threads} threads, median of {args.passes} passes: ms (MiB)\n")
    sizes = [(rows, dim) for rows in args.rows for dim in args.dims]
    print("| objective | " + " | ".join(f"{rows} x {dim}" for rows, dim in sizes) + " |")
    print("|---|" + "---|" * len(sizes))
    for name in args.only:
        cells = [alone(name, rows, dim, args) for rows, dim in sizes]
        texts = [
            "-" if cell is None else f"{1e3 * cell['seconds']:.1f} ({cell['mib']:.0f})" for cell in cells
        ]
        print(f"| {name} | " + " | ".join(texts) + " |", flush=True)


if __name__ == "__main__":
    main()
