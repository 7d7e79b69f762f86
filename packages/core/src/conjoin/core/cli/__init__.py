# SPDX-License-Identifier: Apache-2.0
"""The ``conjoin`` command. Nothing heavy is imported before a sub-command needs it."""

from conjoin.core.cli.main import main

__all__ = ("main",)
