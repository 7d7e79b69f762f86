# SPDX-License-Identifier: Apache-2.0
"""Masks for sequences of patches."""

from conjoin.biosignal.masking.runs import RunMask

__all__ = ("RunMask",)
