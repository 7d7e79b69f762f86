# SPDX-License-Identifier: Apache-2.0
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from conjoin.vision.data.restricted_pickle import load_arrays


def test_arrays_and_plain_values_come_back(tmp_path):
    content = {"a": np.arange(6, dtype=np.uint8).reshape(2, 3), "b": [1, "x", 2.5, None]}
    for protocol in range(5):
        (tmp_path / "p").write_bytes(pickle.dumps(content, protocol))
        loaded = load_arrays(tmp_path / "p")
        assert loaded["b"] == content["b"]
        np.testing.assert_array_equal(loaded["a"], content["a"])


@pytest.mark.parametrize("content", [OrderedDict(), pickle.loads, np.random.rand])
def test_everything_else_is_refused(tmp_path, content):
    (tmp_path / "p").write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=r"/p is not a pickle of plain arrays \(it names "):
        load_arrays(tmp_path / "p")
