# SPDX-License-Identifier: Apache-2.0
"""Rebuild the embedded part of Fashion-MNIST from the Debian package dataset-fashion-mnist.

    python tools/samples/fashion.py [--source FOLDER] [--cache FOLDER]

The four official idx.gz files are looked for in --source, $CONJOIN_DATA/fashion-mnist and
/usr/share/datasets/fashion-mnist; otherwise the package is downloaded (not installed) and unpacked into the
cache.
"""

import argparse
import gzip
import os
import subprocess
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pack import pack, sha256

from conjoin.core.random import key, permutation

PACKAGE = "dataset-fashion-mnist"
FILES = {
    "train-images-idx3-ubyte.gz": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    "train-labels-idx1-ubyte.gz": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    "t10k-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "t10k-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
}
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
TRAIN, VALIDATION, TEST = 1000, 200, 200


def find(source: Path | None, cache: Path) -> Path:
    """The folder with the four files."""
    candidates = [source] if source else []
    if "CONJOIN_DATA" in os.environ:
        candidates.append(Path(os.environ["CONJOIN_DATA"]) / "fashion-mnist")
    candidates += [Path("/usr/share/datasets/fashion-mnist"), cache / "usr/share/datasets/fashion-mnist"]
    for folder in candidates:
        if all((folder / name).is_file() for name in FILES):
            return folder
    if source:
        raise SystemExit(f"{source} does not hold {', '.join(FILES)}.")
    cache.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "download", PACKAGE], cwd=cache, check=True)
    subprocess.run(["dpkg-deb", "-x", str(next(cache.glob(f"{PACKAGE}_*.deb"))), str(cache)], check=True)
    return candidates[-1]


def read(folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pictures (N, 28, 28) and labels (N,) of the official train or t10k file."""
    images = np.frombuffer(
        gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16
    )
    labels = np.frombuffer(
        gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8
    )
    return images.reshape(-1, 28, 28), labels


def choose(labels: NDArray[np.uint8], purpose: str, count: int) -> list[NDArray[np.int64]]:
    """For each label, ``count`` of its indices in keyed order."""
    chosen = []
    for label in range(len(CLASSES)):
        members = np.flatnonzero(labels == label)
        order = permutation(torch.tensor([key(0, purpose, label)]), len(members))[0].numpy()
        chosen.append(members[order[:count]])
    return chosen


def main() -> None:
    """Read, choose, pack."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, help="folder with the official idx.gz files")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/conjoin/fashion")
    options = parser.parse_args()
    folder = find(options.source, options.cache)
    for name, expected in FILES.items():
        if sha256(folder / name) != expected:
            raise SystemExit(
                f"{folder / name} is not the file of the package: SHA-256 {sha256(folder / name)}."
            )
    images, labels = read(folder, "train")
    test_images, test_labels = read(folder, "t10k")
    picked = choose(labels, "fashion-split", TRAIN + VALIDATION)
    # Ascending official order inside a split: labels come mixed, and the order says nothing about the draw.
    train = np.sort(np.concatenate([members[:TRAIN] for members in picked]))
    validation = np.sort(np.concatenate([members[TRAIN:] for members in picked]))
    test = np.sort(np.concatenate(choose(test_labels, "fashion-test", TEST)))
    arrays = {
        "train_images": images[train],
        "validation_images": images[validation],
        "test_images": test_images[test],
        "train_labels": labels[train],
        "validation_labels": labels[validation],
        "test_labels": test_labels[test],
        # Positions in the official files, so that anyone can find the rest.
        "train_source": train.astype(np.uint16),
        "validation_source": validation.astype(np.uint16),
        "test_source": test.astype(np.uint16),
        "class_names": np.array(CLASSES),
    }
    entry = {
        "title": "Fashion-MNIST, 14,000 of 70,000 pictures",
        "source": "https://github.com/zalandoresearch/fashion-mnist",
        "package": f"Debian {PACKAGE}",
        "version": "0.0~git20200523.55506a9-1",
        "licence": "MIT",
        "licence_files": ["licences/fashion-mnist.txt"],
        "count": len(train) + len(validation) + len(test),
        "splits": {"train": len(train), "validation": len(validation), "test": len(test)},
        "split_rule": (
            "per label, over ascending indices: permutation(key(0, 'fashion-split', label)) of the "
            "official training "
            f"file, the first {TRAIN} to train, the next {VALIDATION} to validation; permutation(key(0, "
            "'fashion-test', "
            f"label)) of the official test file, the first {TEST} to test; each split in ascending "
            "official order"
        ),
        "script": "tools/samples/fashion.py",
        "source_sha256": FILES,
    }
    pack("fashion", arrays, entry)


if __name__ == "__main__":
    main()
