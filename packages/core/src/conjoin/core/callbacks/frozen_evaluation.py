# SPDX-License-Identifier: Apache-2.0
"""The table of ``conjoin test``."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import lightning.pytorch as pl
from rich.console import Console

from conjoin.core.callbacks.record import run_folder
from conjoin.core.evaluation import Table, evaluate
from conjoin.core.evaluation.knn import WHITENED_AXES
from conjoin.core.evaluation.task import Probe, Task

__all__ = ("FrozenEvaluation",)


class FrozenEvaluation(pl.Callback):
    """Probes the frozen representation at the end of ``trainer.test``, beside its baselines.

    Embeds in the trainer's precision, as a test step would. Prints the table, writes ``evaluation.json``
    into the run's folder (the one that holds the ``checkpoints`` of which one is tested, else the trainer's
    log folder) and logs each test figure as ``test/<features>/<probe>/<labels per class>``.

    Args:
        budgets: Labels per class; ``None`` for all.
        probes: Any of ``"linear"``, ``"knn"``, ``"attentive"``, ``"mlp"``, ``"svm"`` that fits the task;
            linear and, but for several labels, kNN if not given.
        baselines: Any of ``"random"``, ``"raw"``.
        draws: Draws of the labelled samples for each budget.
        seed: Of these draws.
        few_shot: Pairs (ways, shots) to measure on episodes of the test split.
        task: ``"classification"``, ``"regression"`` or ``"multilabel"``; what the data declare if not given.
        layers: Pooled features to try: of the last block (1), of the last four side by side (4); validation
            chooses among several.
        axes: Numbers of leading principal axes in which neighbours are also sought, whitened; validation
            chooses. Wide features of many samples deserve more than the default.
    """

    def __init__(
        self,
        budgets: Sequence[int | None] = (10, 100, None),
        probes: Sequence[Probe] | None = None,
        baselines: Sequence[Literal["random", "raw"]] = ("random", "raw"),
        draws: int = 3,
        seed: int = 0,
        few_shot: Sequence[tuple[int, int]] = (),
        task: Task | None = None,
        layers: Sequence[int] = (1,),
        axes: Sequence[int] = (WHITENED_AXES,),
    ) -> None:
        self.budgets = tuple(budgets)
        self.probes = None if probes is None else tuple(probes)
        self.baselines = tuple(baselines)
        self.draws = draws
        self.seed = seed
        self.few_shot = tuple(few_shot)
        self.task = task
        self.layers = tuple(layers)
        self.axes = tuple(axes)
        self.table: Table | None = None

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Evaluate, print, write, log.

        Raises:
            ValueError: The trainer was given loaders instead of a data module.
        """
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        if datamodule is None or not hasattr(datamodule, "evaluation_dataloader"):
            raise ValueError(
                "FrozenEvaluation needs a data module with evaluation_dataloader(split): "
                "call trainer.test(model, datamodule=...), or remove the callback"
            )
        self.table = evaluate(
            pl_module,
            datamodule,
            budgets=self.budgets,
            probes=self.probes,
            baselines=self.baselines,
            few_shot=self.few_shot,
            task=self.task,
            draws=self.draws,
            seed=self.seed,
            layers=self.layers,
            axes=self.axes,
            precision=trainer.precision_plugin.forward_context,
        )
        folder = _folder(trainer)
        if trainer.is_global_zero:
            Console().print(self.table)
            try:
                self.table.to_json(folder / "evaluation.json")
            except OSError as error:
                warnings.warn(f"could not write {folder / 'evaluation.json'}: {error}", stacklevel=2)
        for row in self.table.select(split="test"):
            name = f"test/{row.features.replace(' ', '_')}/{row.probe}/{row.budget}"
            pl_module.log(name, row.value, batch_size=1)


def _folder(trainer: pl.Trainer) -> Path:
    folder = run_folder(trainer)
    if trainer.ckpt_path and Path(trainer.ckpt_path).parent.name == "checkpoints":
        return Path(trainer.ckpt_path).parent.parent
    return folder
