# SPDX-License-Identifier: Apache-2.0
import torch


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
