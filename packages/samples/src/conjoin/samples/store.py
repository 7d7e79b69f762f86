# SPDX-License-Identifier: Apache-2.0
"""Reading embedded files: the manifest, the check of the hash, the decompression.

A set is an uncompressed ``.npz`` inside one ``.xz`` stream: for raw pictures that is smaller than compressing
each array by itself as ``.npz`` does, and needs NumPy and the standard library only.
"""

import difflib
import hashlib
import io
import json
import lzma
from importlib.resources import files
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

__all__ = ("SampleError", "arrays", "licence", "manifest", "names")

_REINSTALL = "reinstall conjoin-samples (python -m pip install --force-reinstall --no-deps conjoin-samples)"


class SampleError(RuntimeError):
    """An embedded file is missing or is not the one that the manifest describes."""


def _read(path: str) -> bytes:
    try:
        return files("conjoin.samples").joinpath(path).read_bytes()
    except OSError as error:
        raise SampleError(
            f"The embedded file {path} of conjoin-samples cannot be read ({error}): {_REINSTALL}."
        ) from error


def manifest() -> dict[str, dict[str, Any]]:
    """What is embedded: per set its source, version, licence, counts, splits, SHA-256 and script."""
    return cast("dict[str, dict[str, Any]]", json.loads(_read("manifest.json")))


def names() -> tuple[str, ...]:
    """Names of the embedded sets."""
    return tuple(manifest())


def entry(name: str) -> dict[str, Any]:
    """The manifest's entry of one set.

    Raises:
        ValueError: If there is no such set; the message has the nearest name.
    """
    known = manifest()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}."
        raise ValueError(f"No embedded set is called {name!r}: {hint}")
    return known[name]


def licence(name: str) -> str:
    """Licence and attribution of a set, as text to be passed on with its pictures."""
    return "\n\n".join(_read(path).decode() for path in entry(name)["licence_files"])


def arrays(name: str) -> dict[str, NDArray[Any]]:
    """The arrays of a set, its hash checked.

    Raises:
        ValueError: If there is no such set.
        SampleError: If the file is missing, damaged or not the one of the manifest.
    """
    described = entry(name)
    path = described["file"]
    packed = _read(path)
    found = hashlib.sha256(packed).hexdigest()
    if found != described["sha256"]:
        raise SampleError(
            f"The embedded file {path} has SHA-256 {found[:12]}..., but the manifest says "
            f"{described['sha256'][:12]}...: it is damaged or was changed; {_REINSTALL}."
        )
    with np.load(io.BytesIO(lzma.decompress(packed)), allow_pickle=False) as stored:
        return {key: stored[key] for key in stored.files}
