# SPDX-License-Identifier: Apache-2.0
"""The synthetic checkpoint has the release's names and shapes, written out by hand at a tiny size."""

import pytest
import torch

from conjoin.core.checkpoint import CheckpointError
from conjoin.pointcloud import PointJEPA
from conjoin.pointcloud.convert import from_official, to_official

WIDTHS, DIM, DEPTH, NARROW, BLOCKS = (4, 6, 8), 12, 2, 6, 3


def block(prefix, dim):
    layers = {"attn.qkv": (3 * dim, dim), "attn.proj": (dim, dim)}
    layers |= {"mlp.fc1": (4 * dim, dim), "mlp.fc2": (dim, 4 * dim)}
    shapes = norm("norm1.", dim) | norm("norm2.", dim)
    for name, shape in layers.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return {f"{prefix}{name}": shape for name, shape in shapes.items()}


def norm(prefix, dim):
    return {f"{prefix}weight": (dim,), f"{prefix}bias": (dim,)}


def official():
    first, local, second = WIDTHS
    shapes = {"mask_token": (DIM,)}
    conv = "tokenizer.embedding.encoder."
    for name, sizes in (("first_conv", (3, first, local)), ("second_conv", (2 * local, second, DIM))):
        shapes[f"{conv}{name}.0.weight"] = (sizes[1], sizes[0], 1)
        shapes |= norm(f"{conv}{name}.1.", sizes[1])
        shapes |= {f"{conv}{name}.1.running_mean": (sizes[1],), f"{conv}{name}.1.running_var": (sizes[1],)}
        shapes |= {f"{conv}{name}.3.weight": (sizes[2], sizes[1], 1), f"{conv}{name}.3.bias": (sizes[2],)}
    for prefix, dim in (("positional_encoding.", DIM), ("predictor.positional_encoding.", NARROW)):
        shapes |= {f"{prefix}0.weight": (128, 3), f"{prefix}0.bias": (128,)}
        shapes |= {f"{prefix}2.weight": (dim, 128), f"{prefix}2.bias": (dim,)}
    for prefix in ("student.", "teacher.online_model.", "teacher.ema_model."):
        for number in range(DEPTH):
            shapes |= block(f"{prefix}blocks.{number}.", DIM)
        shapes |= norm(f"{prefix}norm.", DIM)
    shapes |= {"predictor.predictor_embed.weight": (NARROW, DIM), "predictor.predictor_embed.bias": (NARROW,)}
    shapes |= {"predictor.mask_token": (1, 1, NARROW)}
    for number in range(BLOCKS):
        shapes |= block(f"predictor.predictor.blocks.{number}.", NARROW)
    shapes |= norm("predictor.predictor.norm.", NARROW) | norm("predictor.predictor_norm.", DIM)
    shapes |= {"predictor.predictor_proj.weight": (DIM, NARROW), "predictor.predictor_proj.bias": (DIM,)}
    state = {name: torch.randn(shape) for name, shape in shapes.items()}
    for name in ("first_conv", "second_conv"):
        state[f"{conv}{name}.1.running_var"] = torch.rand(state[f"{conv}{name}.1.running_var"].shape) + 0.5
        state[f"{conv}{name}.1.num_batches_tracked"] = torch.tensor(40_500)
    state |= {"teacher.initted": torch.tensor([True]), "teacher.step": torch.tensor([40_500])}
    for name in list(state):
        if name.startswith("student."):
            state["teacher.online_model." + name.removeprefix("student.")] = state[name]
    return state


def save(path, state):
    torch.save(
        {"state_dict": state, "epoch": 500, "pytorch-lightning_version": "1.9.5", "optimizer_states": []},
        path,
    )
    return path


HEADS = {"encoder_heads": 3, "predictor_heads": 2}


def test_every_tensor_arrives(tmp_path):
    state = official()
    model = from_official(save(tmp_path / "x.ckpt", state), groups=16, group_size=4, **HEADS)
    assert isinstance(model, PointJEPA)
    assert (model.encoder.embed_dim, len(model.encoder.transformer.blocks)) == (DIM, DEPTH)
    assert len(model.predictor.blocks) == BLOCKS
    ours = model.state_dict()
    pairs = {
        "encoder.tokenizer.first_conv.1.bias": "tokenizer.embedding.encoder.first_conv.1.bias",
        "encoder.tokenizer.first_conv.3.bias": "tokenizer.embedding.encoder.first_conv.3.bias",
        "encoder.positions.2.weight": "positional_encoding.2.weight",
        "encoder.transformer.blocks.1.mlp.fc1.bias": "student.blocks.1.mlp.fc1.bias",
        "teacher.blocks.0.attn.qkv.weight": "teacher.ema_model.blocks.0.attn.qkv.weight",
        "teacher.norm.bias": "teacher.ema_model.norm.bias",
        "predictor.blocks.2.attn.proj.weight": "predictor.predictor.blocks.2.attn.proj.weight",
        "predictor.norm.weight": "predictor.predictor.norm.weight",
        "predictor.mask_token": "predictor.mask_token",
    }
    for mine, theirs in pairs.items():
        assert torch.equal(ours[mine], state[theirs]), mine
    weight = state["tokenizer.embedding.encoder.second_conv.0.weight"]
    assert torch.equal(ours["encoder.tokenizer.second_conv.0.weight"], weight[..., 0])
    # The convolution that they are in the release gives the same.
    x = torch.randn(5, 3, 7)
    conv = torch.nn.functional.conv1d(x, state["tokenizer.embedding.encoder.first_conv.0.weight"])
    torch.testing.assert_close(model.encoder.tokenizer.first_conv[0](x.transpose(1, 2)).transpose(1, 2), conv)


def test_there_and_back(tmp_path):
    state = official()
    model = from_official(save(tmp_path / "x.ckpt", state), **HEADS)
    to_official(model, tmp_path / "y.ckpt")
    again = torch.load(tmp_path / "y.ckpt", weights_only=True)["state_dict"]
    assert again.keys() == state.keys()
    for name in state:
        assert again[name].shape == state[name].shape, name
        if name not in ("mask_token", "teacher.step") and "predictor_norm" not in name:
            assert torch.equal(again[name], state[name]), name


def without(prefix):
    return {name: tensor for name, tensor in official().items() if not name.startswith(prefix)}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"encoder.x": torch.zeros(1)}, "has no state_dict with a student"),
        (without("predictor.predictor.norm"), "lacks the tensor 'predictor.norm.weight'"),
        (without("positional_encoding"), "does not fit: .*encoder.positions.0.weight"),
        (
            {**official(), "decoder.weight": torch.zeros(1)},
            "has the tensor 'decoder.weight', which no Point-JEPA has",
        ),
    ],
)
def test_refuses_other_checkpoints(state, message, tmp_path):
    with pytest.raises(CheckpointError, match=rf"(?s)x\.ckpt.*{message}"):
        from_official(save(tmp_path / "x.ckpt", state), **HEADS)
