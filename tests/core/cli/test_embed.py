# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch


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
    parquet = pytest.importorskip("pyarrow.parquet")  # an extra
    arguments = ("--data", "conjoin_toy.ToyData", "--data.size", "6", "--layers", "2", "--out", "f.parquet")
    code, _, err = conjoin("embed", *arguments)
    assert code == 0, err
    table = parquet.read_table(folder / "f.parquet")
    assert table.num_rows == 6
    assert len(table["embedding"][0].as_py()) == 10


def test_embed_takes_the_data_of_a_configuration(run, folder, conjoin):
    assert conjoin("embed", "--data", "toy-small.yaml", "--out", "g.npz")[0] == 0
    assert len(np.load(folder / "g.npz")["index"]) == 16


def test_embed_refuses_another_ending(run, conjoin):
    code, _, err = conjoin("embed", "--out", "f.csv")
    assert code == 2
    assert ".parquet" in err
