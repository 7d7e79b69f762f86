# SPDX-License-Identifier: Apache-2.0
"""What the callbacks of a recipe cost: processor time of each one's hooks while it trains.

    python benchmarks/callback_time.py --config ijepa-small --steps 100

One epoch of so many steps without validation, one thread; processor time, so a machine with other work will
do. Embedding the validation split, once per epoch, is not part of it.
"""

import argparse
import collections
import contextlib
import io
import tempfile
import time
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch

from conjoin.core.cli.lightning import ConjoinCLI


def timed(hook: Callable[..., Any], name: str, seconds: collections.Counter[str]) -> Callable[..., Any]:
    """The hook, its time counted under a name."""

    def wrapped(*arguments: Any, **options: Any) -> Any:
        start = time.process_time()
        try:
            return hook(*arguments, **options)
        finally:
            seconds[name] += time.process_time() - start

    return wrapped


def time_hooks(callback: pl.Callback, seconds: collections.Counter[str]) -> None:
    """Count the time of each hook of a training step under the callback's class."""
    hooks = ["on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step"]
    for hook in [*hooks, *(name for name in dir(callback) if name.startswith("on_train_"))]:
        setattr(callback, hook, timed(getattr(callback, hook), type(callback).__name__, seconds))


def main() -> None:
    """Train, print one line per callback."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="ijepa-small", help="a recipe or a configuration file")
    parser.add_argument("--steps", type=int, default=100)
    given = parser.parse_args()
    torch.set_num_threads(1)
    seconds: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        short = [f"--trainer.limit_train_batches={given.steps}", "--trainer.limit_val_batches=0"]
        quiet = ["--trainer.enable_progress_bar=false", f"--trainer.default_root_dir={folder}"]
        command = ["--config", given.config, "--trainer.max_epochs=1", *short, *quiet]
        cli = ConjoinCLI("fit", command, run=False)
        for callback in cli.trainer.callbacks:  # type: ignore[attr-defined]
            time_hooks(callback, seconds)
        start = time.process_time()
        cli.trainer.fit(cli.model, cli.datamodule)
        total = time.process_time() - start
    for name, value in seconds.most_common():
        print(f"{name:24} {value:7.3f} s {100 * value / total:6.2f} %")
    print(f"{'all of it':24} {total:7.3f} s")


if __name__ == "__main__":
    main()
