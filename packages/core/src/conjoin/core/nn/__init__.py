# SPDX-License-Identifier: Apache-2.0
"""Layers: attention, transformer, predictor, positions on n-dimensional grids, pooling, initial weights."""

from conjoin.core.nn.attention import Attention
from conjoin.core.nn.block import Block, LayerScale, Mlp
from conjoin.core.nn.gather import gather_rows, gather_tokens
from conjoin.core.nn.init import Init, Linear, PatchProjection, init_weight_, reset_all
from conjoin.core.nn.mask_token import Hide, MaskToken
from conjoin.core.nn.pooling import AttentivePool, MeanPool
from conjoin.core.nn.positions import LearnedPositions, resize_positions, sincos_positions
from conjoin.core.nn.predictor import Predictor
from conjoin.core.nn.rotary import RotaryPositions
from conjoin.core.nn.transformer import Transformer

__all__ = (
    "Attention",
    "AttentivePool",
    "Block",
    "Hide",
    "Init",
    "LayerScale",
    "LearnedPositions",
    "Linear",
    "MaskToken",
    "MeanPool",
    "Mlp",
    "PatchProjection",
    "Predictor",
    "RotaryPositions",
    "Transformer",
    "gather_rows",
    "gather_tokens",
    "init_weight_",
    "reset_all",
    "resize_positions",
    "sincos_positions",
)
