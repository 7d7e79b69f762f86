# SPDX-License-Identifier: Apache-2.0
"""A pre-trained system that nobody trained, in a file, and three small sets to fine-tune it on."""

import sys
from pathlib import Path

import torch

from conjoin.core.data import DataModule

sys.path.insert(0, str(Path(__file__).parents[2] / "integration"))
import tiny

sys.path.pop(0)


def checkpoint(folder):
    """A file with a student and another teacher."""
    model = tiny.TinyJEPA(seed=1)
    with torch.no_grad():
        for parameter in model.teacher.parameters():
            parameter.mul_(1.25)
    trainer = tiny.trainer(folder)
    trainer.strategy.connect(model)
    path = Path(folder) / "pretrained.ckpt"
    trainer.save_checkpoint(path)
    return path, model


class Pictures(DataModule):
    """96 noisy pictures whose left and right halves are bright or dark."""

    def fields(self, split):
        generator = torch.Generator().manual_seed(["train", "val", "test"].index(split))
        x = 0.5 * torch.randn(96, 1, 16, 16, generator=generator)
        sides = torch.rand(96, 2, generator=generator) * 2 - 1
        x[..., :8] += sides[:, 0].view(-1, 1, 1, 1)
        x[..., 8:] += sides[:, 1].view(-1, 1, 1, 1)
        return x, sides

    def build(self, split):
        x, sides = self.fields(split)
        return [{"x": a, **self.answer(b)} for a, b in zip(x, sides, strict=True)]


class Classes(Pictures):
    num_classes = 3
    class_names = ("dark", "middle", "bright")

    def answer(self, sides):
        mean = float(sides.mean())
        return {"label": 0 if mean < -0.25 else 2 if mean > 0.25 else 1}


class Numbers(Pictures):
    task = "regression"
    target_scale = 10.0

    def answer(self, sides):
        return {"target": sides.mean()}


class Several(Pictures):
    label_names = ("left", "right")

    def answer(self, sides):
        return {"labels": (sides > 0).float()}
