# SPDX-License-Identifier: Apache-2.0
"""Throughput and memory of every system: its small recipe, and one training step at full size.

    python benchmarks/systems.py                       # all systems, a table in Markdown
    python benchmarks/systems.py --only TJEPA --profile 12

Small: the recipe as it is, without its monitors and probes, for ``--steps`` steps by Lightning's Trainer, in
the recipe's precision. ``data`` is how many samples per second the loader and the transform on the device
give when nobody trains: the ratio of the two rates says whether loading keeps up. Full size: the network of a
published recipe on random input in float32, a batch that fits small machines, the same step by hand.

A token is what the teacher sees: patches of a picture, groups of points, windows of a signal, columns.
Medians over steps after the first; memory is the largest resident set of a process of its own, imports
included.
"""

import argparse
import contextlib
import io
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import torch
from torch import Tensor

# Per system: the published recipe, the shape of its input and the batch measured here.
FULL: dict[str, tuple[str, tuple[int, ...], int]] = {
    "IJEPA": ("ijepa-vitb16-in1k", (3, 224, 224), 8),
    "CNNJEPA": ("cnnjepa-resnet50-in100", (3, 224, 224), 8),
    "PointJEPA": ("pointjepa-shapenet55", (1024, 3), 16),
    "ECGJEPA": ("ecgjepa-vits-ptbxl", (12, 5000), 16),
    "AJEPA": ("ajepa-vits-as2m", (1, 1024, 128), 4),
    "TJEPA": ("tjepa-jannis", (54,), 64),
}


def small_recipe(system: str) -> str:
    """The name of the small recipe of a system; of several the one with the shortest name."""
    from conjoin.core.cli.recipes import catalogue

    names = (
        name
        for name, recipe in catalogue().items()
        if recipe.size == "small" and recipe.config["model"]["class_path"].endswith(f".{system}")
    )
    return min(names, key=len)


def peak_mib() -> float:
    """Highest resident set of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_small(system: str, steps: int, profile: int) -> dict[str, Any]:
    """Train the small recipe for some steps, then load the same number of batches alone."""
    import lightning.pytorch as pl

    from conjoin.core.cli.lightning import ConjoinCLI

    class Clock(pl.Callback):
        def __init__(self) -> None:
            self.ends: list[float] = []

        def on_train_batch_end(self, *_: Any) -> None:
            self.ends.append(time.perf_counter())

    name = small_recipe(system)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        cli = ConjoinCLI("fit", ["--config", name, f"--trainer.default_root_dir={folder}"], run=False)
        clock = Clock()
        trainer = pl.Trainer(
            accelerator="cpu",
            max_steps=steps + 1,
            precision=cli.trainer.precision,
            callbacks=[clock],
            limit_val_batches=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        with torch.profiler.profile() if profile else contextlib.nullcontext() as found:
            trainer.fit(cli.model, cli.datamodule)
        peak = peak_mib()
        data = cli.datamodule
        times, rows, batch = [], 0, {}
        start = time.perf_counter()
        while len(times) < steps:
            for batch in data.train_dataloader():
                batch = data.on_after_batch_transfer(batch, 0)
                times.append(time.perf_counter() - start)
                start = time.perf_counter()
                rows = max(rows, len(batch["x"]))
                if len(times) >= steps:
                    break
        tokens = cli.model.tokens(batch).shape[1]
    if found is not None:
        print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=profile))
    gaps = [after - earlier for earlier, after in zip(clock.ends, clock.ends[1:], strict=False)]
    rate = rows / statistics.median(gaps)
    return {
        "recipe": name,
        "batch": rows,
        "precision": str(trainer.precision),
        "samples_per_s": rate,
        "tokens_per_s": rate * tokens,
        "data_per_s": rows / statistics.median(times),
        "mib": peak,
    }


def measure_full(system: str, steps: int, profile: int) -> dict[str, Any]:
    """The step of the published recipe's network on random input."""
    from conjoin.core.callbacks.ema import update_average
    from conjoin.core.cli.lightning import ConjoinCLI
    from conjoin.core.optim import parameter_groups

    name, shape, batch = FULL[system]
    one_cpu = ["--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.strategy=auto"]
    with contextlib.redirect_stdout(io.StringIO()):
        # The recipe's data are not here: any module will do, nobody asks it for samples.
        data = ["--data=conjoin.vision.ScatteredFashion", "--trainer.precision=32-true"]
        cli = ConjoinCLI("fit", ["--config", name, *one_cpu, *data], run=False)
    model: Any = cli.model.train()
    optimizer = model.optim.build(parameter_groups(model.trainable()))
    student = model.encoder
    if system == "PointJEPA":
        student = student.transformer  # its tokenizer has no average
    x = torch.randn(batch, *shape)
    times = []
    for number in range(steps + 1):
        sample: dict[str, Tensor] = {"x": x, "index": torch.arange(batch) + number * batch}
        start = time.perf_counter()
        with torch.profiler.profile() if profile and number == steps else contextlib.nullcontext() as found:
            model.step(sample).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            update_average(student, model.teacher, 0.996)
        times.append(time.perf_counter() - start)
        if found is not None:
            print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=profile))
    rate = batch / statistics.median(times[1:])
    return {
        "recipe": name,
        "batch": batch,
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "samples_per_s": rate,
        "tokens_per_s": rate * model.tokens({"x": x[:1]}).shape[1],
        "seconds": statistics.median(times[1:]),
        "mib": peak_mib(),
    }


def alone(arguments: argparse.Namespace, kind: str, system: str) -> dict[str, Any]:
    """One measurement in a process of its own."""
    command = [sys.executable, __file__, "--one", kind, "--only", system]
    for option in ("steps", "full_steps", "threads"):
        command += [f"--{option.replace('_', '-')}", str(getattr(arguments, option))]
    out = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(out.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Parse the arguments, measure, print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", choices=tuple(FULL), default=list(FULL), help="these systems")
    parser.add_argument("--steps", type=int, default=30, help="steps of a small recipe")
    parser.add_argument("--full-steps", type=int, default=3, help="steps at full size")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--profile", type=int, default=0, help="print so many rows of a profile instead")
    parser.add_argument("--one", choices=("small", "full"), help="one measurement, as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    run = {
        "small": lambda system: measure_small(system, arguments.steps, arguments.profile),
        "full": lambda system: measure_full(system, arguments.full_steps, arguments.profile),
    }
    if arguments.one or arguments.profile:
        for system in arguments.only:
            for kind in [arguments.one] if arguments.one else ["small", "full"]:
                print(json.dumps(run[kind](system)))
        return
    print(f"{arguments.threads} threads, torch {torch.__version__}\n")
    print("| recipe | precision | batch | samples/s | tokens/s | loader alone, samples/s | MiB |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for system in arguments.only:
        r = alone(arguments, "small", system)
        print(
            f"| `{r['recipe']}` | {r['precision']} | {r['batch']} | {r['samples_per_s']:,.0f} "
            f"| {r['tokens_per_s']:,.0f} | {r['data_per_s']:,.0f} | {r['mib']:,.0f} |",
            flush=True,
        )
    print("\n| full size | trained parameters | batch | s/step | samples/s | tokens/s | MiB |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for system in arguments.only:
        r = alone(arguments, "full", system)
        print(
            f"| `{r['recipe']}` | {r['parameters']:,} | {r['batch']} | {r['seconds']:.2f} "
            f"| {r['samples_per_s']:,.1f} | {r['tokens_per_s']:,.0f} | {r['mib']:,.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
