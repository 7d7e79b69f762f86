# SPDX-License-Identifier: Apache-2.0
"""Rebuild the embedded notes: sixteen instruments of a General MIDI SoundFont, played by TinySoundFont.

    python -m pip install --no-deps tinysoundfont==0.3.7
    python tools/samples/notes.py [--cache FOLDER]

The SoundFont TimGM6mb.sf2 is read from the wheel of the PyPI package pretty_midi; nothing of that is
installed or run. Every instrument plays the 40 pitches from E2 to G5 once, with a velocity, a length and a
place in the second of its own. Pitches are never in two splits.
"""

import argparse
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import tinysoundfont
import torch
from numpy.typing import NDArray
from pack import pack, sha256
from scipy.signal import resample_poly

from conjoin.core.random import key, permutation
from conjoin.samples.sounds import compress

VERSION, PLAYER = "0.2.11.post0", "0.3.7"
WHEEL = f"pretty_midi-{VERSION}-py3-none-any.whl"
SHA256 = "a3e2321736245a9c92259716d85a4762f16b7bde2f591fb0dba95bdb6e793d8a"
RATE, LENGTH = 8000, 8000
OVER = 4  # the player interpolates linearly: it renders at 32 kHz, and what lies above 4 kHz is filtered out
PITCHES = range(40, 80)
SHARES = {"train": 25, "validation": 5, "test": 10}  # pitches
# General MIDI programs, numbered from 0.
INSTRUMENTS = {
    "piano": 0,
    "harpsichord": 6,
    "vibraphone": 11,
    "marimba": 12,
    "church organ": 19,
    "accordion": 21,
    "guitar": 24,
    "violin": 40,
    "cello": 42,
    "harp": 46,
    "choir": 52,
    "trumpet": 56,
    "French horn": 60,
    "tenor saxophone": 66,
    "clarinet": 71,
    "flute": 73,
}
LEVEL = 0.5  # peak of a clip
QUIET = 0.003  # of the peak: what lies below at both ends is silence


def soundfont(cache: Path) -> Path:
    """The SoundFont, out of the package's wheel, fetched if it is not in the cache, its hash checked."""
    path = cache / WHEEL
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        command = ["pip", "download", "--no-deps", "--only-binary", ":all:", f"pretty_midi=={VERSION}"]
        subprocess.run([*command, "--dest", str(cache)], check=True)
    if sha256(path) != SHA256:
        raise SystemExit(f"{path} is not the wheel of the registry: SHA-256 {sha256(path)}.")
    with zipfile.ZipFile(path) as archive:
        return Path(archive.extract("pretty_midi/TimGM6mb.sf2", cache))


def play(font: Path, program: int, pitch: int, velocity: int, seconds: float) -> NDArray[np.float64]:
    """One note at 8 kHz with 0.15 s of its release, without the silence around it."""
    synth = tinysoundfont.Synth(samplerate=RATE * OVER)
    synth.program_select(0, synth.sfload(str(font)), 0, program)
    synth.noteon(0, pitch, velocity)
    parts = [np.frombuffer(bytes(synth.generate(round(seconds * RATE * OVER))), np.float32)]
    synth.noteoff(0, pitch)
    parts.append(np.frombuffer(bytes(synth.generate(round(0.15 * RATE * OVER))), np.float32))
    stereo = np.concatenate(parts).reshape(-1, 2)
    wave = resample_poly(stereo.mean(axis=1).astype(np.float64), 1, OVER)
    loud = np.flatnonzero(np.abs(wave) > QUIET * np.abs(wave).max())
    wave = wave[loud[0] : loud[-1] + 1][:LENGTH]
    # The end is faded over 10 ms, so that a long release does not click.
    wave[-80:] *= np.linspace(1, 0, 80)
    return np.asarray(wave / np.abs(wave).max() * LEVEL)


def main() -> None:
    """Play, place, compress, pack."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/conjoin/notes")
    font = soundfont(parser.parse_args().cache)
    order = permutation(torch.tensor([key(0, "notes-split")]), len(PITCHES))[0].tolist()
    arrays: dict[str, NDArray[Any]] = {}
    sizes, first = {}, 0
    for split, share in SHARES.items():
        pitches = sorted(PITCHES[place] for place in order[first : first + share])
        first += share
        waves, starts, labels, keys = [], [], [], []
        for label, program in enumerate(INSTRUMENTS.values()):
            for pitch in pitches:
                rng = np.random.default_rng((0, program, pitch))
                wave = play(font, program, pitch, int(rng.integers(50, 121)), float(rng.uniform(0.3, 0.6)))
                waves.append(wave)
                starts.append(rng.integers(LENGTH - len(wave) + 1))
                labels.append(label)
                keys.append(pitch)
        arrays |= {
            f"{split}_waves": compress(np.concatenate(waves)),
            f"{split}_lengths": np.array([len(wave) for wave in waves], np.uint16),
            f"{split}_starts": np.array(starts, np.uint16),
            f"{split}_labels": np.array(labels, np.uint8),
            f"{split}_pitches": np.array(keys, np.uint8),
        }
        sizes[split] = len(waves)
    arrays |= {"class_names": np.array(list(INSTRUMENTS)), "rate": np.array(RATE), "length": np.array(LENGTH)}
    entry = {
        "title": "Single notes of sixteen instruments, 40 pitches each, 1 s at 8 kHz, 8-bit mu-law",
        "source": "https://github.com/craffel/pretty-midi",
        "package": f"PyPI pretty_midi (TimGM6mb.sf2), rendered with tinysoundfont {PLAYER} by the script",
        "version": VERSION,
        "licence": "GPL-2.0-only (the SoundFont's sounds, which these renderings contain)",
        "licence_files": ["licences/notes.txt"],
        "count": sum(sizes.values()),
        "splits": sizes,
        "split_rule": (
            "by pitch: the 40 pitches in order permutation(key(0, 'notes-split'), 40), the first 25 train, "
            "the next "
            "5 validation, the last 10 test; ascending instrument and pitch inside a split"
        ),
        "script": "tools/samples/notes.py",
        "source_sha256": {"wheel": SHA256},
    }
    pack("notes", arrays, entry, context_bits=3)


if __name__ == "__main__":
    main()
