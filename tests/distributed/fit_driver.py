# SPDX-License-Identifier: Apache-2.0
"""Fit a tiny system of the integration tests.

``fit_driver.py FOLDER one|ddp|fsdp|fsdp-sharded [jepa|swav|clip|ibot]``.

Lightning starts the second process of a strategy by running this script again. Rank 0 writes
``losses.json`` and (where the strategy writes one file) ``last.ckpt``; a sharded checkpoint is the folder
``last.ckpt``.
"""

import json
import sys
from pathlib import Path

import torch
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
import tiny

from conjoin.core.objectives import CLIP, SwAV

GLOBAL_BATCH = 16


def strategy(name):
    if name == "ddp":
        return DDPStrategy(process_group_backend="gloo")
    if name.startswith("fsdp"):
        return ModelParallelStrategy(
            data_parallel_size=2,
            tensor_parallel_size=1,
            save_distributed_checkpoint=name == "fsdp-sharded",
            process_group_backend="gloo",
        )
    return "auto"


SYSTEMS = {
    "jepa": tiny.TinyJEPA,
    "swav": lambda: tiny.contrastive(lambda: SwAV(8, 12)),
    "ibot": tiny.masked_distillation,
    "clip": lambda: tiny.contrastive(lambda: CLIP(0.07, max_scale=14.3)),
}


def main(folder, name, system="jepa"):
    torch.set_num_threads(1)
    ranks = 1 if name == "one" else 2
    losses = tiny.Losses()
    trainer = tiny.trainer(
        folder,
        callbacks=[losses, *tiny.monitors()],
        devices=ranks,
        strategy=strategy(name),
        max_epochs=4 if system == "jepa" else 2,  # contrast amplifies differences of rounding
    )
    trainer.fit(SYSTEMS[system](), tiny.TinyData(batch_size=GLOBAL_BATCH // ranks))
    trainer.save_checkpoint(Path(folder) / "last.ckpt")
    if trainer.is_global_zero:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        (Path(folder) / "losses.json").write_text(json.dumps({"losses": losses.values, "metrics": metrics}))


if __name__ == "__main__":
    main(*sys.argv[1:])
