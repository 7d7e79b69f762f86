# SPDX-License-Identifier: Apache-2.0
"""The bases from the command line, on pictures and on ECGs, and back from their checkpoints."""

import pytest
import torch

from conjoin.core.checkpoint import load_model
from conjoin.core.cli.lightning import ConjoinCLI
from conjoin.core.objectives import DINO, VICReg

pytest.importorskip("conjoin.vision")
pytest.importorskip("conjoin.samples")

QUIET = ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu"]
PICTURES = [
    *("--model.encoder", "ViT", "--model.encoder.image_size=28", "--model.encoder.patch_size=7"),
    *("--model.encoder.in_channels=1", "--model.encoder.dim=32", "--model.encoder.depth=1"),
    *("--model.encoder.heads=2", "--data", "Fashion", "--data.batch_size=16"),
]
ECGS = [
    *("--model.encoder", "SignalViT", "--model.encoder.length=400", "--model.encoder.patch=10"),
    *("--model.encoder.dim=32", "--model.encoder.depth=1", "--data", "SimulatedECG", "--data.batch_size=16"),
]


@pytest.mark.slow
@pytest.mark.parametrize("parts", [PICTURES, ECGS], ids=["pictures", "ecgs"])
def test_vicreg_on_any_modality(parts, tmp_path, monkeypatch):
    if parts is ECGS:
        pytest.importorskip("conjoin.biosignal")
    monkeypatch.chdir(tmp_path)
    chosen = ["--model", "RedundancyReduction", "--model.objective", "VICReg"]
    cli = ConjoinCLI("fit", [*chosen, *parts, *QUIET, "--trainer.fast_dev_run=2"])
    assert isinstance(cli.model.objective, VICReg)
    assert torch.isfinite(cli.trainer.callback_metrics["train/loss"])
    assert torch.isfinite(cli.trainer.callback_metrics["val/loss"])


@pytest.mark.slow
def test_a_checkpoint_rebuilds_encoder_head_and_objective_without_trust(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    head = "{hidden: 64, out: 16, layers: 3, norm: none, prototypes: 48}"
    chosen = ["--model", "SelfDistillation", "--model.objective", "DINO", "--model.objective.dim=48"]
    limits = ["--trainer.max_steps=2", "--trainer.limit_val_batches=1"]
    cli = ConjoinCLI("fit", [*chosen, f"--model.projector={head}", *PICTURES, *QUIET, *limits])
    path = next(tmp_path.rglob("last.ckpt"))
    model = load_model(path)
    assert isinstance(model.objective, DINO)
    assert int(model.objective.steps) == 2
    torch.testing.assert_close(model.objective.center, cli.model.objective.center)
    assert model.projector.prototypes.weight.shape == (48, 16)
    x = torch.randn(3, 1, 28, 28)
    torch.testing.assert_close(model.embed({"x": x}), cli.model.embed({"x": x}))


@pytest.mark.slow
def test_views_cut_by_the_workers_from_files(tmp_path, monkeypatch):
    from torchvision.io import write_png

    monkeypatch.chdir(tmp_path)
    for kind in ("train", "val"):
        for label in ("cat", "dog"):
            folder = tmp_path / "pictures" / kind / label
            folder.mkdir(parents=True)
            for number in range(8):
                write_png(
                    torch.randint(0, 256, (3, 40, 50), dtype=torch.uint8), str(folder / f"{number}.png")
                )
    config = tmp_path / "config.yaml"
    config.write_text(
        """
        model:
          class_path: conjoin.core.SelfDistillation
          init_args:
            encoder:
              class_path: conjoin.vision.TimmEncoder
              init_args: {name: test_resnet, image_size: 32}
            objective: {class_path: conjoin.core.objectives.DINO, init_args: {dim: 24}}
            projector: {hidden: 32, out: 16, norm: none, prototypes: 24}
            together: true
        data:
          class_path: conjoin.vision.MultiViewImages
          init_args:
            data:
              class_path: conjoin.vision.ImageFolder
              init_args: {root: pictures, image_size: 32, scale: [0.05, 1.0], batch_size: 8}
            views:
              class_path: conjoin.vision.transforms.DINOViews
              init_args: {size: 32, local_size: 16, local_views: 3}
        """
    )
    cli = ConjoinCLI("fit", ["--config", str(config), *QUIET, "--trainer.fast_dev_run=2"])
    assert torch.isfinite(cli.trainer.callback_metrics["train/loss"])
    assert torch.isfinite(cli.trainer.callback_metrics["val/loss"])
    batch = next(iter(cli.datamodule.train_dataloader()))
    assert [tuple(view.shape[2:]) for view in batch["x"]["views"]] == 2 * [(32, 32)] + 3 * [(16, 16)]
