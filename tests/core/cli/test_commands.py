# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import numpy as np
import pyarrow.parquet
import pytest
import torch

from conjoin.core.cli.lightning import ConjoinCLI


@pytest.fixture
def run(folder):
    ConjoinCLI("fit", ["--config", "toy-small.yaml"])
    return folder / "runs" / "toy-small" / "version_0"


def test_version_and_help(conjoin):
    code, out, _ = conjoin("--version")
    assert code == 0
    assert out.startswith("conjoin 0.")
    code, out, _ = conjoin("--help")
    assert code == 0
    assert all(name in out for name in ("fit", "recipes", "embed", "probe", "report", "convert"))


def test_unknown_command_names_the_nearest(conjoin):
    code, _, err = conjoin("fitt")
    assert code == 2
    assert "conjoin fit`" in err


def test_recipes_lists_and_shows(conjoin):
    code, out, _ = conjoin("recipes")
    assert code == 0
    assert "ijepa-small" in out
    assert "ScatteredFashion" in out
    code, out, _ = conjoin("recipes", "show", "ijepa-small")
    assert out.startswith("# I-JEPA")
    code, _, err = conjoin("recipes", "show", "ijepa-smol")
    assert code == 2
    assert "ijepa-small" in err


def test_catalogue_needs_no_torch():
    code = (
        "import sys, types; m = types.ModuleType('conjoin.core'); import importlib.util as u;"
        "m.__path__ = [p + '/core' for p in u.find_spec('conjoin').submodule_search_locations];"
        "sys.modules['conjoin.core'] = m; from conjoin.core.cli.main import main;"
        "assert main(['recipes']) == 0;"
        "assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_embed_equals_the_model(run, folder, conjoin):
    from conjoin_toy import ToyData, ToySystem

    code, _, err = conjoin("embed", "--split", "test", "--out", "f.npz")
    assert code == 0, err
    found = np.load(folder / "f.npz")
    model = ToySystem.load_from_checkpoint(run / "checkpoints" / "last.ckpt")
    x = torch.stack([x for x, _ in ToyData().build("test")])
    expected = model.encoder(x).mean(1).detach().numpy()
    np.testing.assert_allclose(found["embedding"], expected, rtol=1e-5)
    assert found["label"].tolist() == [0, 1] * 8
    assert found["index"].tolist() == list(range(16))


def test_embed_other_data_layers_and_parquet(run, folder, conjoin):
    arguments = ("--data", "conjoin_toy.ToyData", "--data.size", "6", "--layers", "2", "--out", "f.parquet")
    code, _, err = conjoin("embed", *arguments)
    assert code == 0, err
    table = pyarrow.parquet.read_table(folder / "f.parquet")
    assert table.num_rows == 6
    assert len(table["embedding"][0].as_py()) == 10


def test_embed_takes_the_data_of_a_configuration(run, folder, conjoin):
    assert conjoin("embed", "--data", "toy-small.yaml", "--out", "g.npz")[0] == 0
    assert len(np.load(folder / "g.npz")["index"]) == 16


def test_embed_refuses_another_ending(run, conjoin):
    code, _, err = conjoin("embed", "--out", "f.csv")
    assert code == 2
    assert ".parquet" in err


def test_probe_prints_and_writes_the_table(run, folder, conjoin):
    arguments = ("--budgets", "[null]", "--baselines", "[raw]", "--draws", "1", "--out", "t.json")
    code, out, err = conjoin("probe", "--probes", "[knn]", *arguments)
    assert code == 0, err
    assert "knn" in out
    from conjoin.core.evaluation import Table

    assert len(Table.from_json((folder / "t.json").read_text())) > 0


def test_convert_exports_and_names_what_there_is(run, folder, conjoin):
    from conjoin_toy import ToySystem

    from conjoin.core.checkpoint import load_safetensors

    last = run / "checkpoints" / "last.ckpt"
    code, _, err = conjoin("convert", "--to", "safetensors", last, "e.safetensors")
    assert code == 0, err
    encoder = load_safetensors(folder / "e.safetensors")
    expected = ToySystem.load_from_checkpoint(last).encoder
    assert torch.equal(encoder.proj.weight, expected.proj.weight)
    code, _, err = conjoin("convert", "--from", "tape", last, "x")
    assert code == 2
    assert "conjoin -> safetensors" in err
