# SPDX-License-Identifier: Apache-2.0
"""Cost of the point-cloud operators, one row per setting.

    python benchmarks/pointcloud_ops.py [--device cpu] [--threads 1] [--repeats 5]

Times are the smallest of the repeats: processor time on a CPU, so that other work on the machine does not
count, wall time on a GPU. The column "reference" has the time that the operators' design was measured at
with one x86 thread (plain loops of the same algorithm), for comparison on a similar machine.
"""

import argparse
import time
from collections.abc import Callable

import torch

from conjoin.pointcloud.ops import (
    SparseVoxels,
    SubmanifoldConv3d,
    farthest_point_sampling,
    group,
    knn,
    morton_order,
    nearest_order,
    strided_rules,
    submanifold_rules,
)

Job = tuple[str, Callable[[], object], float | None]


def voxels(count: int, channels: int, device: str) -> SparseVoxels:
    """``count`` random places of a cube, a tenth of it: about 3.6 pairs per voxel."""
    side = round((10 * count) ** (1 / 3))
    cells = torch.randperm(side**3)[:count]
    x, y, z = cells % side, cells // side % side, cells // side**2
    places = torch.stack((torch.zeros_like(z), z, y, x), dim=-1).to(device)
    features = torch.randn(count, channels, device=device, requires_grad=True)
    return SparseVoxels(features, places, (side, side, side), 1)


def jobs(device: str) -> list[Job]:
    """Name, work, reference in milliseconds."""
    cloud = {size: torch.rand(32, size, 3, device=device) for size in (1024, 2048)}
    large = torch.rand(8, 8192, 3, device=device)
    centers = cloud[1024][:, :64].contiguous()
    found: list[Job] = [
        ("FPS 32x1024 -> 64", lambda: farthest_point_sampling(cloud[1024], 64), 5),
        ("FPS 32x2048 -> 128", lambda: farthest_point_sampling(cloud[2048], 128), 17),
        ("FPS 8x8192 -> 1024", lambda: farthest_point_sampling(large, 1024), 110),
        ("kNN 32x64x1024, k=32", lambda: knn(centers, cloud[1024], 32), 20),
        ("groups 32x64x32", lambda: group(cloud[1024], centers, 32), None),
        ("nearest order 32x64", lambda: nearest_order(centers), 3),
        ("Morton order 32x1024", lambda: morton_order(cloud[1024]), None),
    ]
    for count, rules_ms, forward_ms, both_ms in ((16_000, 35, 8, 29), (65_000, 175, 27, 115)):
        given = voxels(count, 64, device)
        layer = SubmanifoldConv3d(64, 64, device=device)
        given.submanifold((3, 3, 3))

        def forward(given: SparseVoxels = given, layer: SubmanifoldConv3d = layer) -> None:
            with torch.no_grad():
                layer(given)

        def both(given: SparseVoxels = given, layer: SubmanifoldConv3d = layer) -> None:
            layer(given).features.sum().backward()

        def rules(given: SparseVoxels = given) -> None:
            submanifold_rules(given.places, given.shape, 1)

        def strided(given: SparseVoxels = given) -> None:
            strided_rules(given.places, given.shape, 1)

        found += [
            (f"submanifold rulebook {count // 1000}k", rules, rules_ms),
            (f"strided rulebook {count // 1000}k", strided, None),
            (f"submanifold conv {count // 1000}k, 64 channels, forward", forward, forward_ms),
            (f"submanifold conv {count // 1000}k, 64 channels, both", both, both_ms),
        ]
    return found


def milliseconds(work: Callable[[], object], repeats: int, device: str) -> float:
    """The smallest of the repeats, after one that does not count."""
    best = float("inf")
    clock = time.process_time if device == "cpu" else time.perf_counter
    for repeat in range(repeats + 1):
        start = clock()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        if repeat:
            best = min(best, clock() - start)
    return 1000 * best


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print("| operator | ms | reference |\n|---|---:|---:|")
    for name, work, reference in jobs(options.device):
        found = milliseconds(work, options.repeats, options.device)
        print(f"| {name} | {found:.1f} | {'' if reference is None else f'{reference:g}'} |", flush=True)


if __name__ == "__main__":
    main()
