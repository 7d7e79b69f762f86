# SPDX-License-Identifier: Apache-2.0
"""CODE-15: 345,779 12-lead ECGs at 400 Hz from Brazil, in HDF5 (Ribeiro et al., doi 10.5281/zenodo.4916206).

``exams.csv`` names for each exam the file that holds it; a file has ``exam_id`` (n,) and ``tracings``
(n, 4096, 12), zero-padded at both ends. As in the ECG-JEPA release only exams without padding in any lead are
kept.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import h5py
import numpy as np
from numpy.typing import NDArray

from conjoin.biosignal.data.leads import LEADS, STATISTICS, Statistics
from conjoin.biosignal.data.module import SignalModule, SignalOptions, held_out, require
from conjoin.biosignal.data.records import Preparation, RecordDataset
from conjoin.biosignal.data.wfdb_record import Record
from conjoin.core.data import CorruptSampleError, Split

__all__ = ("CODE15",)

RATE = 400.0
CONDITIONS = ("1dAVb", "RBBB", "LBBB", "SB", "ST", "AF")
_EDGE = 8  # samples of zero at an end that make a lead padded


class CODE15(SignalModule):
    """CODE-15 with its six abnormalities as labels; splits keep patients together.

    Args:
        root: The folder with ``exams.csv`` and the HDF5 files it names; absent files are passed over.
        window: Samples that the encoder sees.
        rate: Samples per second to which recordings are brought.
        statistics: Mean and deviation per lead; those of the release, taken after the filter, if not given.
        highpass: Cut-off of the zero-phase high-pass filter in hertz; None for none.
        val_fraction: Share of patients held out for validation.
        test_fraction: Share of patients held out for testing.
        split_seed: Seed of the held-out splits, apart from the run's.
        cache: Folder for prepared recordings; None prepares at each access.
        **options: See :class:`~conjoin.biosignal.data.module.SignalOptions`.

    Raises:
        FileNotFoundError: If the table or all HDF5 files are missing.
        ValueError: If a file or an argument is not as it must be.
    """

    def __init__(
        self,
        root: str | Path,
        window: int = 5000,
        rate: float = 500.0,
        *,
        statistics: Statistics | None = None,
        highpass: float | None = 0.5,
        val_fraction: float = 0.05,
        test_fraction: float = 0.05,
        split_seed: int = 0,
        cache: str | Path | None = None,
        **options: Unpack[SignalOptions],
    ) -> None:
        super().__init__(window, **options)
        self.root = Path(root)
        self.preparation = Preparation(rate=rate, highpass=highpass)
        self.lead_names = self.preparation.leads
        self.statistics = statistics or STATISTICS["code-15"]
        self.cache = cache
        self._rows = self._list(require(self.root / "exams.csv", "The table of exams"))
        patients = np.array([row[2] for row in self._rows], np.int64)
        self._positions = held_out(patients, {"val": val_fraction, "test": test_fraction}, split_seed)
        self.label_names = self.class_names = CONDITIONS
        self.num_classes = len(CONDITIONS)

    def _list(self, table: Path) -> list[tuple[str, int, int, NDArray[np.float32]]]:
        """File, row in it, patient and labels of every exam without padding."""
        exams: dict[str, dict[int, dict[str, str]]] = {}
        with table.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if not {"exam_id", "trace_file"} <= set(reader.fieldnames or ()):
                raise ValueError(f"{table} has no columns exam_id and trace_file: is it CODE-15's exams.csv?")
            for row in reader:
                exams.setdefault(row["trace_file"], {})[int(row["exam_id"])] = row
        found = []
        present = [name for name in sorted(exams) if (self.root / name).is_file()]
        if not present:
            raise FileNotFoundError(
                f"{table} names {len(exams)} HDF5 files, none of which is in {self.root}."
            )
        for name in present:
            for position, exam in _unpadded(self.root / name):
                row = exams[name].get(exam, {})
                if row:
                    labels = np.array([row.get(c, "").strip().lower() in ("true", "1") for c in CONDITIONS])
                    patient = int(float(row.get("patient_id") or -1))
                    found.append((name, position, patient, labels.astype(np.float32)))
        if not found:
            raise ValueError(f"{self.root} has no exam without padding.")
        return found

    def build(self, split: Split) -> RecordDataset:
        """The exams of the patients of a split.

        Raises:
            ValueError: If there are none.
        """
        rows = [self._rows[position] for position in self._positions[split]]
        if not rows:
            raise ValueError(f"{self.root} has no {split} exams: raise {split}_fraction or add files.")
        return RecordDataset(
            [f"{name}[{position}]" for name, position, *_ in rows],
            _Tracings(self.root, tuple((name, position) for name, position, *_ in rows)),
            self.preparation,
            self.statistics,
            labels=np.stack([row[3] for row in rows]),
            window=self.window,
            cache=self.cache,
        )


def _unpadded(path: Path) -> list[tuple[int, int]]:
    """Row and exam of the tracings in a file that have no padding."""
    try:
        with h5py.File(path) as file:
            exams, tracings = np.asarray(file["exam_id"]), file["tracings"]
            if tracings.ndim != 3 or tracings.shape[2] != len(LEADS):
                raise ValueError(f"{path}: tracings have the shape {tracings.shape}, not (n, samples, 12).")
            edges = np.asarray(tracings[:, :_EDGE]), np.asarray(tracings[:, -_EDGE:])
    except (OSError, KeyError) as error:
        raise ValueError(f"{path} is not an HDF5 file of CODE-15: {error}.") from error
    padded = (edges[0] == 0).all(axis=1).any(axis=1) | (edges[1] == 0).all(axis=1).any(axis=1)
    return [(int(row), int(exams[row])) for row in np.flatnonzero(~padded[: len(exams)])]


@dataclass(frozen=True)
class _Tracings:
    """Number to recording; plain values, so that worker processes can be sent it."""

    root: Path
    places: tuple[tuple[str, int], ...]

    def __call__(self, index: int) -> Record:
        name, row = self.places[index]
        # Opened at each access: an open HDF5 file does not survive the fork of a worker process.
        try:
            with h5py.File(self.root / name) as file:
                signal = np.asarray(file["tracings"][row], np.float32).T
        except (OSError, KeyError) as error:
            raise CorruptSampleError(f"{self.root / name}, row {row}: {error}.") from error
        return Record(signal, RATE, LEADS)
