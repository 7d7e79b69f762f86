# SPDX-License-Identifier: Apache-2.0
"""JPEG folder to training batches: conjoin's ImageFolder beside torchvision's.

    python benchmarks/jpeg_pipeline.py [--pictures 256] [--rounds 5] [--workers 0 2] [--large]

Writes photo-like JPEGs of 500 x 375 (or 3000 x 2250 with --large) into a temporary folder: a pink spectrum,
edges and grain, so that files have a photograph's size. Then reads whole epochs of random crops of 224 in
batches of 64 into normalised float batches. Contestants take turns within each round; printed are medians of
images/s over the rounds, and the median of the ratios of each round. Torch runs one thread per process, in
both.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import datasets
from torchvision.transforms import v2

from conjoin.vision import ImageFolder
from conjoin.vision.transforms import IMAGENET_MEAN, IMAGENET_STD

BATCH = 64


def photograph(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Amplitude falling as 1/f, flat regions with edges, grain."""
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    amplitude = 1 / np.maximum(np.hypot(rows, columns), 1 / width) ** 1.1
    phase = np.exp(2j * np.pi * rng.random((3, *amplitude.shape)))
    field = np.fft.irfft2(amplitude * phase, s=(height, width))
    field = field / field.std() * 35 + 120
    for _ in range(12):
        y, x = rng.integers(0, height - 40), rng.integers(0, width - 40)
        h, w = rng.integers(20, height // 2), rng.integers(20, width // 2)
        field[:, y : y + h, x : x + w] += rng.normal(0, 30, (3, 1, 1))
    field += rng.normal(0, 4, (height, width))
    return Image.fromarray(field.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def write(folder: Path, pictures: int, width: int, height: int) -> float:
    """Write the folder; the mean size of a file in bytes."""
    rng = np.random.default_rng(0)
    # A few originals, shifted: making noise takes longer than the benchmark.
    distinct = min(20 if width < 1000 else 3, pictures)
    originals = [np.asarray(photograph(rng, width, height)) for _ in range(distinct)]
    sizes = []
    for number in range(pictures):
        path = folder / f"class{number % 10}" / f"{number:05d}.jpg"
        path.parent.mkdir(exist_ok=True)
        shifted = np.roll(originals[number % len(originals)], rng.integers(0, 300, 2), axis=(0, 1))
        Image.fromarray(shifted).save(path, quality=90)
        sizes.append(path.stat().st_size)
    return statistics.mean(sizes)


def contestants(folder: Path, workers: int) -> dict[str, Callable[[], int]]:
    """Functions that read one epoch and return the number of pictures."""
    ours = ImageFolder(
        folder, 224, val_fraction=0, test_fraction=0, batch_size=BATCH, num_workers=workers, seed=0
    )
    ours_loader = ours.train_dataloader()

    def conjoin() -> int:
        return sum(len(ours.batch_transform(batch, train=True)["x"]) for batch in ours_loader)

    def theirs(first: list[v2.Transform]) -> Callable[[], int]:
        steps = v2.Compose(
            [
                *first,
                v2.RandomResizedCrop(224, scale=(0.3, 1.0), antialias=True),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            ]
        )
        loader = DataLoader(
            datasets.ImageFolder(str(folder), steps),
            batch_size=BATCH,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        return lambda: sum(len(x) for x, _ in loader)

    return {
        "conjoin": conjoin,
        "torchvision (PIL)": theirs([]),
        "torchvision (PIL, then tensor)": theirs([v2.ToImage()]),
    }


def main() -> None:
    """Write, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--large", action="store_true", help="3000 x 2250 pixels instead of 500 x 375")
    options = parser.parse_args()
    torch.set_num_threads(1)
    width, height = (3000, 2250) if options.large else (500, 375)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = write(folder, options.pictures, width, height)
        print(
            f"{options.pictures} JPEGs of {width} x {height}, {size / 1e3:.0f} kB each, {options.rounds} "
            "rounds"
        )
        for workers in options.workers:
            epochs = contestants(folder, workers)
            rates: dict[str, list[float]] = {label: [] for label in epochs}
            # Round 0 warms the page cache and starts the workers.
            for number in range(options.rounds + 1):
                for label, epoch in epochs.items():
                    start = time.perf_counter()
                    pictures = epoch()
                    if number:
                        rates[label].append(pictures / (time.perf_counter() - start))
            for label, measured in rates.items():
                ratio = statistics.median(a / b for a, b in zip(rates["conjoin"], measured, strict=True))
                rate = statistics.median(measured)
                print(
                    f"workers {workers}  {label:<31} {rate:8.1f} images/s   conjoin is {ratio:.2f}x",
                    flush=True,
                )


if __name__ == "__main__":
    main()
