# SPDX-License-Identifier: Apache-2.0
"""The policies: the papers' numbers, view by view."""

import pytest
import torch

from conjoin.core import spec
from conjoin.vision.transforms import BYOLViews, DINOViews, LeJEPAViews, MoCoViews, SimCLRViews, SwAVViews

ALL = [BYOLViews(), DINOViews(), LeJEPAViews(), MoCoViews(), SimCLRViews(), SwAVViews()]
# (size, scale, jitter, blur, solarisation) of each kind of view, and how many there are of it.
PAPERS = {
    "SimCLRViews": [(2, 224, (0.08, 1.0), (0.8, 0.8, 0.8, 0.2), 0.5, 0.0)],
    "BYOLViews": [
        (1, 224, (0.08, 1.0), (0.4, 0.4, 0.2, 0.1), 1.0, 0.0),
        (1, 224, (0.08, 1.0), (0.4, 0.4, 0.2, 0.1), 0.1, 0.2),
    ],
    "MoCoViews": [(2, 224, (0.2, 1.0), (0.4, 0.4, 0.4, 0.1), 0.5, 0.0)],
    "SwAVViews": [
        (2, 224, (0.14, 1.0), (0.8, 0.8, 0.8, 0.2), 0.5, 0.0),
        (6, 96, (0.05, 0.14), (0.8, 0.8, 0.8, 0.2), 0.5, 0.0),
    ],
    "DINOViews": [
        (1, 224, (0.4, 1.0), (0.4, 0.4, 0.2, 0.1), 1.0, 0.0),
        (1, 224, (0.4, 1.0), (0.4, 0.4, 0.2, 0.1), 0.1, 0.2),
        (8, 96, (0.05, 0.4), (0.4, 0.4, 0.2, 0.1), 0.5, 0.0),
    ],
    "LeJEPAViews": [
        (2, 224, (0.3, 1.0), (0.4, 0.4, 0.2, 0.1), 0.5, 0.2),
        (6, 96, (0.05, 0.3), (0.4, 0.4, 0.2, 0.1), 0.5, 0.2),
    ],
}


@pytest.mark.parametrize("policy", ALL, ids=lambda policy: type(policy).__name__)
def test_the_papers_numbers(policy):
    rows = [row[1:] for row in PAPERS[type(policy).__name__] for _ in range(row[0])]
    found = [(v.size, v.scale, v.jitter, v.blur, v.solarize) for v in policy.layout()]
    assert found == rows
    assert all((v.flip, v.jitter_p, v.gray, v.sigma) == (0.5, 0.8, 0.2, (0.1, 2.0)) for v in policy.layout())
    assert spec.build(spec.describe(policy)) == policy


@pytest.mark.parametrize("policy", [type(policy) for policy in ALL], ids=lambda kind: kind.__name__)
def test_small_pictures_are_not_blurred(policy):
    views = policy(size=32, small=True).layout()
    assert all(view.blur == 0 for view in views)
    assert views[0].size == 32


def test_views_have_their_sizes_and_differ():
    x = torch.randint(0, 256, (3, 70, 50), dtype=torch.uint8)
    views = SwAVViews(size=32, local_size=16, local_views=3)(x)
    assert [tuple(view.shape) for view in views] == 2 * [(3, 32, 32)] + 3 * [(3, 16, 16)]
    assert not torch.equal(views[0], views[1])
    assert not torch.equal(views[2], views[3])


def test_options():
    assert SimCLRViews(strength=0.5).layout()[0].jitter == (0.4, 0.4, 0.4, 0.1)
    assert len(MoCoViews(views=4).layout()) == 4
    assert MoCoViews(gray=0.1).layout()[0].gray == 0.1
    minimal = LeJEPAViews(128, local_views=0, global_views=4, global_scale=(0.08, 1.0)).layout()
    assert [view.size for view in minimal] == [128] * 4
    for broken in (SimCLRViews(views=0), SwAVViews(local_views=-1), LeJEPAViews(global_views=0)):
        with pytest.raises(ValueError, match="is too small"):
            broken.layout()
