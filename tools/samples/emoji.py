# SPDX-License-Identifier: Apache-2.0
"""Rebuild the embedded emoji from npm packages: emoji-datasource-google and -twitter, 16.0.0.

    python tools/samples/emoji.py [--cache FOLDER]

Skin tones and the man/woman forms of a neutral emoji (families among them) are left out: they are near
duplicates of another picture, which would then lie in train and test at once. Pictures are put on white.
"""

import argparse
import json
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pack import pack, sha256
from PIL import Image

from conjoin.core.random import key, permutation

VERSION = "16.0.0"
ARCHIVES = {
    "google": "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
    "twitter": "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
}
SIZE = 64
SHARES = (0.7, 0.1)  # train, validation; the rest is test
# Woman and man sign at the end; woman or man joined with something.
GENDERED = ("-200D-2640", "-200D-2642", "1F469-200D-", "1F468-200D-")


def archive(vendor: str, cache: Path) -> tarfile.TarFile:
    """The npm package of a vendor, fetched if it is not in the cache, its hash checked."""
    path = cache / f"emoji-datasource-{vendor}-{VERSION}.tgz"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", f"emoji-datasource-{vendor}@{VERSION}"], cwd=cache, check=True)
    if sha256(path) != ARCHIVES[vendor]:
        raise SystemExit(f"{path} is not the package of the registry: SHA-256 {sha256(path)}.")
    return tarfile.open(path)


def picture(package: tarfile.TarFile, vendor: str, name: str) -> NDArray[np.uint8]:
    """One drawing on white, (64, 64, 3)."""
    member = package.extractfile(f"package/img/{vendor}/{SIZE}/{name}")
    assert member is not None
    drawing = Image.open(member).convert("RGBA")
    canvas = Image.new("RGBA", drawing.size, "white")
    canvas.alpha_composite(drawing)
    # Some drawings of the package are a few pixels off 64 x 64.
    return np.asarray(canvas.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def main() -> None:
    """Read, choose, pack."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/conjoin/emoji")
    options = parser.parse_args()
    packages = {vendor: archive(vendor, options.cache) for vendor in ARCHIVES}
    listing = packages["google"].extractfile("package/emoji.json")
    assert listing is not None
    rows = [
        row
        for row in sorted(json.load(listing), key=lambda row: row["sort_order"])
        if all(row[f"has_img_{vendor}"] for vendor in ARCHIVES)
        and row["category"] != "Component"
        and not any(mark in row["unified"] for mark in GENDERED)
    ]
    categories = sorted({row["category"] for row in rows})
    subcategories = sorted({row["subcategory"] for row in rows})
    labels = np.array([categories.index(row["category"]) for row in rows], np.uint8)
    split = np.full(len(rows), 2, np.uint8)
    for label in range(len(categories)):
        members = np.flatnonzero(labels == label)
        order = permutation(torch.tensor([key(0, "emoji-split", label)]), len(members))[0].numpy()
        first = round(SHARES[0] * len(members))
        second = first + round(SHARES[1] * len(members))
        split[members[order[:first]]] = 0
        split[members[order[first:second]]] = 1
    arrays = {
        f"images_{vendor}": np.stack([picture(package, vendor, row["image"]) for row in rows])
        for vendor, package in packages.items()
    } | {
        "labels": labels,
        "sublabels": np.array([subcategories.index(row["subcategory"]) for row in rows], np.uint8),
        "split": split,
        "captions": np.array([row["name"].lower() for row in rows]),
        "class_names": np.array(categories),
        "subclass_names": np.array(subcategories),
        "vendors": np.array(list(packages)),
    }
    entry = {
        "title": "Emoji drawn by Google (Noto Emoji) and Twitter (Twemoji)",
        "source": "https://github.com/iamcal/emoji-data",
        "package": "npm emoji-datasource-google, emoji-datasource-twitter",
        "version": VERSION,
        "licence": "Apache-2.0 (Noto Emoji), CC-BY-4.0 (Twemoji), MIT (names and categories)",
        "licence_files": ["licences/emoji.txt"],
        "count": len(rows),
        "drawings": 2 * len(rows),
        "splits": {name: int((split == n).sum()) for n, name in enumerate(("train", "validation", "test"))},
        "split_rule": (
            "by emoji, both drawings together: per category (sorted by name), over ascending Unicode order, "
            "permutation(key(0, 'emoji-split', category)): 70 % train, 10 % validation, the rest test"
        ),
        "script": "tools/samples/emoji.py",
        "source_sha256": ARCHIVES,
    }
    pack("emoji", arrays, entry, context_bits=3)


if __name__ == "__main__":
    main()
