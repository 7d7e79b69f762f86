# SPDX-License-Identifier: Apache-2.0
"""Tables on disk: CSV (also compressed), ARFF, parquet, read into columns of cells.

CSV and ARFF need the standard library alone; parquet needs pyarrow.
"""

import csv
import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

__all__ = ("read_arff", "read_cells", "read_csv", "read_parquet")

Cells = dict[str, Sequence[Any]]


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """A text file, decompressed if its name ends in .gz."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}: check the path, or fetch the table.")
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig", newline="")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig", newline="")
        ) as file:
            yield file
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8 ({error}): convert it first.") from error
    except gzip.BadGzipFile as error:
        raise ValueError(f"{path} is no gzip file: fetch it again.") from error


def read_csv(path: Path, *, header: bool | None = True, delimiter: str = ",") -> Cells:
    """Cells of a CSV file by column.

    Args:
        path: The file; ``.gz`` is decompressed.
        header: Whether the first line has the names; otherwise they are ``"0"``, ``"1"`` ... None: it has,
            unless each of its cells is a number.
        delimiter: Between the cells.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If it is empty, a line has another number of cells than the first, or a name occurs twice.
    """
    with _opened(path) as file:
        lines = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
        rows = [(lines.line_num, row) for row in lines if row]
    if header is None:
        header = not (rows and all(map(_is_number, rows[0][1])))
    if not rows or (header and len(rows) == 1):
        raise ValueError(f"{path} holds no row.")
    names = [name.strip() for name in rows[0][1]] if header else [str(n) for n in range(len(rows[0][1]))]
    return _columns(path, names, rows[1:] if header else rows)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _columns(path: Path, names: list[str], rows: list[tuple[int, list[str]]]) -> Cells:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(
            f"{path} names the column {repeated[0]!r} more than once: rename it, or add the line of names if "
            "there is none."
        )
    for line, row in rows:
        if len(row) != len(names):
            raise ValueError(f"{path}, line {line}: {len(row)} cells where there are {len(names)} columns.")
    return dict(zip(names, zip(*(row for _, row in rows), strict=True), strict=True))


def read_arff(path: Path) -> tuple[Cells, frozenset[str]]:
    """Cells of an ARFF file (OpenML's format) and the names of its nominal and string columns.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If the header or a row is not understood; sparse rows are refused.
    """
    names: list[str] = []
    nominal: set[str] = set()
    rows: list[tuple[int, list[str]]] = []
    with _opened(path) as file:
        in_data = False
        for number, line in enumerate(file, 1):
            text = line.strip()
            if not text or text.startswith("%"):
                continue
            if in_data:
                if text.startswith("{"):
                    raise ValueError(
                        f"{path}, line {number}: sparse ARFF rows are not supported; store it as CSV."
                    )
                quote = "'" if "'" in text else '"'
                rows.append(
                    (
                        number,
                        [
                            cell.strip()
                            for cell in next(csv.reader([text], quotechar=quote, skipinitialspace=True))
                        ],
                    )
                )
            elif text.lower().startswith("@attribute"):
                name, kind = _attribute(path, number, text[len("@attribute") :].strip())
                names.append(name)
                if kind.startswith("{") or kind.lower().split()[0] in ("string", "date"):
                    nominal.add(name)
                elif kind.lower().split()[0] not in ("numeric", "real", "integer"):
                    raise ValueError(f"{path}, line {number}: {kind!r} is no type of an ARFF attribute.")
            elif text.lower().startswith("@data"):
                in_data = True
            elif not text.lower().startswith("@relation"):
                raise ValueError(f"{path}, line {number}: {text[:40]!r} is not a line of an ARFF header.")
    if not names or not rows:
        raise ValueError(f"{path} holds no {'row' if names else 'attribute'}: it is not a whole ARFF file.")
    return _columns(path, names, rows), frozenset(nominal)


def _attribute(path: Path, number: int, text: str) -> tuple[str, str]:
    """Name and type of an attribute declaration without its keyword."""
    if text[:1] in ("'", '"'):
        name, _, kind = text[1:].partition(text[0])
    else:
        name, _, kind = text.replace("\t", " ").partition(" ")
    if not name or not kind.strip():
        raise ValueError(f"{path}, line {number}: an attribute needs a name and a type, got {text[:40]!r}.")
    return name, kind.strip()


def read_parquet(path: Path) -> Cells:
    """Cells of a parquet file by column.

    Raises:
        FileNotFoundError: If the file is missing.
        ImportError: If pyarrow is not installed.
        ValueError: If the file cannot be read or holds no row.
    """
    try:
        from pyarrow import ArrowInvalid, parquet
    except ImportError as error:
        raise ImportError('Parquet needs pyarrow: pip install "conjoin-tabular[parquet]".') from error
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}: check the path, or fetch the table.")
    try:
        stored = parquet.read_table(path)
    except ArrowInvalid as error:
        raise ValueError(f"{path} is no readable parquet file ({error}).") from error
    if not stored.num_rows:
        raise ValueError(f"{path} holds no row.")
    return {name: stored.column(name).to_pylist() for name in stored.column_names}


def read_cells(path: Path, *, header: bool = True, delimiter: str = ",") -> tuple[Cells, frozenset[str]]:
    """Cells of a file by the end of its name, and the columns that the file itself declares as nominal.

    Raises:
        FileNotFoundError: If the file is missing.
        ImportError: If it is parquet and pyarrow is not installed.
        ValueError: If its format is unknown or it cannot be read.
    """
    name = path.name.removesuffix(".gz").lower()
    if name.endswith(".arff"):
        return read_arff(path)
    if name.endswith((".parquet", ".pq")):
        return read_parquet(path), frozenset()
    if name.endswith((".csv", ".tsv", ".txt", ".data")):
        return read_csv(
            path, header=header, delimiter="\t" if name.endswith(".tsv") else delimiter
        ), frozenset()
    raise ValueError(f"{path}: tables end in .csv, .tsv, .arff or .parquet (.csv.gz and so on too).")
