# SPDX-License-Identifier: Apache-2.0
import numpy as np

from conjoin import samples


def test_shapes_have_their_counts_and_are_split_by_family():
    shapes = samples.shapes()
    assert samples.load("shapes") is shapes
    described = samples.manifest()["shapes"]
    parts = {"train": shapes.train, "validation": shapes.validation, "test": shapes.test}
    assert {name: len(part) for name, part in parts.items()} == described["splits"]
    assert sum(map(len, parts.values())) == described["count"] == 3309
    assert len(shapes.class_names) == 34
    families = [set(part.families.tolist()) for part in parts.values()]
    assert not families[0] & families[1]
    assert not families[0] & families[2]
    assert not families[1] & families[2]
    for part in parts.values():
        assert set(part.labels.tolist()) == set(range(34))
        assert part.points.shape == (len(part), 512, 3)
        assert part.points.dtype == np.float32
        for label, family, name in zip(part.labels, part.families, part.names, strict=True):
            library, _, stem = shapes.family_names[family].partition("/")
            assert library == shapes.class_names[label]
            assert name.startswith(stem)
        assert not part.points.flags.writeable


def test_shapes_are_clouds_in_millimetres():
    part = samples.shapes().train
    assert np.isfinite(part.points).all()
    np.testing.assert_allclose(part.points.min(1), 0, atol=1e-6)
    sides = part.points.max(1)
    assert 0.1 < np.median(sides) < 50
    assert 512 >= np.median([len(np.unique(cloud, axis=0)) for cloud in part.points[::50]]) > 490
    # A DIP-8 package is about 9.5 mm long and its pins stand in two rows 7.62 mm apart.
    row = [n for n, name in enumerate(part.names) if name == "DIP-8_W7.62mm"]
    if row:
        assert 7 < sorted(sides[row[0]])[-1] < 13


def test_licence_is_handed_on():
    text = samples.licence("shapes")
    assert "CC-BY-SA-4.0" in text
    assert "KiCad" in text
