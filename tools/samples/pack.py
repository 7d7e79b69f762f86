# SPDX-License-Identifier: Apache-2.0
"""Write one embedded set and its entry in the manifest."""

import hashlib
import io
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TARGET = Path(__file__).parents[2] / "packages/samples/src/conjoin/samples"
# Raw bytes of pictures: no alignment to words, a dictionary wider than any set.
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 0, "lp": 0, "pb": 0}]


def pack(name: str, arrays: dict[str, NDArray[Any]], entry: dict[str, Any], *, context_bits: int = 0) -> None:
    """Write ``data/NAME.npz.xz`` and put ``entry``, with file, size and hash, into the manifest.

    Args:
        name: The set.
        arrays: What it holds; the order is kept, so the same arrays give the same bytes.
        entry: Source, package, version, licence, counts, split rule, script.
        context_bits: LZMA's literal context; 0 suits gray pictures, 3 flat colours.
    """
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    packed = lzma.compress(buffer.getvalue(), filters=[_FILTERS[0] | {"lc": context_bits}])
    path = TARGET / "data" / f"{name}.npz.xz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed)
    manifest_path = TARGET / "manifest.json"
    manifest = json.loads(manifest_path.read_text()) if manifest_path.exists() else {}
    manifest[name] = entry | {
        "file": f"data/{name}.npz.xz",
        "bytes": len(packed),
        "sha256": hashlib.sha256(packed).hexdigest(),
    }
    manifest_path.write_text(json.dumps(dict(sorted(manifest.items())), indent=2) + "\n")
    print(f"{path}: {len(packed) / 1e6:.2f} MB, {manifest[name]['sha256']}")


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
