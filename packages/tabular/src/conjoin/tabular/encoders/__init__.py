# SPDX-License-Identifier: Apache-2.0
"""Columns as tokens: tokenizer, row encoder, predictor."""

from conjoin.tabular.encoders.block import PostNormBlock, PostNormTransformer
from conjoin.tabular.encoders.encoder import RowEncoder, column_positions
from conjoin.tabular.encoders.predictor import ColumnPredictor
from conjoin.tabular.encoders.tokenizer import ColumnTokenizer

__all__ = (
    "ColumnPredictor",
    "ColumnTokenizer",
    "PostNormBlock",
    "PostNormTransformer",
    "RowEncoder",
    "column_positions",
)
