# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from conjoin.core.report.headline import facts, headline_section, short_name
from conjoin.core.report.run import Run
from conjoin.core.report.subject import Subject


def test_facts_of_the_files_alone(run_dir: Path) -> None:
    found = dict(facts(Run.read(run_dir), None))
    assert found["system"] == "IJEPA"
    assert found["data"] == "ScatteredFashion"
    assert found["optimiser steps"] == "1\u202f200"
    assert found["epochs"] == "10"
    assert found["seed"] == "7"
    assert found["linear accuracy, all labels, test split"] == "43.0\u202f%"
    assert "parameters" not in found
    speed = Run.read(run_dir).series("throughput/samples_per_s").values
    minutes = float(found["training time"].split()[1])
    assert minutes == pytest.approx(1200 * 128 / sorted(speed)[len(speed) // 2] / 60, rel=0.05)


def test_parameters_come_from_the_model(run_dir: Path, subject: Subject) -> None:
    found = dict(facts(Run.read(run_dir), subject))
    count = 3 * 6 * 6 * 24 + 24 + 64 * 24
    assert found["parameters"].startswith(f"{count // 1000}\u202f{count % 1000:03d} in the encoder")
    assert found["token grid"] == "8 \u00d7 8"


def test_tiles_say_their_state_in_words_too(run_dir: Path) -> None:
    body = headline_section(Run.read(run_dir), None).body
    assert body.count("<li") == 6
    assert body.count('aria-label="good"') == 7
    assert "Healthy by every rule" in body
    assert body.count('class="rule"') == 6


def test_short_name() -> None:
    run = Run(Path("run"), settings={"model": {"class_path": "a.b.C"}, "data": "x"})
    assert short_name(run, "model") == "C"
    assert short_name(run, "data") is None
