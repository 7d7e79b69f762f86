# SPDX-License-Identifier: Apache-2.0
"""Makes ``writing`` importable under importlib mode."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
