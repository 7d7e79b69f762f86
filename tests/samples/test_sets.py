# SPDX-License-Identifier: Apache-2.0
import dataclasses
import typing

import numpy as np
import pytest

from conjoin import samples
from conjoin.samples import sets


def test_fashion_has_its_counts_and_is_balanced():
    fashion = samples.fashion()
    for split, count in (("train", 10_000), ("validation", 2_000), ("test", 2_000)):
        part = getattr(fashion, split)
        assert len(part) == count
        assert part.images.shape == (count, 28, 28)
        assert part.images.dtype == np.uint8
        assert np.bincount(part.labels).tolist() == [count // 10] * 10
    assert fashion.class_names[0] == "T-shirt/top"
    assert len(fashion.class_names) == 10
    # Each mean picture of a class is nearest to its own training mean: labels and pictures belong together.
    means = [
        np.stack([p.images[p.labels == c].mean(0).ravel() for c in range(10)])
        for p in (fashion.train, fashion.test)
    ]
    distance = ((means[0][:, None] - means[1][None]) ** 2).sum(-1)
    assert distance.argmin(0).tolist() == list(range(10))


def test_fashion_splits_are_distinct_positions_of_the_official_files():
    raw = samples.store.arrays("fashion")
    train, validation = set(raw["train_source"].tolist()), set(raw["validation_source"].tolist())
    assert len(train) == 10_000
    assert len(validation) == 2_000
    assert not train & validation
    assert max(train | validation) < 60_000
    assert raw["test_source"].max() < 10_000
    assert (np.diff(raw["train_source"].astype(int)) > 0).all()


def test_emoji_pairs_are_split_by_emoji():
    emoji = samples.emoji()
    parts = (emoji.train, emoji.validation, emoji.test)
    assert sum(map(len, parts)) == samples.manifest()["emoji"]["count"]
    names = [set(part.captions) for part in parts]
    assert not names[0] & names[1]
    assert not names[0] & names[2]
    assert not names[1] & names[2]
    for part in parts:
        assert part.images.shape[1:] == (2, 64, 64, 3)
        assert len(part.captions) == len(part.labels) == len(part.sublabels) == len(part)
        assert set(part.labels.tolist()) == set(range(len(emoji.class_names)))
        # The two drawings show the same thing: nearer to one another than to the next emoji's drawing.
        small = part.images[:, :, ::8, ::8].reshape(len(part), 2, -1).astype(float)
        own = np.abs(small[:, 0] - small[:, 1]).mean()
        other = np.abs(small[:, 0] - np.roll(small[:, 1], len(part) // 2, axis=0)).mean()
        assert own < 0.75 * other
    assert not any("skin tone" in caption for part in parts for caption in part.captions)


def test_arrays_are_read_only_and_shared():
    assert samples.fashion() is samples.load("fashion")
    with pytest.raises(ValueError, match=r"read-only"):
        samples.fashion().train.images[0] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        samples.fashion().train = None


def test_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"No embedded set is called 'fasion': did you mean 'fashion'\?"):
        samples.load("fasion")
    with pytest.raises(ValueError, match=r"there are .*emoji, fashion"):
        samples.load("zzzz")


def test_every_name_of_the_manifest_can_be_loaded():
    assert sorted(sets._LOADERS) == sorted(samples.names())
    for name in samples.names():
        found = samples.load(name)
        assert isinstance(found, typing.get_args(samples.EmbeddedSet))
        assert samples.load(name) is found
