# SPDX-License-Identifier: Apache-2.0
"""Tables: embedded ones, the benchmarks of the field, and files of your own."""

from conjoin.tabular.data.benchmarks import (
    ALOI,
    Adult,
    Benchmark,
    CaliforniaHousing,
    Helena,
    Higgs,
    Jannis,
)
from conjoin.tabular.data.embedded import EmbeddedTable
from conjoin.tabular.data.files import TableFile
from conjoin.tabular.data.module import Source, TableDataset, TableModule, split_rows
from conjoin.tabular.data.readers import read_arff, read_cells, read_csv, read_parquet

__all__ = (
    "ALOI",
    "Adult",
    "Benchmark",
    "CaliforniaHousing",
    "EmbeddedTable",
    "Helena",
    "Higgs",
    "Jannis",
    "Source",
    "TableDataset",
    "TableFile",
    "TableModule",
    "read_arff",
    "read_cells",
    "read_csv",
    "read_parquet",
    "split_rows",
)
