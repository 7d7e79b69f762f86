# SPDX-License-Identifier: Apache-2.0
"""The paper's recipes through the real command line, on tiny files in the real formats."""

import json

import pytest
import torch
from writing import signal, write_code15, write_csv, write_ptbxl, write_record

from conjoin.core.cli.lightning import ConjoinCLI
from conjoin.core.cli.recipes import find

SMALLER = {
    "model.init_args": {
        "encoder_dim": 16,
        "encoder_depth": 1,
        "encoder_heads": 2,
        "predictor_dim": 8,
        "predictor_depth": 1,
        "predictor_heads": 2,
    },
    "data.init_args": {"batch_size": 2, "num_workers": 0},
    "trainer": {
        "accelerator": "cpu",
        "precision": "32-true",
        "fast_dev_run": 1,
        "enable_progress_bar": "false",
    },
}


def flags(**data):
    data = SMALLER["data.init_args"] | data
    return [
        f"--{part}.{key}={value}"
        for part, values in (SMALLER | {"data.init_args": data}).items()
        for key, value in values.items()
    ]


def write(root, name):
    """Three recordings in the layout of a source."""
    if name == "ptb-xl":
        write_ptbxl(root, [(1, {}, 1), (2, {}, 2), (3, {}, 9)], rate=500)
    elif name == "code-15":
        write_code15(root, [(exam, exam, "a.hdf5", 0, ()) for exam in range(3)])
    else:
        rate = {"ptb": 1000, "st-petersburg": 257}.get(name, 500)
        for number in range(3):
            write_record(root / f"r{number}", signal(number, 11 * rate), rate)
        if name == "mimic-iv-ecg":
            write_csv(root / "record_list.csv", [{"path": f"r{number}"} for number in range(3)])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_ptbxl_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "ptb-xl", "ptb-xl")
    cli = ConjoinCLI(
        "fit", ["--config", "ecgjepa-vits-ptbxl", *flags(root=tmp_path / "ptb-xl", cache=tmp_path / "cache")]
    )
    assert cli.trainer.global_step == 1
    assert torch.isfinite(cli.trainer.callback_metrics["train/loss"])
    assert len(list((tmp_path / "cache").rglob("*.npy"))) >= 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_all_ten_sources(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sources = find("ecgjepa-vitxs-all").config["data"]["init_args"]["sources"]
    for source in sources:
        source["root"] = str(tmp_path / source["name"])
        write(tmp_path / source["name"], source["name"])
    options = flags(sources=json.dumps(sources), val_fraction=0.0, cache=tmp_path / "cache")
    cli = ConjoinCLI("fit", ["--config", "ecgjepa-vitxs-all", *options])
    assert torch.isfinite(cli.trainer.callback_metrics["train/loss"])
    dataset = cli.datamodule.build("train")
    first = [int(end) - int(slots) for end, slots in zip(dataset._ends, dataset.slots, strict=True)]
    assert [dataset[place]["source"] for place in first] == list(range(10))
    assert all(dataset[place]["x"].shape[1] >= 5000 for place in first)
