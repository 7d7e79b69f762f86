# SPDX-License-Identifier: Apache-2.0
"""Resampling against torch's own interpolation of the cut-out box, and blur against a loop."""

import math

import pytest
import torch
import torch.nn.functional as F

from conjoin.core.transforms.resample import along, gaussian, interpolation, resample


@pytest.mark.parametrize(("rows", "columns"), [(5, 7), (12, 16), (30, 9), (40, 40)])
def test_pictures_as_torch_interpolates_the_crop(rows, columns):
    x = torch.randn(3, 2, 24, 20)
    starts = torch.tensor([[0.0, 0.0], [3, 5], [13, 2]])
    extents = torch.tensor([[24.0, 20.0], [10, 9], [11, 18]])
    found = resample(x, starts, extents, (rows, columns))
    for n in range(3):
        (top, left), (height, width) = starts[n].int().tolist(), extents[n].int().tolist()
        crop = x[n : n + 1, :, top : top + height, left : left + width]
        expected = F.interpolate(crop, size=(rows, columns), mode="bilinear", antialias=True)
        torch.testing.assert_close(found[n : n + 1], expected, rtol=1e-4, atol=1e-4)


def test_a_signal_is_a_picture_of_one_row():
    x = torch.randn(2, 3, 17)
    starts, extents = torch.tensor([[2.0], [0]]), torch.tensor([[9.0], [17]])
    flat = torch.zeros(2, 1)
    expected = resample(
        x.unsqueeze(2), torch.cat((flat, starts), 1), torch.cat((flat + 1, extents), 1), (1, 8)
    )
    torch.testing.assert_close(resample(x, starts, extents, (8,)), expected[:, :, 0])


def test_the_whole_line_at_its_own_size_is_itself():
    matrix = interpolation(torch.zeros(1), torch.full((1,), 9.0), 9, 9)
    assert torch.equal(matrix[0], torch.eye(9))


def test_rows_of_weights_sum_to_one():
    for matrix in (
        interpolation(torch.tensor([3.0]), torch.tensor([4.0]), 12, 30),
        interpolation(torch.tensor([0.0]), torch.tensor([12.0]), 12, 3),
        gaussian(torch.tensor([1.3]), 12),
    ):
        torch.testing.assert_close(matrix.sum(-1), torch.ones(matrix.shape[:2]))
        assert (matrix >= 0).all()


def test_blur_against_a_loop():
    x, sigma = torch.randn(2, 1, 11), torch.tensor([0.7, 2.0])
    found = along(x, gaussian(sigma, 11), 2)
    for n in range(2):
        for i in range(11):
            weights = [math.exp(-((i - j) ** 2) / (2 * sigma[n].item() ** 2)) for j in range(11)]
            expected = sum(w * x[n, 0, j].item() for j, w in enumerate(weights)) / sum(weights)
            assert found[n, 0, i].item() == pytest.approx(expected, abs=1e-5)


def test_along_any_axis():
    x, matrix = torch.randn(2, 3, 4, 5), torch.randn(2, 6, 4)
    torch.testing.assert_close(along(x, matrix, 2), torch.einsum("bmn,bcnw->bcmw", matrix, x))
