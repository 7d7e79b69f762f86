# SPDX-License-Identifier: Apache-2.0
"""Every example runs: as a script, or as the outside package that it stands for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


def run(*command: str, cwd: Path, path: Path | None = None) -> str:
    """Run a command in a process of its own, with ``path`` on PYTHONPATH."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(path or "")}
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=400)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    return result.stdout + result.stderr


def conjoin(*arguments: str) -> tuple[str, ...]:
    return (
        sys.executable,
        "-c",
        "import sys; from conjoin.core.cli import main; sys.exit(main())",
        *arguments,
    )


def test_every_example_is_tested() -> None:
    text = Path(__file__).read_text()
    for path in EXAMPLES.glob("*.py"):
        assert text.count(path.stem) > 1 or f'"{path.name}"' in text, f"{path.name} is run by no test"


def test_downstream_example_is_short() -> None:
    assert len((EXAMPLES / "downstream_jepa.py").read_text().splitlines()) < 60


def test_downstream_jepa_keeps_the_contracts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model by itself: hidden tokens cost nothing and do not leak, gradients reach both networks only."""
    monkeypatch.syspath_prepend(EXAMPLES)
    import downstream_jepa

    torch.manual_seed(0)
    model = downstream_jepa.WaveJEPA()
    batch = next(iter(downstream_jepa.Waves(batch_size=16).evaluation_dataloader("train")))
    out = model.step(batch)
    out.loss.backward()
    assert all(p.grad is None for p in model.teacher.parameters())
    for part in (model.encoder, model.predictor):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())
    keep = torch.arange(0, 32, 2).expand(16, -1)
    changed = batch["x"].clone()
    changed.view(16, 32, 8)[:, 1::2] += 1  # the hidden patches
    assert torch.equal(model.encoder(batch["x"], keep), model.encoder(changed, keep))


@pytest.mark.slow
def test_downstream_jepa_is_an_outside_package(tmp_path: Path) -> None:
    """In a project of its own: trained by the command, and its checkpoint loads knowing the package alone."""
    package = tmp_path / "project" / "my_waves"
    package.mkdir(parents=True)
    shutil.copy(EXAMPLES / "downstream_jepa.py", package / "jepa.py")
    (package / "__init__.py").write_text(
        "from my_waves.jepa import WaveJEPA, Waves\n__all__ = ('WaveJEPA', 'Waves')\n"
    )
    work = tmp_path / "elsewhere"
    work.mkdir()
    run(
        *conjoin("fit", "--model", "my_waves.WaveJEPA", "--model.depth", "2", "--data", "my_waves.Waves"),
        *("--trainer.max_epochs", "2", "--trainer.accelerator", "cpu"),
        *("--trainer.default_root_dir", str(work), "--trainer.enable_progress_bar", "false"),
        cwd=work,
        path=package.parent,
    )
    checkpoints = sorted(work.rglob("*.ckpt"))
    assert checkpoints
    script = (
        "import sys, my_waves; from conjoin.core.checkpoint import load_model;"
        "model = load_model(sys.argv[1]);"
        "print(type(model).__module__, model.encoder.embed_dim, len(model.encoder.transformer.blocks))"
    )
    out = run(sys.executable, "-c", script, str(checkpoints[-1]), cwd=tmp_path, path=package.parent)
    assert "my_waves.jepa 64 2" in out


@pytest.mark.slow
def test_monitor_any_module(tmp_path: Path) -> None:
    out = run(sys.executable, str(EXAMPLES / "monitor_any_module.py"), cwd=tmp_path)
    rank = float(out.split("RankMe ")[1].split()[0])
    assert 1.5 < rank < 6, "the data have four dimensions"
    assert list(tmp_path.rglob("metrics.csv"))


@pytest.mark.slow
def test_embed_images(tmp_path: Path) -> None:
    """A tiny checkpoint and a folder that the test writes."""
    from lightning.pytorch import Trainer
    from PIL import Image

    from conjoin.vision import IJEPA

    folder = tmp_path / "images"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (5, 40, 48, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number}.png")
    trainer = Trainer(accelerator="cpu", logger=False, max_steps=1, enable_checkpointing=False)
    model = IJEPA("vit_tiny", image_size=32, patch_size=8, encoder_depth=1, predictor_depth=1)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    out = tmp_path / "features.npz"
    run(
        sys.executable,
        str(EXAMPLES / "embed_images.py"),
        str(tmp_path / "last.ckpt"),
        str(folder),
        str(out),
        cwd=tmp_path,
    )
    features = np.load(out)["features"]
    assert features.shape == (5, 192)
    assert np.isfinite(features).all()
    assert np.ptp(features, axis=0).max() > 0


@pytest.mark.slow
def test_stepwise_learning_follows_the_theory(tmp_path: Path) -> None:
    """The first modes are seen one at a time, at the predicted steps, and the report can draw both."""
    from conjoin.core.report.run import Run

    call = "import stepwise; stepwise.main(count=200, dim=6, waited_for=4)"
    out = run(sys.executable, "-c", call, cwd=tmp_path, path=EXAMPLES)
    assert "4 of 4 steps seen" in out
    assert float(out.split("correlation ")[1].split()[0]) >= 0.9
    spectra = Run.read(tmp_path / "runs" / "stepwise" / "version_0").spectra
    assert spectra is not None
    assert len(spectra.predicted) == 6
    assert len(spectra.detected) >= 4


def seen_alone(out: str, name: str) -> int:
    return int(out.split(f"{name}: ")[1].split()[0])


@pytest.mark.slow
def test_small_networks_learn_one_dimension_at_a_time(tmp_path: Path) -> None:
    """Under three objectives from a small start; at the usual scale of the weights it is not seen."""
    script = str(EXAMPLES / "stepwise_objectives.py")
    out = run(sys.executable, script, cwd=tmp_path)
    usual = run(sys.executable, script, "--scale", "1", "--steps", "500", cwd=tmp_path)
    for name, least in (("Barlow Twins", 5), ("SimCLR", 4), ("VICReg", 4)):
        assert seen_alone(out, name) >= least, out
        assert seen_alone(usual, name) == 0, usual


@pytest.mark.slow
def test_deep_linear_networks_follow_the_closed_form(tmp_path: Path) -> None:
    """Half-rise times within 2 %; the order of the modes is opposite under the two objectives."""
    call = "import deep_linear; print('worst', deep_linear.main())"
    out = run(sys.executable, "-c", call, cwd=tmp_path, path=EXAMPLES)
    assert float(out.split("worst")[1]) < 0.02, out
    steps = [int(line.split("step ")[1].split(",")[0]) for line in out.splitlines() if "half learned" in line]
    noisy_jepa, clean_jepa, large_mae, small_mae = steps
    assert clean_jepa < noisy_jepa
    assert large_mae < small_mae
