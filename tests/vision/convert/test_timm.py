# SPDX-License-Identifier: Apache-2.0
import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from conjoin.core import random
from conjoin.vision import ViT
from conjoin.vision.convert import from_timm, timm_arguments, to_timm


@pytest.mark.parametrize("layer_scale", [None, 0.5])
def test_round_trip_and_equal_features(layer_scale):
    with random.seeded(0):
        ours = ViT((16, 24), 4, 2, 48, 3, 4, layer_scale=layer_scale, init="xavier", patch_gain=2.0)
        x = torch.randn(2, 2, 16, 24)
    theirs = VisionTransformer(**timm_arguments(ours))
    theirs.load_state_dict(to_timm(ours), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(theirs.forward_features(x), ours(x), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(theirs(x), ours(x).mean(1), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(from_timm(theirs)(x), ours(x))


def test_state_dict_of_a_square_model_needs_heads():
    state = to_timm(ViT(16, 4, 3, 48, 2, 4))
    assert from_timm(state, heads=4).grid == (4, 4)
    with pytest.raises(ValueError, match="give heads"):
        from_timm(state)


def test_a_class_token_is_refused():
    with pytest.raises(ValueError, match="cls_token"):
        from_timm(timm.create_model("vit_tiny_patch16_224", img_size=32))
