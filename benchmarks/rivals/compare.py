# SPDX-License-Identifier: Apache-2.0
"""Feature files to one Markdown table, by the protocol of ``conjoin test``.

    python compare.py features/*.npz --out table.md

Linear and k-nearest-neighbour probes at 10, 100 and all labels per class; hyper-parameters chosen on the
validation split, numbers from the test split. Files of the same contestant and number of steps are its seeds:
means, with the standard deviation over them.
"""

import argparse
import json
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from conjoin.core.evaluation import Table, evaluate

PROBES: tuple[Literal["linear", "knn"], ...] = ("linear", "knn")


@dataclass
class Stored:
    """The features of one file, as the model and the data of the evaluation protocol.

    Attributes:
        meta: What the contestant recorded.
        x: Features (N, D) by split.
        label: (N,) by split.
        num_classes: Classes of the training split.
    """

    meta: dict[str, Any]
    x: dict[str, Tensor]
    label: dict[str, Tensor]
    num_classes: int | None

    @classmethod
    def read(cls, path: Path) -> "Stored":
        """Read what ``shared.save`` wrote.

        Raises:
            ValueError: If it is not such a file, or has features that are not finite.
        """
        with np.load(path, allow_pickle=False) as file:
            missing = {"meta", *(f"{split}_x" for split in ("train", "val", "test"))} - set(file.files)
            if missing:
                raise ValueError(f"{path} is no feature file: it lacks {', '.join(sorted(missing))}.")
            x = {split: torch.from_numpy(file[f"{split}_x"]) for split in ("train", "val", "test")}
            label = {split: torch.from_numpy(file[f"{split}_label"]) for split in x}
            meta = json.loads(str(file["meta"]))
        if not all(bool(part.isfinite().all()) for part in x.values()):
            raise ValueError(f"{path} has features that are not finite: the training diverged.")
        return cls(meta, x, label, int(label["train"].max()) + 1)

    @property
    def contestant(self) -> str:
        """Name in the table."""
        name: str = self.meta["name"]
        return name if self.meta["steps"] or name == "raw pixels" else f"{name}, untrained"

    def embed(self, batch: dict[str, Tensor]) -> Tensor:
        """The features are the batch."""
        return batch["x"]

    def evaluation_dataloader(self, split: str) -> Iterator[dict[str, Tensor]]:
        """The whole split as one batch."""
        yield {"x": self.x[split], "label": self.label[split]}


def same_pictures(files: Sequence[Stored]) -> None:
    """Refuse files that were made of different pictures or at different lengths.

    Raises:
        ValueError: If they were.
    """
    for file in files[1:]:
        for split, label in file.label.items():
            if not torch.equal(label, files[0].label[split]):
                raise ValueError(
                    f"{file.contestant} and {files[0].contestant} have different labels in {split}: "
                    "make all feature files by the same version of the scripts."
                )
    trained = sorted({file.meta["steps"] for file in files if file.meta["steps"]})
    if len(trained) > 1:
        raise ValueError(f"The files were trained for {trained} steps: compare those of one length only.")


def _mean(values: Iterable[float], form: str) -> str:
    values = list(values)
    spread = f" ± {form % statistics.stdev(values)}" if len(values) > 1 else ""
    return form % statistics.fmean(values) + spread


def _cost(files: Sequence[Stored]) -> list[str]:
    trained = [file.meta for file in files if file.meta["train"]]
    if not trained:
        return ["-"] * 3
    return [
        _mean((meta["train"]["images_per_s"] for meta in trained), "%.0f"),
        _mean((1000 * meta["train"]["cpu_seconds_per_step"] for meta in trained), "%.0f"),
        _mean((meta["peak_mib"] - (meta["before_mib"] or 0) for meta in trained), "%.0f"),
    ]


def table(files: Sequence[Stored], budgets: Sequence[int | None], draws: int) -> tuple[str, dict[str, Any]]:
    """The Markdown table, and its accuracies by contestant, file, probe, budget and split."""
    same_pictures(files)
    groups: dict[str, list[tuple[Stored, Table]]] = {}
    for file in files:
        scores = evaluate(
            file, file, budgets=budgets, probes=PROBES, baselines=(), draws=draws, progress=False
        )
        groups.setdefault(file.contestant, []).append((file, scores))
    shown = list(
        dict.fromkeys((row.probe, row.budget) for group in groups.values() for row in group[0][1].rows)
    )
    head = ["contestant", "seeds", *(f"{probe} {budget}" for probe, budget in shown)]
    head += ["images/s", "CPU ms/step", "MiB added"]
    rows = []
    for name, group in groups.items():
        cells = [name, str(len(group))]
        for probe, budget in shown:
            found = [
                100 * row.value
                for _, scores in group
                for row in scores.select(probe=probe, budget=budget, split="test")
            ]
            cells.append(_mean(found, "%.1f") if found else "-")
        rows.append(cells + _cost([file for file, _ in group]))
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    figures = {
        name: [{"meta": file.meta, **json.loads(scores.to_json())} for file, scores in group]
        for name, group in groups.items()
    }
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n", figures


def main() -> None:
    """Read, evaluate, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", type=Path, nargs="+", help="feature files, .npz")
    parser.add_argument("--budgets", type=int, nargs="*", default=[10, 100], help="beside all labels")
    parser.add_argument("--draws", type=int, default=3, help="draws of the labels of each budget")
    parser.add_argument(
        "--out", type=Path, help="also write the table here, and all figures beside it (.json)"
    )
    args = parser.parse_args()
    text, figures = table([Stored.read(path) for path in args.files], [*args.budgets, None], args.draws)
    print(text, end="")
    if args.out:
        args.out.write_text(text, encoding="utf-8")
        args.out.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
