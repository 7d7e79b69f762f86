# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from conjoin.core.masking import Masks
from conjoin.core.report import ArrayArtist, ImageArtist, Panel, SampleArtist
from conjoin.core.report.gallery import artist_of, enlarge, picture, show

MASKS = Masks(torch.tensor([[0, 3]]), torch.tensor([[[1], [2]]]))


def test_normalisation_is_undone() -> None:
    shown = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0))
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.1)
    x = (shown - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    found = ImageArtist(mean, std).pixels(x)
    np.testing.assert_array_equal(found, (255 * shown).round().byte().permute(1, 2, 0).numpy())


def test_grey_images_are_stretched_to_their_own_range() -> None:
    found = ImageArtist().pixels(torch.linspace(-3, 5, 64).view(1, 8, 8))
    assert found.shape == (8, 8, 3)
    assert found.min() == 0
    assert found.max() == 255
    assert (ImageArtist().pixels(torch.zeros(1, 8, 8)) == 0).all()


def test_context_is_opaque_where_seen_and_targets_are_framed_elsewhere() -> None:
    x = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    image, context, targets = ImageArtist((0,) * 3, (1,) * 3).draw({"x": x}, MASKS, (2, 2))
    assert image.pixels.shape == (192, 192, 3)
    alpha = context.pixels[..., 3]
    for row in range(192):
        seen = (row < 96, row >= 96)
        assert (alpha[row, :96] == 255 * seen[0]).all()
        assert (alpha[row, 96:] == 255 * seen[1]).all()
    assert "50 %" in context.alt
    # Rim of block 1 is its colour; what is no target stays grey.
    assert targets.pixels[0, 96].tolist() == [0, 114, 178]
    assert targets.pixels[191, 0].tolist() == [230, 159, 0]
    assert np.ptp(targets.pixels[:96, :96].astype(int), axis=-1).max() == 0
    assert np.ptp(targets.pixels[:96, 96:].astype(int), axis=-1).min() > 0


def test_padding_is_not_drawn() -> None:
    padded = Masks(
        torch.tensor([[0, 3]]),
        torch.tensor([[[1, 0]]]),
        torch.tensor([[True, False]]),
        torch.tensor([[[True, False]]]),
    )
    _, context, targets = ImageArtist().draw({"x": torch.rand(1, 8, 8)}, padded, (2, 2))
    assert (context.pixels[..., 3] == 255).mean() == 0.25
    assert np.ptp(targets.pixels[:96, :96].astype(int), axis=-1).max() == 0


def test_what_it_cannot_draw_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs a method draw"):
        ImageArtist().draw({"x": torch.rand(2, 8, 8)}, None, (2, 2))
    with pytest.raises(ValueError, match="grid of two axes"):
        ImageArtist().draw({"x": torch.rand(1, 8, 8)}, MASKS, (4,))


def test_without_masks_only_the_image() -> None:
    assert [panel.caption for panel in ImageArtist().draw({"x": torch.rand(1, 8, 8)}, None, (2, 2))] == [
        "image"
    ]


def test_who_draws() -> None:
    class Own:
        def draw(self, sample: object, masks: object, grid: object) -> list[Panel]:
            return []

    own, other = Own(), Own()
    plain = SimpleNamespace(mean=(0.5,), std=torch.tensor([0.25]))
    assert isinstance(own, SampleArtist)
    image = ({"x": torch.zeros(1, 8, 8)}, (2, 2))
    assert artist_of(plain, own, *image) is own
    assert artist_of(own, plain, *image) is own
    assert artist_of(own, other, *image) is own  # the system knows its tokens
    assert artist_of(object(), plain, *image) == ImageArtist((0.5,), (0.25,))
    assert artist_of(object(), object(), *image) == ImageArtist()
    for x, grid in ((torch.zeros(2, 8, 8), (2, 2)), (torch.zeros(9, 3), (4,)), (torch.zeros(1, 8, 8), (4,))):
        assert artist_of(object(), plain, {"x": x}, grid) == ArrayArtist()


@pytest.mark.parametrize(
    ("shapes", "classes"),
    [
        ([(192, 192), (192, 192)], ('"sample"', '"panels"')),
        ([(18, 180), (60, 180)], ('"sample"', '"panels strips"')),
        ([(360, 800), (360, 800)], ('"sample whole"', '"panels"')),
        ([(128, 1024)], ('"sample whole"', '"panels strips"')),
        ([(448, 448)], ('"sample"', '"panels"')),
    ],
)
def test_long_strips_stand_below_each_other(shapes: list[tuple[int, int]], classes: tuple[str, str]) -> None:
    html = show([Panel("c", "a", np.zeros(shape, np.uint8)) for shape in shapes], "t")
    assert [f"class={name}" in html for name in classes] == [True, True]


def test_enlarge_repeats_whole_pixels() -> None:
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert enlarge(pixels, 6).shape == (4, 6)
    np.testing.assert_array_equal(enlarge(pixels, 6)[::2, ::2], pixels)
    assert enlarge(pixels, 2) is not None
    assert enlarge(pixels, 2).shape == (2, 3)


def test_html_has_texts_and_escapes() -> None:
    panel = Panel("<c>", '"a"', np.zeros((2, 3), np.uint8))
    assert 'alt="&quot;a&quot;" width="3" height="2"' in picture(panel)
    assert "&lt;c&gt;" in show([panel], "<t>")
    assert "<t>" not in show([panel], "<t>")
