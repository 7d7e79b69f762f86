# SPDX-License-Identifier: Apache-2.0
"""PTB-XL: 21,799 clinical 12-lead ECGs of 10 s with SCP-ECG statements.

Wagner et al., "PTB-XL, a large publicly available electrocardiography dataset", Scientific Data 7 (2020);
tasks and folds of Strodthoff et al., "Deep Learning for ECG Analysis: Benchmarks and Insights from PTB-XL"
(arXiv 2004.13701): folds 1 to 8 train, 9 validates, 10 tests; a statement counts whatever its likelihood,
which is 0 where unknown.
"""

import ast
import csv
from pathlib import Path
from typing import Literal, Unpack, get_args

import numpy as np

from conjoin.biosignal.data.leads import STATISTICS, Statistics
from conjoin.biosignal.data.module import SignalModule, SignalOptions, require
from conjoin.biosignal.data.records import Preparation, RecordDataset
from conjoin.biosignal.data.wfdb_record import RecordFiles
from conjoin.core.data import Split

__all__ = ("PTBXL", "Task", "statements")

Task = Literal["all", "diagnostic", "subdiagnostic", "superdiagnostic", "form", "rhythm"]
_FOLDS: dict[Split, range] = {"train": range(1, 9), "val": range(9, 10), "test": range(10, 11)}


def statements(path: str | Path, task: Task) -> dict[str, str]:
    """Code to label of a task, from ``scp_statements.csv``.

    Raises:
        ValueError: If the table lacks a column, or no statement belongs to the task.
    """
    columns = {"subdiagnostic": "diagnostic_subclass", "superdiagnostic": "diagnostic_class"}
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        rows = [dict(zip(["code", *header[1:]], row, strict=False)) for row in reader]
    flag = "diagnostic" if task in columns else task
    wanted = {flag, columns.get(task, flag)} - {"all"}
    if not wanted <= set(header):
        raise ValueError(
            f"{path} has no column {', '.join(sorted(wanted - set(header)))}: is it scp_statements.csv?"
        )
    chosen = [row for row in rows if task == "all" or (row[flag] and float(row[flag]) == 1.0)]
    labels = {row["code"]: row.get(columns.get(task, ""), "") or row["code"] for row in chosen}
    if not labels:
        raise ValueError(f"{path} has no statement of the task {task!r}.")
    return labels


class PTBXL(SignalModule):
    """PTB-XL in the folder layout of PhysioNet.

    Needs ``ptbxl_database.csv``, ``scp_statements.csv`` and ``records500`` or ``records100``. Samples have
    ``labels`` (L,) and ``label``; recordings without a label of the task are left out of every split.

    Args:
        root: The folder.
        task: Which statements are labels; None for none, and then all recordings.
        rate: 500 reads ``records500``, 100 ``records100``.
        window: Samples that the encoder sees; all ten seconds if not given.
        statistics: Mean and deviation per lead; those of the release if not given.
        highpass: Cut-off of a zero-phase high-pass filter in hertz; None for none, as in the paper.
        cache: Folder for prepared recordings; None prepares at each access.
        **options: See :class:`~conjoin.biosignal.data.module.SignalOptions`.

    Raises:
        FileNotFoundError: If a table is missing.
        ValueError: If an argument or a table is not as it must be.
    """

    def __init__(
        self,
        root: str | Path,
        task: Task | None = "all",
        rate: Literal[100, 500] = 500,
        window: int | None = None,
        *,
        statistics: Statistics | None = None,
        highpass: float | None = None,
        cache: str | Path | None = None,
        **options: Unpack[SignalOptions],
    ) -> None:
        if rate not in (100, 500):
            raise ValueError(f"PTB-XL comes at 100 and at 500 Hz, not at {rate}.")
        if task is not None and task not in get_args(Task):
            raise ValueError(f"task must be one of {', '.join(get_args(Task))}, or None, not {task!r}.")
        super().__init__(window or 10 * rate, **options)
        self.root = Path(root)
        self.preparation = Preparation(rate=float(rate), highpass=highpass)
        self.lead_names = self.preparation.leads
        self.statistics = statistics or STATISTICS["ptb-xl"]
        self.cache = cache
        names = (
            statements(require(self.root / "scp_statements.csv", "The table of statements"), task)
            if task
            else {}
        )
        self.label_names = tuple(sorted(set(names.values()))) or None
        if self.label_names:
            self.class_names, self.num_classes = self.label_names, len(self.label_names)
        column = {name: number for number, name in enumerate(self.label_names or ())}
        self.paths: list[str] = []
        self.patients: list[int] = []
        folds, labels = [], []
        path = require(self.root / "ptbxl_database.csv", "The table of recordings")
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            needed = {"patient_id", "scp_codes", "strat_fold", "filename_lr", "filename_hr"}
            if not needed <= set(reader.fieldnames or ()):
                raise ValueError(
                    f"{path} has no column {', '.join(sorted(needed - set(reader.fieldnames or ())))}: is it "
                    "ptbxl_database.csv?"
                )
            for row in reader:
                codes = _codes(row["scp_codes"], path)
                multi = np.zeros(len(column), np.float32)
                multi[[column[names[code]] for code in codes if code in names]] = 1
                if task is None or multi.any():
                    self.paths.append(row["filename_hr" if rate == 500 else "filename_lr"])
                    self.patients.append(_number(row, "patient_id", path))
                    folds.append(_number(row, "strat_fold", path))
                    labels.append(multi)
        self.folds = np.array(folds)
        self.labels = np.stack(labels) if labels else np.zeros((0, len(column)), np.float32)

    def build(self, split: Split) -> RecordDataset:
        """The recordings of the split's folds.

        Raises:
            ValueError: If there are none.
        """
        chosen = np.flatnonzero(np.isin(self.folds, _FOLDS[split]))
        if not len(chosen):
            raise ValueError(
                f"{self.root} has no labelled recording in folds {list(_FOLDS[split])} ({split})."
            )
        paths = [self.paths[position] for position in chosen]
        return RecordDataset(
            paths,
            RecordFiles(self.root, paths),
            self.preparation,
            self.statistics,
            labels=self.labels[chosen] if self.label_names else None,
            window=self.window,
            cache=self.cache,
        )


def _number(row: dict[str, str], column: str, path: Path) -> int:
    try:
        return int(float(row[column]))
    except ValueError as error:
        record = row.get("ecg_id", "?")
        raise ValueError(f"{path}: {column} of recording {record} is {row[column]!r}, no number.") from error


def _codes(text: str, path: Path) -> dict[str, float]:
    try:
        codes = ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise ValueError(f"{path}: scp_codes {text!r} is not a dictionary.") from error
    return dict(codes)
