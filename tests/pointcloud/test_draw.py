# SPDX-License-Identifier: Apache-2.0
import numpy as np
import torch

from conjoin.core.masking import Masks
from conjoin.pointcloud.draw import _BLOCKS, _FAINT, draw_cloud, draw_masked_cloud, draw_shape


def colours(pixels):
    return {tuple(c) for c in pixels[pixels[..., 3] > 0][:, :3].tolist()}


def test_points_keep_their_colours_and_stay_inside():
    cloud = torch.rand(50, 3) * 40 - 7
    red, blue = (200, 0, 0), (0, 0, 200)
    pixels = draw_cloud(cloud, np.array([red, blue] * 25, np.uint8))
    assert pixels.shape == (256, 256, 4)
    assert colours(pixels) == {red, blue}
    assert pixels[0, :, 3].max() == pixels[:, 0, 3].max() == 0


def test_up_is_up_and_near_hides_far():
    # The viewer looks along y from the front side: the larger y is nearer.
    pixels = draw_cloud(torch.tensor([[0, 0, 0.0], [0, 0, 1]]), np.array([[1, 1, 1], [2, 2, 2]], np.uint8))
    rows = [np.flatnonzero((pixels[..., 0] == n).any(1)).mean() for n in (1, 2)]
    assert rows[1] < rows[0]
    line = torch.tensor([[0.433, 0.75, 0.5], [0.0, 0, 0]])
    hidden = draw_cloud(line, np.array([[1, 1, 1], [2, 2, 2]], np.uint8))
    assert (hidden[..., 0] == 1).any()


def test_odd_clouds_are_drawn():
    odd = torch.full((4, 3), torch.nan)
    assert draw_cloud(odd, np.zeros((4, 3), np.uint8)).max() == 0
    assert draw_cloud(torch.ones(4, 3), np.full((4, 3), 9, np.uint8))[..., 3].max() == 255


def test_panels_show_context_and_targets():
    centers = torch.stack((torch.linspace(0, 9, 10), torch.zeros(10), torch.zeros(10)), 1)
    cloud = (centers[:, None] + 0.1 * torch.randn(10, 8, 3)).view(-1, 3)
    masks = Masks(torch.tensor([[0, 1]]), torch.tensor([[[4, 5], [7, 8]]]))
    patches, context, targets = draw_masked_cloud(cloud, centers, masks)
    assert len(colours(patches.pixels)) == 10
    assert "2 patches" in context.alt
    assert len(colours(context.pixels)) == 3
    assert _FAINT in colours(context.pixels)
    assert colours(targets.pixels) == {_FAINT, *_BLOCKS[:2]}
    assert len(draw_masked_cloud(cloud, centers, None)) == 1


def test_a_cloud_without_patches_is_coloured_by_depth():
    # Along the line of sight: far, middle, near; moved apart sideways so that all are seen.
    sight, aside = torch.tensor([0.433, 0.75, 0.5]), torch.tensor([0.866, -0.5, 0.0])
    cloud = torch.stack([step * (sight + 3 * aside) for step in (-1.0, 0.0, 1.0)])
    (panel,) = draw_shape(cloud)
    assert "3 points" in panel.alt
    far, near = np.array(_BLOCKS[0]), np.array(_BLOCKS[1])
    columns = panel.pixels[..., 3].any(0)
    seen = panel.pixels[:, columns].max(0)[:, :3].astype(int)
    assert (seen[0] == far).all()
    assert (seen[-1] == near).all()
    assert any(np.abs(row - (far + near) / 2).max() <= 1 for row in seen)
    assert draw_shape(torch.full((4, 3), torch.nan))[0].pixels.max() == 0
