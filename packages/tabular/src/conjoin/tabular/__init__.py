# SPDX-License-Identifier: Apache-2.0
"""Tables for conjoin: columns as tokens, data modules, T-JEPA and its converters."""

from conjoin.tabular.convert.commands import CONVERTERS
from conjoin.tabular.data import (
    ALOI,
    Adult,
    CaliforniaHousing,
    EmbeddedTable,
    Helena,
    Higgs,
    Jannis,
    TableFile,
    TableModule,
)
from conjoin.tabular.encoders import ColumnTokenizer, RowEncoder
from conjoin.tabular.masking import RepeatedSubsetMask
from conjoin.tabular.methods import TJEPA
from conjoin.tabular.schema import Schema
from conjoin.tabular.table import Table

__all__ = (
    "ALOI",
    "CONVERTERS",
    "TJEPA",
    "Adult",
    "CaliforniaHousing",
    "ColumnTokenizer",
    "EmbeddedTable",
    "Helena",
    "Higgs",
    "Jannis",
    "RepeatedSubsetMask",
    "RowEncoder",
    "Schema",
    "Table",
    "TableFile",
    "TableModule",
)
