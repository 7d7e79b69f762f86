# SPDX-License-Identifier: Apache-2.0
"""Nothing in the loops of the operators looks at a value.

On tensors without values every look (``item``, ``tolist``, ``nonzero``, a branch) is an error; on a GPU each
would make the host wait for the device.
"""

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from conjoin.pointcloud.encoders import PointTransformer
from conjoin.pointcloud.ops import (
    Rulebook,
    ball_query,
    farthest_point_sampling,
    group,
    knn,
    morton_order,
    nearest_order,
    sparse_conv,
    submanifold_rules,
)


@pytest.fixture
def valueless():
    with FakeTensorMode() as mode:
        yield mode


def test_a_look_at_a_value_would_be_seen(valueless):
    with pytest.raises(DataDependentOutputException):
        torch.zeros(1).item()


@pytest.mark.parametrize(
    "work",
    [
        lambda cloud: farthest_point_sampling(cloud, 16, torch.zeros(4, dtype=torch.int64)),
        lambda cloud: knn(cloud[:, :16], cloud, 5).index[..., 0],
        lambda cloud: ball_query(cloud[:, :16], cloud, 0.1, 5).index[..., 0],
        lambda cloud: group(cloud, cloud[:, :16], 5)[..., 0, 0],
        lambda cloud: nearest_order(cloud[:, :16]),
        lambda cloud: morton_order(cloud[:, :16]),
    ],
    ids=["fps", "knn", "ball_query", "group", "nearest_order", "morton_order"],
)
def test_operators_on_points(work, valueless):
    assert work(torch.rand(4, 300, 3)).shape == (4, 16)


@pytest.mark.parametrize("sequence", ["nearest_min", "morton"])
def test_the_encoder_with_its_gradient(sequence, valueless):
    encoder = PointTransformer(8, 6, 16, 1, 2, widths=(4, 6, 8), sequence=sequence)
    encoder(torch.rand(2, 50, 3)).sum().backward()
    assert encoder.tokenizer.first_conv[0].weight.grad is not None


def test_sparse_convolution_along_a_finished_rulebook():
    places = torch.stack(torch.unravel_index(torch.randperm(2 * 6 * 9 * 8)[:100], (2, 6, 9, 8)), dim=1)
    rules = submanifold_rules(places, (6, 9, 8), 2)
    with FakeTensorMode() as mode:
        given = Rulebook(
            rules.kernel,
            tuple(map(mode.from_tensor, rules.outputs)),
            tuple(map(mode.from_tensor, rules.inputs)),
            mode.from_tensor(rules.places),
            rules.shape,
            rules.identity,
        )
        weight = torch.rand(4, 3, 3, 3, 5, requires_grad=True)
        sparse_conv(torch.rand(100, 5), weight, given).sum().backward()
        assert weight.grad is not None
