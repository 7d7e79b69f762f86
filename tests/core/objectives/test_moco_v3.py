# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from torch.nn import functional as F

from conjoin.core.objectives import MoCoV3, moco_v3


def test_equals_cross_entropy_of_similarities():
    g = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 2, 5, 4, dtype=torch.float64, generator=g).unbind(0)

    def one(q, k):
        logits = F.normalize(q, dim=1) @ F.normalize(k, dim=1).T / 0.2
        return 2 * 0.2 * F.cross_entropy(logits, torch.arange(5))

    torch.testing.assert_close(MoCoV3(0.2)(q, k).loss, one(q[0], k[1]) + one(q[1], k[0]))
    torch.testing.assert_close(MoCoV3(0.2)(q[0], k[1]).loss, one(q[0], k[1]))
    torch.testing.assert_close(moco_v3(q[0] * 1e5, k[1] * 1e-3, 0.2), one(q[0], k[1]))


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_collapse_costs_four_t_log_n(temperature):
    z = torch.ones(2, 6, 3, dtype=torch.float64)
    assert MoCoV3(temperature)(z, z).loss.item() == pytest.approx(4 * temperature * math.log(6))


def test_three_views_are_twice_the_mean_over_directions():
    z = torch.randn(3, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    mean = sum(moco_v3(z[i], z[j]) for i in range(3) for j in range(3) if i != j) / 6
    torch.testing.assert_close(MoCoV3()(z, z).loss, 2 * mean)


def test_temperature_must_be_positive():
    with pytest.raises(ValueError, match="temperature"):
        MoCoV3(0)
