# SPDX-License-Identifier: Apache-2.0
"""A checkpoint with the released layout, made key by key, not by our own writer."""

import pytest
import torch

from conjoin.biosignal import ECGJEPA, RunMask
from conjoin.biosignal.convert import from_official_ecg, to_official_ecg
from conjoin.core.checkpoint import CheckpointError
from conjoin.core.masking import RandomMask


def blocks(prefix, dim, depth, fill):
    found = {}
    for number in range(depth):
        at = f"{prefix}blocks.{number}."
        found |= {at + "norm1.weight": fill(dim), at + "norm2.weight": fill(dim)}
        found |= {at + "attn.qkv.weight": fill(3 * dim, dim), at + "attn.proj.weight": fill(dim, dim)}
        found |= {at + "mlp.fc1.weight": fill(4 * dim, dim), at + "mlp.fc2.weight": fill(dim, 4 * dim)}
    return found


def released(path, dim=192, depth=2, predictor=(96, 1), minified=False, **more):
    generator = torch.Generator().manual_seed(0)

    def fill(*shape):
        return torch.randn(*shape, generator=generator)

    model = {}
    for part in ("target_encoder.",) if minified else ("encoder.", "target_encoder."):
        model |= {part + "registers": fill(1, 1, dim), part + "patch_embed.proj.weight": fill(dim, 12, 25)}
        model |= blocks(part, dim, depth, fill) | {part + "norm.weight": fill(dim)}
    if not minified:
        width, layers = predictor
        model |= {"predictor.mask_token": fill(1, 1, width), "predictor.embed.weight": fill(width, dim)}
        model |= blocks("predictor.", width, layers, fill)
        model |= {"predictor.norm.weight": fill(width), "predictor.proj.weight": fill(dim, width)}
    torch.save({"model": model, "config": {}, "step": 5} | more, path)
    return model


def test_every_tensor_finds_its_place(tmp_path):
    state = released(tmp_path / "x.pth")
    model = from_official_ecg(tmp_path / "x.pth", masks=RandomMask(), seed=3)
    assert (model.encoder.grid, model.encoder.heads, len(model.encoder.blocks)) == ((200,), 4, 2)
    assert isinstance(model.masks, RandomMask)
    ours = {
        "encoder.": model.encoder.state_dict(),
        "target_encoder.": model.teacher.state_dict(),
        "predictor.": {
            name.removeprefix("predictor_"): tensor
            for name, tensor in model.predictor.state_dict().items()
            if name != "predictor_pos_embed"
        },
    }
    flat = {part + name: tensor for part, tensors in ours.items() for name, tensor in tensors.items()}
    assert set(flat) == set(state)
    assert all(torch.equal(flat[name], state[name]) for name in state)


def test_round_trip(tmp_path):
    state = released(tmp_path / "x.pth")
    to_official_ecg(from_official_ecg(tmp_path / "x.pth", seed=0), tmp_path / "y.pth", step=5)
    content = torch.load(tmp_path / "y.pth", weights_only=True)
    assert content["step"] == 5
    assert set(content["model"]) == set(state)
    assert all(torch.equal(content["model"][name], state[name]) for name in state)


def test_minified_file_fills_both_encoders(tmp_path):
    state = released(tmp_path / "x.pth", minified=True)
    model = from_official_ecg(tmp_path / "x.pth", seed=0)
    for encoder in (model.encoder, model.teacher):
        for name, tensor in encoder.state_dict().items():
            assert torch.equal(tensor, state[f"target_encoder.{name}"])
    assert model.predictor.dim == 96


def test_the_features_are_those_of_the_written_out_network(tmp_path):
    """The released network in a few plain lines, on the tensors of the file."""
    state = released(tmp_path / "x.pth", depth=1)
    w = {
        name.removeprefix("target_encoder."): t.double()
        for name, t in state.items()
        if name.startswith("target")
    }
    model = from_official_ecg(tmp_path / "x.pth", seed=0).double()
    x = torch.randn(1, 12, 5000, dtype=torch.float64)

    def norm(tokens, weight):
        centred = tokens - tokens.mean(-1, keepdim=True)
        return weight * centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()

    tokens = torch.nn.functional.conv1d(x, w["patch_embed.proj.weight"], stride=25).transpose(1, 2)
    angle = torch.arange(200.0, dtype=torch.float64)[:, None] / 10000 ** (
        torch.arange(0, 192, 2, dtype=torch.float64) / 192
    )
    tokens = tokens + torch.stack((angle.sin(), angle.cos()), dim=2).flatten(1)
    tokens = torch.cat((w["registers"], tokens), dim=1)
    q, k, v = (norm(tokens, w["blocks.0.norm1.weight"]) @ w["blocks.0.attn.qkv.weight"].T).chunk(3, dim=-1)
    heads = []
    for part in torch.arange(192).split(48):
        share = (q[..., part] @ k[..., part].transpose(1, 2) / 48**0.5).softmax(-1)
        heads.append(share @ v[..., part])
    tokens = tokens + torch.cat(heads, dim=-1) @ w["blocks.0.attn.proj.weight"].T
    hidden = norm(tokens, w["blocks.0.norm2.weight"]) @ w["blocks.0.mlp.fc1.weight"].T
    tokens = tokens + torch.nn.functional.gelu(hidden) @ w["blocks.0.mlp.fc2.weight"].T
    expected = norm(tokens, w["norm.weight"])[:, 1:]
    torch.testing.assert_close(model.teacher(x), expected, rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_is_named(tmp_path):
    path = tmp_path / "x.pth"
    torch.save({"encoder": {}}, path)
    with pytest.raises(CheckpointError, match=r"no 'model' with target_encoder.\* tensors.*keys are encoder"):
        from_official_ecg(path)
    state = released(path)
    for name, message in (
        ("target_encoder.patch_embed.proj.weight", "lacks the tensor 'patch_embed.proj.weight'"),
        ("encoder.norm.weight", "The encoder in .* does not fit"),
        ("predictor.norm.weight", "The predictor in .* does not fit"),
    ):
        torch.save({"model": {key: t for key, t in state.items() if key != name}}, path)
        with pytest.raises(CheckpointError, match=message):
            from_official_ecg(path)


def test_a_width_of_its_own_needs_heads(tmp_path):
    released(tmp_path / "x.pth", dim=48, predictor=(24, 1))
    with pytest.raises(ValueError, match=r"No released variant is 48 wide.* give encoder_heads"):
        from_official_ecg(tmp_path / "x.pth")
    with pytest.raises(ValueError, match="give predictor_heads"):
        from_official_ecg(tmp_path / "x.pth", encoder_heads=3)
    model = from_official_ecg(tmp_path / "x.pth", encoder_heads=3, predictor_heads=2, length=500, seed=0)
    assert (model.encoder.heads, model.encoder.grid) == (3, (20,))


def test_keys_of_the_full_size_models_match():
    with torch.device("meta"):
        model = ECGJEPA("vit_xs", masks=RunMask())
    names = set(model.encoder.state_dict())
    assert names == {"registers", "patch_embed.proj.weight", "norm.weight"} | set(
        blocks("", 1, 8, lambda *shape: torch.empty(shape, device="meta"))
    )
