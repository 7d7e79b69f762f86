# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "toy"))

CONFIG = """# A toy.
model:
  class_path: conjoin_toy.ToySystem
  init_args: {dim: 5}
data: {class_path: conjoin_toy.ToyData}
trainer:
  max_epochs: 1
  accelerator: cpu
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory with a configuration file in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CONJOIN_DEBUG", raising=False)
    (tmp_path / "toy-small.yaml").write_text(CONFIG)
    return tmp_path


@pytest.fixture
def conjoin(capsys):
    """Run the command in this process: exit code, standard output, standard error."""
    from conjoin.core.cli.main import main

    def call(*arguments):
        code = main([str(argument) for argument in arguments])
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


@pytest.fixture
def run(folder):
    """The folder of a finished run of the toy."""
    from conjoin.core.cli.lightning import ConjoinCLI

    ConjoinCLI("fit", ["--config", "toy-small.yaml"])
    return folder / "runs" / "toy-small" / "version_0"
