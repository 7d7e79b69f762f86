# SPDX-License-Identifier: Apache-2.0
"""Pickles that may hold NumPy arrays and plain values, and nothing that runs.

CIFAR's "python version" is a pickle of Python 2. Unpickling calls whatever the file names; here only the few
functions that rebuild an array may be named.
"""

import codecs
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core import multiarray

__all__ = ("load_arrays",)

_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): multiarray._reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): multiarray._reconstruct,
    ("_codecs", "encode"): codecs.encode,
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}") from None


def load_arrays(path: Path) -> Any:
    """Load a pickle of plain values and NumPy arrays; strings of Python 2 become bytes.

    Raises:
        ValueError: If the file is damaged or names anything else: it is then not run.
    """
    with path.open("rb") as file:
        try:
            return _ArraysOnly(file, encoding="bytes").load()
        except (
            pickle.UnpicklingError,
            EOFError,
            ValueError,
            TypeError,
            AttributeError,
            IndexError,
            KeyError,
        ) as error:
            raise ValueError(
                f"{path} is not a pickle of plain arrays ({error}): fetch the official file again."
            ) from error
