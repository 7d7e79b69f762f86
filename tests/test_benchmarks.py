# SPDX-License-Identifier: Apache-2.0
"""The comparison with rival libraries: its scripts start, its batches are equal, its table is right.

The rivals themselves are not installed here; what belongs to this project is tested.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

ROOT = Path(__file__).parents[1]
RIVALS = ROOT / "benchmarks" / "rivals"
SCRIPTS = ("data", "train_conjoin", "train_lightly", "train_spt", "compare")
SIZES = {"train": 60, "val": 40, "test": 40}


def run(*command: str, code: int = 0) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == code, result.stdout[-2000:] + result.stderr[-4000:]
    return result.stdout + result.stderr


@pytest.fixture
def rivals(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import one of the scripts; their folder is on the path, and their names are free again afterwards."""
    monkeypatch.syspath_prepend(RIVALS)
    for name in (*SCRIPTS, "shared"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    def load(name: str) -> ModuleType:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))  # so that it is taken out at the end
        del sys.modules[name]
        return __import__(name)

    return load


def write(path: Path, name: str, noise: float, *, steps: int = 5, seed: int = 0, **change: Any) -> Path:
    """Features of two classes: ``noise`` decides how far a probe can get."""
    rng = np.random.default_rng(seed)
    parts: dict[str, Any] = {}
    for split, size in SIZES.items():
        label = np.arange(size) % 2
        parts[f"{split}_x"] = (label[:, None] * 2 - 1 + noise * rng.normal(size=(size, 4))).astype(np.float32)
        parts[f"{split}_label"] = label
    cost = {"seconds_per_step": 0.5, "cpu_seconds_per_step": 0.25, "images_per_s": 100 + seed, "seconds": 5.0}
    meta = {
        "name": name, "steps": steps, "seed": seed, "train": cost if steps else None,
        "peak_mib": 300.0 if steps else None, "before_mib": 100.0,
    }  # fmt: skip
    np.savez(path, **{"meta": json.dumps(meta), **parts, **change})
    return path


def args(**change: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"steps": 3, "batch": 8, "seed": 1, "lr": 1e-3, **change})


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_help_without_the_rivals(script: str) -> None:
    text = run(sys.executable, str(RIVALS / f"{script}.py"), "--help")
    assert "--out" in text
    if script.startswith("train"):
        options = set(re.findall(r"--[a-z-]+", text))
        assert {
            *("--steps", "--batch", "--seed", "--lr", "--width", "--depth", "--heads", "--patch"),
            *("--predictor-width", "--predictor-depth", "--ema"),
        } <= options


def test_every_script_is_tested() -> None:
    assert {path.stem for path in RIVALS.glob("*.py")} == {*SCRIPTS, "shared"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--steps N"),
        (("--bogus",), "unknown option --bogus"),
    ],
)
def test_run_refuses_before_it_installs(options: tuple[str, ...], message: str) -> None:
    assert message in run("bash", str(RIVALS / "run.sh"), *options, code=2)


def test_defaults_are_the_recipes(rivals: Callable[[str], ModuleType]) -> None:
    shared = rivals("shared")
    parsed = shared.arguments("").parse_args(["--steps", "1", "--out", "x.npz"])
    model = shared.recipe()["model"]["init_args"]
    assert (parsed.width, parsed.depth, parsed.patch) == (
        model["encoder_dim"],
        model["encoder_depth"],
        model["patch_size"],
    )
    assert parsed.lr == model["optim"]["lr"]
    assert parsed.ema is None


def test_batches_are_equal_and_those_of_the_library(rivals: Callable[[str], ModuleType]) -> None:
    from conjoin.vision import ScatteredFashion

    data = rivals("data")
    first, second = data.Batches(args()), data.Batches(args())
    ours, theirs = list(first), list(second)
    assert len(ours) == 3
    assert len(first) == 10_000 // 8
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a["x"], b["x"])
        assert torch.equal(a["index"], b["index"])
    module = ScatteredFashion(batch_size=8, seed=1)
    batch = module.batch_transform(next(iter(module.train_dataloader())), train=True)
    assert torch.equal(batch["x"], ours[0]["x"])
    other = next(iter(data.Batches(args(seed=2))))
    assert not torch.equal(other["index"], ours[0]["index"])


def test_batches_stop_at_the_steps_over_epochs(rivals: Callable[[str], ModuleType]) -> None:
    batches = rivals("data").Batches(args(batch=3400, steps=3))
    assert (len(batches), batches.epochs) == (2, 2)
    epochs = [[batch["epoch"][0].item() for batch in batches] for _ in range(batches.epochs)]
    assert epochs == [[0, 0], [1]]
    assert len(batches.wall) == len(batches.cpu) == 3


def test_clock_counts_what_happens_between_batches(rivals: Callable[[str], ModuleType]) -> None:
    import time

    batches = rivals("data").Batches(args(steps=4))
    for _ in batches:
        time.sleep(0.05)
    figures = batches.figures()
    assert 0.05 <= figures["seconds_per_step"] < 0.5
    assert figures["images_per_s"] == pytest.approx(8 / figures["seconds_per_step"])
    assert figures["cpu_seconds_per_step"] < 0.05, "sleeping costs no processor time"


def test_shared_optimiser_follows_the_recipe(rivals: Callable[[str], ModuleType]) -> None:
    """Peak after the warm-up, the last value at the end, no decay of biases."""
    shared = rivals("shared")
    config = shared.recipe()["model"]["init_args"]["optim"]
    layer = nn.Linear(3, 2)
    optimiser = shared.SharedOptimiser(args(steps=1000, batch=5000, lr=0.5), [layer])
    rates = []
    for step in range(1000):
        optimiser.set(step)
        rates.append(optimiser.optimizer.param_groups[0]["lr"])
    assert max(rates) == pytest.approx(0.5, rel=1e-3)
    assert rates[-1] == pytest.approx(config["final_lr"], rel=0.1)
    decay = {id(p): g["weight_decay"] for g in optimiser.optimizer.param_groups for p in g["params"]}
    assert decay[id(layer.bias)] == 0
    assert decay[id(layer.weight)] == pytest.approx(config["final_weight_decay"])


def test_compare_prints_and_writes(
    tmp_path: Path,
    rivals: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = [
        write(tmp_path / "good.npz", "good", 0.1),
        write(tmp_path / "bad.npz", "bad", 30.0),
        write(tmp_path / "bad0.npz", "bad", 30.0, steps=0),
    ]
    out = tmp_path / "table.md"
    monkeypatch.setattr(sys, "argv", ["compare.py", *map(str, files), "--budgets", "3", "--out", str(out)])
    rivals("compare").main()
    text = out.read_text()
    assert text == capsys.readouterr().out
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    head = [
        *("contestant", "seeds", "linear 3", "linear all", "knn 3", "knn all"),
        *("images/s", "CPU ms/step", "MiB added"),
    ]
    assert rows[0] == head
    assert [row[0] for row in rows[2:]] == ["good", "bad", "bad, untrained"]
    assert rows[2][2:6] == ["100.0"] * 4
    assert float(rows[3][3]) < 90
    assert rows[2][6:] == ["100", "250", "200"]
    assert rows[4][6:] == ["-", "-", "-"]
    figures = json.loads(out.with_suffix(".json").read_text())
    assert figures["good"][0]["meta"]["steps"] == 5
    assert {row["split"] for row in figures["good"][0]["rows"]} == {"val", "test"}


def test_compare_averages_seeds(tmp_path: Path, rivals: Callable[[str], ModuleType]) -> None:
    compare = rivals("compare")
    paths = [write(tmp_path / f"{seed}.npz", "one", 2.0, seed=seed) for seed in (0, 1, 2)]
    text, figures = compare.table([compare.Stored.read(path) for path in paths], [None], 1)
    values = [
        100 * row["value"]
        for entry in figures["one"]
        for row in entry["rows"]
        if row["split"] == "test" and row["probe"] == "linear"
    ]
    assert len(values) == 3
    cells = [cell.strip() for cell in text.splitlines()[2].strip("|").split("|")]
    assert cells[:3] == ["one", "3", f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"]
    assert cells[4] == "101 ± 1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_label": np.zeros(40, dtype=np.int64)}, "different labels in test"),
        ({"train_x": np.full((60, 4), np.nan, dtype=np.float32)}, "not finite"),
        ({"meta": json.dumps({"name": "b", "steps": 6, "train": None})}, "one length only"),
    ],
)
def test_compare_refuses(
    change: dict[str, Any], message: str, tmp_path: Path, rivals: Callable[[str], ModuleType]
) -> None:
    compare = rivals("compare")
    paths = [write(tmp_path / "a.npz", "a", 1.0), write(tmp_path / "b.npz", "b", 1.0, **change)]
    with pytest.raises(ValueError, match=message):
        compare.table([compare.Stored.read(path) for path in paths], [None], 1)


def test_compare_refuses_other_files(tmp_path: Path, rivals: Callable[[str], ModuleType]) -> None:
    np.savez(tmp_path / "x.npz", train_x=np.zeros((2, 2)))
    with pytest.raises(ValueError, match="lacks meta, test_x, val_x"):
        rivals("compare").Stored.read(tmp_path / "x.npz")


@pytest.mark.slow
def test_conjoin_trains_and_is_compared(tmp_path: Path, rivals: Callable[[str], ModuleType]) -> None:
    """Three steps of a tiny network, over two epochs, give features that the untrained has not."""
    small: tuple[str, ...] = ("--width", "16", "--depth", "1", "--heads", "1", "--predictor-width", "16")
    small = (*small, "--predictor-depth", "1", "--patch", "16", "--batch", "4000", "--ema", "0", "0")
    for steps in ("0", "3"):
        script = str(RIVALS / "train_conjoin.py")
        run(sys.executable, script, "--steps", steps, *small, "--out", str(tmp_path / f"{steps}.npz"))
    compare = rivals("compare")
    before, after = (compare.Stored.read(tmp_path / f"{steps}.npz") for steps in (0, 3))
    assert {split: len(x) for split, x in after.x.items()} == {"train": 10_000, "val": 2_000, "test": 2_000}
    assert after.x["test"].shape[1] == 16
    assert not torch.equal(before.x["test"], after.x["test"])
    assert before.contestant == "conjoin, untrained"
    assert after.meta["train"]["images_per_s"] > 0
    compare.same_pictures([before, after])
