# SPDX-License-Identifier: Apache-2.0
"""Systems, one file each."""

from conjoin.tabular.methods.tjepa import TJEPA

__all__ = ("TJEPA",)
