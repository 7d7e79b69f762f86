# SPDX-License-Identifier: Apache-2.0
"""The same batches for every contestant: same pictures, same order, same renderings, same normalisation.

Training pictures are the embedded scattered Fashion set, rendered anew in every epoch. Order and rendering
are functions of (seed, epoch, index), so nothing has to be stored for contestants to see the same pixels. The
iterator also keeps the clock: a step is the time between handing out a batch and being asked for the next,
so rendering is not in it, and no library has to be instrumented.

    python data.py --out raw.npz        # the pictures themselves as features, the floor of the table
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conjoin.vision import ScatteredFashion

__all__ = ("IMAGE_SIZE", "Batches", "module")

IMAGE_SIZE = 64


def module(args: argparse.Namespace) -> ScatteredFashion:
    """The data module for the options ``batch`` and ``seed``."""
    return ScatteredFashion(IMAGE_SIZE, batch_size=args.batch, eval_batch_size=500, seed=args.seed)


class Batches:
    """One epoch of normalised training batches per iteration, at most ``steps`` in all.

    A batch has ``x`` (B, 1, 64, 64) float32, ``label``, ``index`` and ``epoch``, each (B,) int64.

    Args:
        args: With ``steps``, ``batch`` and ``seed``.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self._data = module(args)
        self._loader = self._data.train_dataloader()
        self._left = args.steps
        self._epoch = 0
        self.batch = args.batch
        self.epochs = -(-args.steps // len(self))
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def __len__(self) -> int:
        """Batches in a whole epoch."""
        return len(self._loader)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self._loader.sampler.set_epoch(self._epoch)
        self._epoch += 1
        for raw in self._loader:
            if not self._left:
                return
            self._left -= 1
            batch = self._data.batch_transform(raw, train=True)
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                yield batch
            finally:
                # A loop that has had its last batch closes the iterator instead of asking again.
                self.wall.append(time.perf_counter() - wall)
                self.cpu.append(time.process_time() - cpu)

    def figures(self) -> dict[str, float]:
        """Medians over the steps but the first few, which warm up.

        The last step is left out too: its end is whenever the library lets go of the iterator.
        """
        skip = min(5, max(len(self.wall) - 2, 0))
        kept = slice(skip, -1) if len(self.wall) > 1 else slice(None)
        wall, cpu = statistics.median(self.wall[kept]), statistics.median(self.cpu[kept])
        return {
            "seconds_per_step": wall,
            "cpu_seconds_per_step": cpu,
            "images_per_s": self.batch / wall,
            "seconds": sum(self.wall),
        }


def main() -> None:
    """Write the flattened pictures as features."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help=".npz to write")
    args = parser.parse_args(namespace=argparse.Namespace(steps=0, batch=64, seed=0))
    from shared import save

    save(args, "raw pixels", lambda x: x.flatten(1))


if __name__ == "__main__":
    main()
