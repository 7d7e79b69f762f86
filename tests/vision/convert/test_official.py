# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core.checkpoint import CheckpointError
from conjoin.core.masking import RandomMask
from conjoin.core.optim import Optim
from conjoin.vision import IJEPA
from conjoin.vision.convert import from_official, to_official


def small(**options):
    return IJEPA(
        "vit_tiny",
        32,
        4,
        1,
        encoder_depth=2,
        predictor_dim=48,
        predictor_depth=3,
        seed=5,
        optim=Optim(lr=0.5),
        **options,
    )


def synthetic(path):
    model = small()
    with torch.no_grad():
        for parameter in model.teacher.parameters():
            parameter.add_(0.25)  # the three state dicts must not be confused
    to_official(model, path)
    return model


def test_round_trip_with_module_prefixes(tmp_path):
    path = tmp_path / "x-latest.pth.tar"
    model = synthetic(path)
    content = torch.load(path, weights_only=True)
    assert set(content) == {
        *(
            "encoder",
            "predictor",
            "target_encoder",
            "opt",
            "scaler",
            "epoch",
            "loss",
            "batch_size",
            "world_size",
            "lr",
        )
    }
    assert all(name.startswith("module.") for part in ("encoder", "predictor") for name in content[part])
    again = from_official(path, masks=RandomMask(), seed=6)
    assert isinstance(again.masks, RandomMask)
    assert again.encoder.grid == (8, 8)
    assert again.encoder.heads == 3
    for part in ("encoder", "predictor", "teacher"):
        ours, theirs = (getattr(m, part).state_dict() for m in (model, again))
        assert list(ours) == list(theirs)
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert not torch.equal(again.teacher.norm.bias, again.encoder.norm.bias)


def test_the_optimiser_state_loads_into_the_official_groups(tmp_path):
    path = tmp_path / "x.pth.tar"
    synthetic(path)
    content = torch.load(path, weights_only=True)
    modules = [content["encoder"], content["predictor"]]
    sizes = [sum("bias" not in n and t.ndim != 1 for n, t in m.items()) for m in modules]
    sizes += [sum("bias" in n or t.ndim == 1 for n, t in m.items()) for m in modules]
    assert [len(group["params"]) for group in content["opt"]["param_groups"]] == sizes
    assert content["lr"] == 0.5


@pytest.mark.parametrize("missing", ["target_encoder", "predictor"])
def test_a_file_without_a_part_is_named(tmp_path, missing):
    path = tmp_path / "x.pth.tar"
    synthetic(path)
    content = torch.load(path, weights_only=True)
    del content[missing]
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=f"no '{missing}' state dict"):
        from_official(path)


def test_a_missing_tensor_and_a_wrong_shape_are_named(tmp_path):
    path = tmp_path / "x.pth.tar"
    synthetic(path)
    content = torch.load(path, weights_only=True)
    norm = content["target_encoder"].pop("module.norm.bias")
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"target_encoder in .* does not fit"):
        from_official(path)
    content["target_encoder"]["module.norm.bias"] = norm
    del content["encoder"]["module.pos_embed"]
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="lacks the tensor 'pos_embed'"):
        from_official(path)


def test_a_width_of_its_own_needs_the_number_of_heads(tmp_path):
    path = tmp_path / "x.pth.tar"
    to_official(
        IJEPA(
            "vit_tiny", 32, 4, 3, encoder_dim=64, encoder_depth=2, encoder_heads=2, predictor_dim=32, seed=0
        ),
        path,
    )
    with pytest.raises(ValueError, match="give encoder_heads"):
        from_official(path)
    assert from_official(path, encoder_heads=2).encoder.heads == 2


class Bomb:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_pickle_that_runs_code_is_refused(tmp_path, capsys):
    path = tmp_path / "x.pth.tar"
    torch.save({"encoder": Bomb()}, path)
    with pytest.raises(CheckpointError, match="could run code"):
        from_official(path)
    assert "executed" not in capsys.readouterr().out


def test_only_our_vit_has_an_official_form(tmp_path):
    model = IJEPA("timm/test_vit", 64, in_channels=3, predictor_dim=32, predictor_depth=1)
    with pytest.raises(ValueError, match="not TimmEncoder"):
        to_official(model, tmp_path / "x")
