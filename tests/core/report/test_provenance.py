# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from conjoin.core.report.provenance import config_section, environment_section, reproduce_section
from conjoin.core.report.run import Run


def test_config_is_whole_and_escaped(run_dir: Path) -> None:
    (run_dir / "config.yaml").write_text("a: '</pre><script>'\nb: 2\n")
    body = config_section(Run.read(run_dir)).body
    assert "<details><summary>config.yaml, 2 lines" in body
    assert "&lt;/pre&gt;&lt;script&gt;" in body
    assert 'data-copy="config-text"' in body
    assert 'id="config-text"' in body
    (run_dir / "config.yaml").unlink()
    assert "has no config.yaml" in config_section(Run.read(run_dir)).body


def test_environment_names_what_trained_and_what_wrote(run_dir: Path) -> None:
    body = environment_section(Run.read(run_dir)).body
    assert "<dt>lightning</dt><dd>2.6.6</dd>" in body
    assert "<dt>optimiser steps</dt><dd>1200</dd>" in body
    assert "<dt>torch</dt>" in body
    (run_dir / "checkpoints" / "last.ckpt").write_bytes(b"nonsense")
    assert "last.ckpt" in environment_section(Run.read(run_dir)).body
    (run_dir / "checkpoints" / "last.ckpt").unlink()
    assert "has no checkpoints/last.ckpt" in environment_section(Run.read(run_dir)).body


def test_commands_do_not_tell_where_the_machine_keeps_its_files(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = reproduce_section(Run.read(run_dir)).body
    assert str(run_dir.parent) not in body
    assert "conjoin fit --config ijepa-small/config.yaml" in body
    monkeypatch.chdir(run_dir.parent)
    run_dir.rename("a run")
    assert "&#x27;a run/config.yaml&#x27;" in reproduce_section(Run.read("a run")).body
