# SPDX-License-Identifier: Apache-2.0
"""From signals to tokens."""

from conjoin.biosignal.tokenizers.patch1d import PatchEmbed1d

__all__ = ("PatchEmbed1d",)
