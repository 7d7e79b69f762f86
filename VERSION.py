# SPDX-License-Identifier: Apache-2.0
"""The one version of every conjoin distribution."""

__version__ = "0.1.0"
