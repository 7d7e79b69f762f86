# SPDX-License-Identifier: Apache-2.0
"""WFDB collections: the PhysioNet/Computing in Cardiology Challenge 2021 sets, and MIMIC-IV-ECG.

The Challenge's sets are folders of headers with a line ``# Dx: code,code`` of SNOMED CT codes; MIMIC-IV-ECG
has a table ``record_list.csv`` with the columns ``subject_id`` and ``path``.
"""

import csv
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from conjoin.biosignal.data.leads import STATISTICS, Statistics
from conjoin.biosignal.data.module import SignalModule, SignalOptions, held_out, require
from conjoin.biosignal.data.records import Preparation, RecordDataset, measure
from conjoin.biosignal.data.wfdb_record import Header, RecordFiles, read_header
from conjoin.core.data import CorruptSampleError, Split

__all__ = ("ChallengeECG", "MimicECG")

_CODES = re.compile(r"^Dx:\s*(.*)$")


class _Collection(SignalModule):
    """WFDB records under a folder, split by key over patients."""

    def __init__(
        self,
        root: str | Path,
        names: list[str],
        patients: NDArray[np.int64],
        labels: NDArray[np.float32] | None,
        statistics: Statistics | None,
        *,
        window: int,
        rate: float,
        highpass: float | None,
        val_fraction: float,
        test_fraction: float,
        split_seed: int,
        cache: str | Path | None,
        **options: Unpack[SignalOptions],
    ) -> None:
        super().__init__(window, **options)
        self.root = Path(root)
        self.names = names
        self.labels = labels
        self.cache = cache
        self.preparation = Preparation(rate=rate, highpass=highpass)
        self.lead_names = self.preparation.leads
        self._positions = held_out(patients, {"val": val_fraction, "test": test_fraction}, split_seed)
        self._statistics = statistics

    @property
    def statistics(self) -> Statistics:
        """Mean and deviation per lead, measured on training recordings if none were given."""
        if self._statistics is None:
            train = [self.names[position] for position in self._positions["train"]]
            self._statistics = measure(train, RecordFiles(self.root, train), self.preparation)
        return self._statistics

    def build(self, split: Split) -> RecordDataset:
        """The recordings of the patients of a split.

        Raises:
            ValueError: If there are none.
        """
        chosen = self._positions[split]
        if not len(chosen):
            raise ValueError(f"{self.root} has no {split} recordings: raise {split}_fraction or add data.")
        names = [self.names[position] for position in chosen]
        return RecordDataset(
            names,
            RecordFiles(self.root, names),
            self.preparation,
            self.statistics,
            labels=None if self.labels is None else self.labels[chosen],
            window=self.window,
            cache=self.cache,
        )


class ChallengeECG(_Collection):
    """One set of the Challenge: every header below a folder (CPSC, CPSC-Extra, PTB, Georgia, Ningbo ...).

    Recordings shorter than the window are left out with one warning, found from their headers.

    Args:
        root: The folder; headers are looked for at any depth.
        window: Samples that the encoder sees.
        rate: Samples per second to which recordings are brought (the sets have 257, 500 and 1000).
        codes: SNOMED CT codes that are labels; the ``most_common`` if not given.
        most_common: How many codes, if ``codes`` is not given.
        statistics: Mean and deviation per lead in millivolts; measured on the training part if not given.
        highpass: Cut-off of a zero-phase high-pass filter in hertz (0.5 for St-Petersburg in the paper).
        val_fraction: Share of recordings held out for validation.
        test_fraction: Share of recordings held out for testing.
        split_seed: Seed of the held-out splits, apart from the run's.
        cache: Folder for prepared recordings; None prepares at each access.
        **options: See :class:`~conjoin.biosignal.data.module.SignalOptions`.

    Raises:
        FileNotFoundError: If the folder is missing or has no header.
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        root: str | Path,
        window: int = 5000,
        rate: float = 500.0,
        *,
        codes: Sequence[str] | None = None,
        most_common: int = 26,
        statistics: Statistics | None = None,
        highpass: float | None = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        cache: str | Path | None = None,
        **options: Unpack[SignalOptions],
    ) -> None:
        folder = require(Path(root), "The folder of records")
        headers = _headers(folder, window / rate)
        found = [_diagnoses(header) for header in headers]
        if codes is None:
            counts = Counter(code for row in found for code in row)
            codes = sorted(
                code for code, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most_common]
            )
        labels = np.array([[code in row for code in codes] for row in found], np.float32)
        super().__init__(
            root,
            [str(header.path.relative_to(folder)) for header in headers],
            np.full(len(headers), -1, np.int64),
            labels if codes else None,
            statistics,
            window=window,
            rate=rate,
            highpass=highpass,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            split_seed=split_seed,
            cache=cache,
            **options,
        )
        if codes:
            self.label_names = self.class_names = tuple(codes)
            self.num_classes = len(codes)


def _headers(folder: Path, seconds: float) -> list[Header]:
    """Readable headers of recordings that are long enough."""
    headers, short, broken = [], 0, []
    for path in sorted(folder.rglob("*.hea")):
        try:
            header = read_header(path)
        except CorruptSampleError as error:
            broken.append(str(error))
            continue
        if header.seconds is not None and header.seconds < seconds:
            short += 1
        else:
            headers.append(header)
    if broken:
        warnings.warn(f"{len(broken)} headers cannot be read, the first being: {broken[0]}", stacklevel=4)
    if short:
        warnings.warn(
            f"{short} recordings in {folder} are shorter than {seconds:g} s: left out.", stacklevel=4
        )
    if not headers:
        raise FileNotFoundError(
            f"{folder} holds no WFDB header (*.hea) of a recording of {seconds:g} s or more."
        )
    return headers


def _diagnoses(header: Header) -> set[str]:
    for comment in header.comments:
        if match := _CODES.match(comment):
            return {code.strip() for code in match[1].split(",") if code.strip()}
    return set()


class MimicECG(_Collection):
    """MIMIC-IV-ECG: 800,035 recordings of 10 s at 500 Hz, without labels; splits keep patients together.

    Args:
        root: The folder with ``record_list.csv``.
        window: Samples that the encoder sees.
        rate: Samples per second to which recordings are brought.
        statistics: Mean and deviation per lead in millivolts; those of the release if not given.
        highpass: Cut-off of a zero-phase high-pass filter in hertz; None for none, as in the paper.
        val_fraction: Share of patients held out for validation.
        test_fraction: Share of patients held out for testing.
        split_seed: Seed of the held-out splits, apart from the run's.
        cache: Folder for prepared recordings; None prepares at each access.
        **options: See :class:`~conjoin.biosignal.data.module.SignalOptions`.

    Raises:
        FileNotFoundError: If the table is missing.
        ValueError: If the table is not MIMIC-IV-ECG's, or an argument is out of its range.
    """

    def __init__(
        self,
        root: str | Path,
        window: int = 5000,
        rate: float = 500.0,
        *,
        statistics: Statistics | None = None,
        highpass: float | None = None,
        val_fraction: float = 0.01,
        test_fraction: float = 0.01,
        split_seed: int = 0,
        cache: str | Path | None = None,
        **options: Unpack[SignalOptions],
    ) -> None:
        table = require(Path(root) / "record_list.csv", "The list of recordings")
        names, patients = [], []
        with table.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if "path" not in (reader.fieldnames or ()):
                raise ValueError(f"{table} has no column path: is it MIMIC-IV-ECG's record_list.csv?")
            for row in reader:
                names.append(row["path"])
                patients.append(int(row.get("subject_id") or -1))
        super().__init__(
            root,
            names,
            np.array(patients, np.int64),
            None,
            statistics or STATISTICS["mimic-iv-ecg"],
            window=window,
            rate=rate,
            highpass=highpass,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            split_seed=split_seed,
            cache=cache,
            **options,
        )
