# SPDX-License-Identifier: Apache-2.0
"""The table of measures: complete, in the right direction, and honest about what it cannot say."""

import math

import pytest
import torch

from conjoin.core import metrics
from conjoin.core.metrics import MEASURES, PAIRWISE_ROWS, label_free


def embeddings(rows: int = 200, width: int = 16) -> torch.Tensor:
    return torch.randn(rows, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def views(clean: torch.Tensor, noise: float) -> torch.Tensor:
    shape = (40, 4, clean.shape[1])
    jitter = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return clean[:40].unsqueeze(1) + noise * jitter


def test_values_are_those_of_the_functions() -> None:
    z = embeddings()
    found = label_free(z, views(z, 0.3))
    assert list(found) == list(MEASURES)
    assert found["rankme"] == float(metrics.rankme(z))
    assert found["alpha_req"] == float(metrics.alpha_req(z).alpha)
    assert found["lidar"] == float(metrics.lidar(views(z, 0.3)))
    assert found["uniformity"] == float(metrics.uniformity(z))


def test_collapse_is_worse_by_every_measure_of_the_spectrum() -> None:
    healthy = embeddings()
    collapsed = embeddings()[:, :1] @ torch.ones(1, 16, dtype=torch.float64) + 0.01 * embeddings() + 5
    good, bad = label_free(healthy, views(healthy, 0.3)), label_free(collapsed, views(collapsed, 0.3))
    for name in ("rankme", "lidar", "nesum", "stable_rank", "condition", "self_cluster", "uniformity"):
        goodness = MEASURES[name].goodness
        assert goodness(good[name]) > goodness(bad[name]), name


def test_goodness() -> None:
    assert MEASURES["rankme"].goodness(3.0) == 3
    assert MEASURES["coherence"].goodness(3.0) == -3
    assert MEASURES["alpha_req"].goodness(0.5) == MEASURES["alpha_req"].goodness(1.5) == -0.5


def test_what_cannot_be_said_is_nan() -> None:
    z = embeddings(width=3)
    found = label_free(z)
    assert {name for name, value in found.items() if math.isnan(value)} == {"alpha_req", "lidar", "alignment"}
    same = z[:30].unsqueeze(1).expand(30, 5, 3)
    assert math.isnan(label_free(z, same)["lidar"])
    rounded = same + 1e-7 * torch.randn(30, 5, 3, generator=torch.Generator().manual_seed(2))
    assert math.isnan(label_free(z, rounded)["alignment"])
    assert label_free(z, torch.ones(30, 5, 3))["lidar"] == pytest.approx(1, abs=1e-4)


@pytest.mark.filterwarnings("ignore:.*are NaN or infinite:UserWarning")
def test_a_diverged_run_has_no_value() -> None:
    z, spoiled = embeddings(), torch.full((200, 16), math.nan)
    for found in (label_free(spoiled, spoiled[:30].unsqueeze(1).expand(30, 4, 16)), label_free(z[:0])):
        assert list(found) == list(MEASURES)
        assert all(map(math.isnan, found.values()))
    empty = label_free(z, views(z, 0.3)[:0])
    assert math.isnan(empty["lidar"])
    assert empty["rankme"] == float(metrics.rankme(z))
    some = views(z, 0.3)
    some[3, 1] = math.inf
    assert label_free(z, some)["lidar"] == float(metrics.lidar(views(z, 0.3)[torch.arange(40) != 3]))


def test_size_does_not_show() -> None:
    z = embeddings()
    plain, large = label_free(z), label_free(1e160 * z)
    known = [name for name, value in plain.items() if not math.isnan(value)]
    assert [large[name] for name in known] == pytest.approx([plain[name] for name in known])


def test_a_dead_embedding_has_the_worst_directions() -> None:
    dead = label_free(torch.zeros(50, 8), torch.zeros(20, 3, 8))
    assert dead["uniformity"] == pytest.approx(0, abs=1e-12)
    assert dead["self_cluster"] == pytest.approx(1)
    assert (dead["alignment"], dead["rankme"]) == pytest.approx((0, 1), abs=1e-4)


@pytest.mark.slow
def test_measures_over_pairs_look_at_evenly_spaced_rows() -> None:
    z = embeddings(2 * PAIRWISE_ROWS, 4)
    assert label_free(z)["uniformity"] == float(metrics.uniformity(z[::2]))
