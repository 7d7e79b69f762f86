# SPDX-License-Identifier: Apache-2.0
"""Makes ``sound_files`` importable under importlib mode."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
