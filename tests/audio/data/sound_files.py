# SPDX-License-Identifier: Apache-2.0
"""Tiny sound files and data sets in the layouts that are published."""

import csv
import json
from pathlib import Path

import numpy as np
import soundfile


def tone(hertz, rate=16_000, seconds=0.1, channels=1):
    x = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)
    return x if channels == 1 else np.stack([x] * channels, axis=1)


def write(path: Path, wave, rate=16_000, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate, **options)
    return path


def esc50(root: Path, without=()):
    """Three classes in five folds, one clip each, beside the other columns of the real table."""
    columns = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
    columns = [name for name in columns if name not in without]
    (root / "meta").mkdir(parents=True)
    with (root / "meta/esc50.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        for fold in range(1, 6):
            for target, (name, ten) in enumerate(
                (("dog", "True"), ("rain", "True"), ("vacuum_cleaner", "False"))
            ):
                file_name = f"{fold}-1000-A-{target}.wav"
                row = {"filename": file_name, "fold": fold, "target": target, "category": name}
                writer.writerow(row | {"esc10": ten, "src_file": 1000, "take": "A"})
                write(root / "audio" / file_name, tone(200 * (target + 1), 44_100), 44_100)
    return root


def speech_commands(root: Path):
    """Three words by four speakers, a noise folder and both lists."""
    for word in ("yes", "no", "bird"):
        for speaker in range(4):
            write(root / word / f"{speaker}abc_nohash_0.wav", tone(300 + speaker), 16_000)
    write(root / "_background_noise_/pink_noise.wav", tone(50))
    (root / "validation_list.txt").write_text(
        "".join(f"{w}/2abc_nohash_0.wav\n" for w in ("yes", "no", "bird"))
    )
    (root / "testing_list.txt").write_text("".join(f"{w}/3abc_nohash_0.wav\n" for w in ("yes", "no", "bird")))
    return root


def audioset(root: Path, clips=10):
    """Ten clips to train on and two to test, three labels."""
    root.mkdir(parents=True, exist_ok=True)
    rows = "".join(f'{n},/m/{n}x,"{name}"\n' for n, name in enumerate(("Speech", "Music", "Dog, barking")))
    (root / "class_labels_indices.csv").write_text("index,mid,display_name\n" + rows)
    for name, count in (("train", clips), ("eval", 2)):
        data = []
        for number in range(count):
            path = write(root / f"{name}/{number}.flac", tone(100 + 10 * number))
            marks = f"/m/{number % 3}x" + (",/m/2x" if number % 3 == 0 else "")
            # Absolute as in most published lists, and relative.
            data.append({"wav": str(path) if number % 2 else f"{name}/{number}.flac", "labels": marks})
        (root / f"{name}.json").write_text(json.dumps({"data": data}))
    return root
