# SPDX-License-Identifier: Apache-2.0
"""WFDB records: a text header and a binary file of samples.

Format 16 (little-endian int16, leads interleaved), in which PTB-XL, MIMIC-IV-ECG and the Challenge sets come,
is read here with NumPy alone; for every other format the library ``wfdb`` is imported.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from conjoin.core.data import CorruptSampleError

__all__ = ("Header", "Record", "RecordFiles", "read_header", "read_record")

_MILLIVOLTS = {"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "v": 1e3}
_FORMAT = re.compile(r"^(\d+)(x\d+)?(:\d+)?(?:\+(\d+))?$")
_GAIN = re.compile(r"^([-+.\deE]+)(?:\((-?\d+)\))?(?:/(\S+))?$")


@dataclass(frozen=True)
class _Lead:
    """One signal line of a header."""

    file: str
    format: str
    name: str
    offset: int
    gain: float
    baseline: int
    unit: str


@dataclass(frozen=True)
class Header:
    """What a header says.

    Attributes:
        path: Of the ``.hea`` file.
        rate: Samples per second.
        length: Samples per lead; None if the header does not tell.
        leads: Names of the leads.
        comments: Lines after ``#``.
    """

    path: Path
    rate: float
    length: int | None
    leads: tuple[str, ...]
    comments: tuple[str, ...]
    lines: tuple[_Lead, ...]

    @property
    def seconds(self) -> float | None:
        """Duration; None if the header does not tell."""
        return None if self.length is None else self.length / self.rate


@dataclass(frozen=True)
class Record:
    """A recording in physical units.

    Attributes:
        signal: float32 (C, T) in millivolts; NaN where a sample is missing.
        rate: Samples per second.
        leads: Names of the leads.
    """

    signal: NDArray[np.float32]
    rate: float
    leads: tuple[str, ...]


def read_header(path: str | Path) -> Header:
    """Read a ``.hea`` file.

    Args:
        path: Of the record, with or without ``.hea``.

    Raises:
        CorruptSampleError: If it is missing or not a header.
    """
    path = Path(f"{str(path).removesuffix('.hea')}.hea")
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise CorruptSampleError(f"{path} cannot be read ({error}).") from error
    lines = [line.strip() for line in text.splitlines()]
    comments = tuple(line[1:].strip() for line in lines if line.startswith("#"))
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    if not rows or len(rows[0]) < 2:
        raise CorruptSampleError(f"{path} is not a WFDB header: it has no line with a name and a count.")
    try:
        first = rows[0]
        rate = float(re.split(r"[/(]", first[2])[0]) if len(first) > 2 else 250.0
        length = int(first[3]) if len(first) > 3 and int(first[3]) else None
        segments = "/" in first[0]
        found = () if segments else tuple(_lead(row) for row in rows[1 : int(first[1]) + 1])
        if (not segments and len(found) != int(first[1])) or rate <= 0:
            raise ValueError(f"{first[1]} signals at {rate:g} Hz announced, {len(found)} described")
    except (IndexError, ValueError, AttributeError) as error:
        raise CorruptSampleError(f"{path} is not a WFDB header: {error}.") from error
    return Header(path, rate, length, tuple(lead.name for lead in found), comments, found)


def _lead(row: list[str]) -> _Lead:
    """One signal line: file, format, gain, resolution, zero, first value, checksum, block size, name."""
    kind = _FORMAT.match(row[1])
    gain = _GAIN.match(row[2]) if len(row) > 2 else None
    if kind is None or (len(row) > 2 and gain is None):
        raise ValueError(f"signal line {' '.join(row)!r}")
    zero = int(row[4]) if len(row) > 4 else 0
    value = float(gain[1]) if gain else 0.0
    plain = kind[2] is None or kind[2] == "x1"
    return _Lead(
        file=row[0],
        format=kind[1] if plain and kind[3] is None else row[1],
        name=" ".join(row[8:]),
        offset=int(kind[4] or 0),
        gain=value or 200.0,  # the format's own default
        baseline=int(gain[2]) if gain and gain[2] else zero,
        unit=(gain[3] if gain and gain[3] else "mV").lower(),
    )


def read_record(path: str | Path) -> Record:
    """Read a record.

    Args:
        path: Of the record, with or without ``.hea``.

    Raises:
        CorruptSampleError: If a file is missing, damaged, or not of voltages.
    """
    header = read_header(path)
    files = {lead.file for lead in header.lines}
    if len(files) != 1 or any(lead.format != "16" for lead in header.lines):
        return _by_library(header)
    data = header.path.parent / header.lines[0].file
    try:
        raw = data.read_bytes()[header.lines[0].offset :]
    except OSError as error:
        raise CorruptSampleError(
            f"{header.path} names the data file {data.name}, which cannot be read ({error.strerror})."
        ) from error
    leads = len(header.lines)
    length = header.length or len(raw) // (2 * leads)
    if len(raw) < 2 * leads * length or not length:
        raise CorruptSampleError(
            f"{data} has {len(raw) // (2 * leads)} samples per lead, but its header announces {length}."
        )
    stored = np.frombuffer(raw, "<i2", count=length * leads).reshape(length, leads).T
    signal = stored.astype(np.float32)
    signal[stored == -32768] = np.nan  # the format's mark of a missing sample
    baseline = np.array([[lead.baseline] for lead in header.lines], np.float32)
    scale = np.array([[_unit(header, lead) / lead.gain] for lead in header.lines], np.float32)
    return Record((signal - baseline) * scale, header.rate, header.leads)


@dataclass(frozen=True)
class RecordFiles:
    """Number to recording, over files below a folder; plain values, so that worker processes can be sent it.

    Args:
        root: The folder.
        names: Path of each record below it.
    """

    root: Path
    names: Sequence[str]

    def __call__(self, index: int) -> Record:
        """The recording of that number, see :func:`read_record`."""
        return read_record(self.root / self.names[index])


def _unit(header: Header, lead: _Lead) -> float:
    if lead.unit not in _MILLIVOLTS:
        raise CorruptSampleError(f"{header.path}: lead {lead.name} is in {lead.unit!r}, not in volts.")
    return _MILLIVOLTS[lead.unit]


def _by_library(header: Header) -> Record:
    try:
        import wfdb
    except ImportError as error:
        raise ImportError(
            f"{header.path} is not in WFDB format 16: install wfdb to read it (python -m pip install "
            "'conjoin-biosignal[wfdb]')."
        ) from error
    try:
        found = wfdb.rdrecord(str(header.path.with_suffix("")))
    except Exception as error:  # the library lets everything through that NumPy or the file system raises
        raise CorruptSampleError(f"{header.path} cannot be read by wfdb: {error}.") from error
    scale = np.array([_MILLIVOLTS.get(str(unit).lower(), np.nan) for unit in found.units])
    if np.isnan(scale).any():
        raise CorruptSampleError(f"{header.path} has units {found.units}, not volts.")
    return Record((found.p_signal * scale).T.astype(np.float32), float(found.fs), tuple(found.sig_name))
