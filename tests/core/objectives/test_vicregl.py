# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch

from conjoin.core.objectives import VICRegL
from conjoin.core.objectives.vicregl import match


def nearest(own, other, count):
    """Pairs of positions of one image, as Python lists: the closest ``count``, in raster order."""
    found = []
    for p, row in enumerate(own):
        distances = [math.dist(row, candidate) for candidate in other]
        q = min(range(len(other)), key=lambda k: distances[k])
        found.append((distances[q], p, q))
    kept = sorted(found)[:count]
    return sorted((p, q) for _, p, q in kept)


def terms(x, y):
    """VICReg's terms of (N, M, C) matched features, statistics per slot; half weights as for two views."""
    invariance = np.mean((x - y) ** 2)
    variance = covariance = 0.0
    for z in (x, y):
        for slot in range(z.shape[1]):
            c = np.cov(z[:, slot], rowvar=False, ddof=1)
            hinge = [max(0, 1 - math.sqrt(c[d, d] + 1e-4)) for d in range(len(c))]
            variance += np.mean(hinge) / 2 / z.shape[1]
            covariance += (np.sum(c**2) - np.sum(np.diag(c) ** 2)) / len(c) / 2 / z.shape[1]
    return np.array([invariance, variance, covariance])


def reference(views, maps, places, matches, feature_matches):
    pairs = [(i, j) for i in range(2) for j in range(len(views)) if i != j]
    total, whole = np.zeros(3), np.zeros(3)
    for i, j in pairs:
        for where, counts in ((maps, feature_matches), (places, matches)):
            for a, b, count in ((i, j, counts[0]), (j, i, counts[1])):
                x, y = [], []
                for n in range(len(views[0])):
                    found = nearest(where[a][n].tolist(), where[b][n].tolist(), count)
                    x.append([maps[a][n][p].numpy() for p, _ in found])
                    y.append([maps[b][n][q].numpy() for _, q in found])
                total += terms(np.array(x), np.array(y)) / 2 / len(pairs)
        whole[0] += np.mean((views[i] - views[j]).numpy() ** 2) / len(pairs)
    for z in views:
        each = terms(z.numpy()[:, None], z.numpy()[:, None])
        whole[1:] += each[1:] / len(views)
    return whole, total


def sample(rows=6, scale=1.0):
    g = torch.Generator().manual_seed(0)
    sizes = (6, 6, 3)  # the third view is a small crop
    views = list(torch.randn(3, rows, 4, dtype=torch.float64, generator=g) * scale)
    maps = [torch.randn(rows, p, 5, dtype=torch.float64, generator=g) * scale for p in sizes]
    places = [torch.rand(rows, p, 2, dtype=torch.float64, generator=g) for p in sizes]
    return views, maps, places


@pytest.mark.parametrize("feature_matches", [None, (3, 2)])
@pytest.mark.parametrize("scale", [0.1, 1e4])
def test_equals_loops(feature_matches, scale):
    views, maps, places = sample(scale=scale)
    out = VICRegL(alpha=0.6, matches=(4, 2), feature_matches=feature_matches)(views, maps, places)
    whole, local = reference(views, maps, places, (4, 2), feature_matches or (None, None))
    weights = np.array([25, 25, 1])
    wanted = [*(0.6 * weights * whole), *(0.4 * weights * local)]
    assert [term.item() for term in out.terms.values()] == pytest.approx(wanted, rel=1e-8)
    assert out.loss.item() == pytest.approx(sum(wanted), rel=1e-8)


def test_matching():
    own = torch.tensor([[[0.0], [5.0], [9.0], [2.0]]])
    other = torch.tensor([[[8.5], [2.1], [0.3]]])
    here, there = match(own, other)
    assert here.tolist() == [[0, 1, 2, 3]]
    assert there.tolist() == [[2, 1, 0, 1]]
    here, there = match(own, other, 2)
    assert here.tolist() == [[0, 3]]
    assert there.tolist() == [[2, 1]]


def test_identical_maps_match_themselves():
    views, maps, places = sample()
    out = VICRegL(alpha=0.0)([views[0]] * 2, [maps[0]] * 2, [places[0]] * 2)
    assert out.terms["local_invariance"].item() == 0


def test_guards():
    views, maps, places = sample()
    with pytest.raises(ValueError, match="must agree in views, samples and positions"):
        VICRegL()(views, maps[:2], places)
    with pytest.raises(ValueError, match="must agree in views, samples and positions"):
        VICRegL()(views, maps, places[::-1])
    for options in ({"alpha": 2.0}, {"matches": (0, 1)}, {"feature_matches": (1, 0)}, {"large_views": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            VICRegL(**options)
    for options in ({"invariance": -1.0}, {"variance": -1.0}, {"covariance": -1.0}, {"eps": 0.0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            VICRegL(**options)
