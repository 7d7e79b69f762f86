# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import nn

from conjoin.core.checkpoint import CheckpointError
from conjoin.tabular import TJEPA
from conjoin.tabular.convert import from_official, official_states, to_official

ENCODER = {"dim": 8, "depth": 2, "heads": 2, "hidden": 12}
SIZES = ENCODER | {"predictor_dim": 4, "predictor_depth": 3, "predictor_heads": 2, "predictor_hidden": 6}


def layers(prefix, dim, hidden, depth, state):
    """A stored transformer: layers, the one they were copied from, and the tail."""
    shapes = {
        "self_attn.in_proj_weight": (3 * dim, dim),
        "self_attn.in_proj_bias": (3 * dim,),
        "self_attn.out_proj.weight": (dim, dim),
        "self_attn.out_proj.bias": (dim,),
        "linear1.weight": (hidden, dim),
        "linear1.bias": (hidden,),
        "linear2.weight": (dim, hidden),
        "linear2.bias": (dim,),
        "norm1.weight": (dim,),
        "norm1.bias": (dim,),
        "norm2.weight": (dim,),
        "norm2.bias": (dim,),
    }
    for stem in ("transformer_layers", *(f"transformer.layers.{n}" for n in range(depth))):
        state |= {f"{prefix}{stem}.{name}": torch.randn(shape) for name, shape in shapes.items()}
    tail = {"fc.weight": (dim, dim), "fc.bias": (dim,)}
    tail |= {f"layernorm{n}.{kind}": (dim,) for n in (1, 2) for kind in ("weight", "bias")}
    state |= {f"{prefix}{name}": torch.randn(shape) for name, shape in tail.items()}


def checkpoint(path, *, numeric=3, categories=(2, 4), types=True):
    """A file as the released code writes it: keys and shapes from its modules, random values."""
    torch.manual_seed(0)
    content = {}
    columns = numeric + len(categories)
    for part in ("context_encoder", "target_encoder"):
        state = {"tokenizer.weight": torch.randn(numeric + 1, 8), "tokenizer.bias": torch.randn(columns, 8)}
        state |= {
            f"tokenizer.category_embeddings.{n}.weight": torch.randn(k, 8) for n, k in enumerate(categories)
        }
        if types:
            state["feature_type_embedding.weight"] = torch.randn(2, 8)
        layers("encoder.", 8, 12, 2, state)
        content[part] = state | {"pe.pe": torch.randn(5000, 8)}
    state = {
        "predictor_pos_embed": torch.randn(1, columns, 4),
        "mask_token": torch.randn(1, 1, 4),
        "predictor_emb.weight": torch.randn(4, 8),
        "predictor_emb.bias": torch.randn(4),
        "predictor_norm.weight": torch.randn(4),
        "predictor_norm.bias": torch.randn(4),
        "predictor_proj.weight": torch.randn(8, 4),
        "predictor_proj.bias": torch.randn(8),
        "layer_norm.weight": torch.randn(4),
        "layer_norm.bias": torch.randn(4),
    }
    layers("transformer.", 4, 6, 3, state)
    content |= {
        "predictor": state,
        "epoch": 7,
        "optimizer": {},
        "scaler": None,
        "scheduler": {},
        "weightdecay": {},
        "train_loss": 0.1,
    }
    torch.save(content, path)
    return content


def read(path, **options):
    return from_official(path, predictor_heads=2, seed=0, **options)


def test_sizes_are_read_off_the_shapes(tmp_path):
    checkpoint(tmp_path / "x.pth")
    model = read(tmp_path / "x.pth", dropout=0.0)
    assert model.encoder.tokenizer.categories == (2, 4)
    assert (model.encoder.grid, model.encoder.embed_dim) == ((6,), 8)
    assert (len(model.encoder.transformer.blocks), len(model.predictor.transformer.blocks)) == (2, 3)
    assert model.register_mode == "as_column"
    assert model.encoder.transformer.dropout == 0
    assert read(tmp_path / "x.pth", register="visible").register_mode == "visible"


def test_features_are_those_of_the_stored_modules(tmp_path):
    """The encoder rebuilt from PyTorch's own layers and the file's tensors, as the release composes it."""
    content = checkpoint(tmp_path / "x.pth")
    state = content["target_encoder"]
    x = torch.tensor([[0.5, -1.0, 2.0, 1.0, 3.0], [1.5, 0.0, -2.0, 0.0, 0.0]])
    weight, bias = state["tokenizer.weight"], state["tokenizer.bias"]
    tokens = torch.cat((torch.ones(2, 1), x[:, :3]), dim=1).unsqueeze(-1) * weight
    kinds = [state[f"tokenizer.category_embeddings.{n}.weight"][x[:, 3 + n].long()] for n in range(2)]
    tokens = torch.cat((tokens, torch.stack(kinds, dim=1)), dim=1)
    tokens = tokens + torch.cat((torch.zeros(1, 8), bias))
    places = torch.arange(6.0).unsqueeze(1) * torch.exp(
        torch.arange(0, 8, 2) * (-torch.tensor(100.0).log() / 8)
    )
    tokens[:, :, 0::2] += places.sin()
    tokens[:, :, 1::2] += places.cos()
    tokens[:, 1:] += state["feature_type_embedding.weight"][torch.tensor([0, 0, 0, 1, 1])]
    for number in range(2):
        layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True)
        prefix = f"encoder.transformer.layers.{number}."
        layer.load_state_dict({n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)})
        tokens = layer(tokens)

    def norm(value, number):
        return nn.functional.layer_norm(
            value, (8,), state[f"encoder.layernorm{number}.weight"], state[f"encoder.layernorm{number}.bias"]
        )

    tokens = norm(norm(tokens, 1) @ state["encoder.fc.weight"].T + state["encoder.fc.bias"], 2)
    torch.testing.assert_close(read(tmp_path / "x.pth").tokens({"x": x}), tokens, rtol=1e-4, atol=1e-5)


def test_round_trip(tmp_path):
    model = TJEPA(3, (2, 4), type_embedding=True, **SIZES, seed=1)
    with torch.no_grad():
        for parameter in model.teacher.parameters():
            parameter.add_(0.25)
    to_official(model, tmp_path / "x.pth", epoch=4)
    content = torch.load(tmp_path / "x.pth", weights_only=True)
    assert set(content) == {
        "epoch", "context_encoder", "target_encoder", "predictor", "optimizer", "scaler", "scheduler",
        "weightdecay", "train_loss",
    }  # fmt: skip
    again = read(tmp_path / "x.pth")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_names_and_shapes_are_the_released_ones(tmp_path):
    content = checkpoint(tmp_path / "x.pth")
    written = official_states(read(tmp_path / "x.pth"))
    for part, state in written.items():
        assert {n: t.shape for n, t in state.items()} == {n: t.shape for n, t in content[part].items()}
        for name, tensor in state.items():
            if (
                "transformer_layers" not in name
                and name not in ("pe.pe", "predictor_pos_embed")
                and not name.startswith("layer_norm.")
            ):
                assert torch.equal(tensor, content[part][name]), name


def test_tables_of_one_kind(tmp_path):
    checkpoint(tmp_path / "n.pth", categories=(), types=False)
    assert read(tmp_path / "n.pth").encoder.tokenizer.embedding is None
    checkpoint(tmp_path / "c.pth", numeric=0, types=False)
    assert read(tmp_path / "c.pth").encoder.tokenizer.weight is None


def test_prefixes_of_parallel_training_are_dropped(tmp_path):
    content = checkpoint(tmp_path / "x.pth")
    for part in ("context_encoder", "target_encoder", "predictor"):
        content[part] = {f"module.{name}": tensor for name, tensor in content[part].items()}
    torch.save(content, tmp_path / "y.pth")
    a, b = (read(tmp_path / name).state_dict() for name in ("x.pth", "y.pth"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_refusals(tmp_path):
    path = tmp_path / "x.pth"

    def spoil(change):
        content = checkpoint(path)
        change(content)
        torch.save(content, path)

    spoil(lambda c: c.pop("target_encoder"))
    with pytest.raises(
        CheckpointError, match="no 'target_encoder' state dict, so it is not a checkpoint of T-JEPA"
    ):
        read(path)
    spoil(lambda c: c["context_encoder"].pop("tokenizer.bias"))
    with pytest.raises(CheckpointError, match=r"lacks the tensor 'tokenizer\.bias'"):
        read(path)
    spoil(lambda c: c["context_encoder"].pop("encoder.fc.bias"))
    with pytest.raises(CheckpointError, match=r"encoder in .* does not fit"):
        read(path)
    spoil(lambda c: c["predictor"].update(stranger=torch.zeros(1)))
    with pytest.raises(CheckpointError, match=r"(?s)predictor in .* does not fit.*stranger"):
        read(path)
    spoil(lambda c: c["context_encoder"].update({"tokenizer.weight": torch.zeros(9, 8)}))
    with pytest.raises(CheckpointError, match=r"9 vectors for 3 numeric columns"):
        read(path)
    checkpoint(path)
    with pytest.raises(ValueError, match="3 heads do not divide dim 8"):
        read(path, heads=3)
    with pytest.raises(ValueError, match="missing numbers have no official form"):
        to_official(TJEPA(3, (2, 4), (1,), **SIZES, seed=0), path)
