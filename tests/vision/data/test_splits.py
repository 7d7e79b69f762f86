# SPDX-License-Identifier: Apache-2.0
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from conjoin.vision.data.splits import keyed_split


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(-1, 4), min_size=1, max_size=60),
    st.floats(0, 0.45),
    st.floats(0, 0.45),
)
def test_splits_partition_and_leave_training_something_of_each_class(labels, val, test):
    labels = np.array(labels)
    parts = keyed_split(labels, {"val": val, "test": test})
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(labels)))
    assert set(labels[parts["train"]]) == set(labels.tolist())
    for name, share in (("val", val), ("test", test)):
        assert (np.diff(parts[name]) > 0).all()
        assert share or not len(parts[name])
        for value in set(labels.tolist()):
            size, held = (labels == value).sum(), (labels[parts[name]] == value).sum()
            assert held <= max(1, round(share * size))
            if share and size >= 3:
                assert held >= 1
