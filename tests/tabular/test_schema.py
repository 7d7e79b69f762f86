# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from conjoin.tabular import Schema, Table

NAN = np.nan


def table(a, b, c=("u", "v", "u", "v")):
    return Table({"a": np.array(a), "kind": np.array(c, object), "b": np.array(b)})


def test_statistics_are_those_of_the_rows_that_were_fitted():
    schema = Schema.fit(table([1.0, 2.0, 3.0, 6.0], [0.0, NAN, 4.0, 8.0]))
    assert schema.names == ("a", "b", "kind")  # numbers first
    assert (schema.categories, schema.missing) == ((2,), (1,))
    x = schema.encode(table([3.0, NAN, 100.0, 3.0], [4.0, NAN, 4.0, 4.0], ("v", "w", None, "u")))
    assert x.dtype == np.float32
    deviation = np.sqrt(np.mean((np.array([1, 2, 3, 6.0]) - 3) ** 2))
    # A missing number becomes the mean where training had none missing, and stays missing where it had.
    np.testing.assert_allclose(x[:, 0], [0, 0, 97 / deviation, 0], rtol=1e-6)
    np.testing.assert_allclose(x[:, 1], [0, NAN, 0, 0])
    # "w" and a missing kind were never seen: the number after the last.
    assert x[:, 2].tolist() == [1, 2, 2, 0]


def test_minmax_scaling_and_its_fill():
    schema = Schema.fit(table([1.0, 2.0, 3.0, 6.0], [0.0, 2.0, 4.0, 8.0]), "minmax")
    x = schema.encode(table([1.0, 6.0, NAN, 11.0], [8.0, 0.0, 4.0, 4.0]))
    np.testing.assert_allclose(x[:, 0], [0, 1, 0.4, 2], rtol=1e-6)
    np.testing.assert_allclose(x[:, 1], [1, 0, 0.5, 0.5])


def test_a_missing_category_of_training_is_a_category():
    schema = Schema.fit(table([1.0, 2.0, 3.0, 6.0], [0.0, 1.0, 2.0, 3.0], ("u", None, "u", "v")))
    assert schema.categorical[0].values == ("", "u", "v")
    x = schema.encode(table([1.0] * 4, [1.0] * 4, (None, "u", "v", "x")))
    assert x[:, 2].tolist() == [0, 1, 2, 3]


def test_constant_columns_are_kept_with_a_warning():
    with pytest.warns(UserWarning, match="Column 'a' is constant in the training rows \\(5\\)"):
        schema = Schema.fit(table([5.0] * 4, [0.0, 1.0, 2.0, 3.0]))
    assert schema.encode(table([5.0, 5.0, 6.0, NAN], [0.0] * 4))[:, 0].tolist() == [0, 0, 1, 0]
    with pytest.warns(UserWarning, match="Column 'kind' is constant in the training rows \\('u'\\)"):
        Schema.fit(table([1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 2.0, 3.0], ("u",) * 4))


def test_columns_without_a_value_are_refused():
    with pytest.raises(ValueError, match="Column 'b' has no value in the training rows: leave it out"):
        Schema.fit(table([1.0, 2.0, 3.0, 4.0], [NAN] * 4))
    with pytest.raises(ValueError, match="Column 'kind' has no value in the training rows"):
        Schema.fit(table([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0], (None,) * 4))
    with pytest.raises(ValueError, match="no training row"):
        Schema.fit(table([1.0] * 4, [1.0] * 4).rows(np.zeros(0, int)))
    with pytest.raises(ValueError, match="scaling must be 'standard' or 'minmax', not 'rank'"):
        Schema.fit(table([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]), "rank")


def test_one_hot_features():
    schema = Schema.fit(table([-1.0, 1.0, -1.0, 1.0], [0.0, NAN, 2.0, 0.0]))
    x = torch.from_numpy(
        schema.encode(table([1.0, -1.0, 1.0, 1.0], [NAN, 0.0, 2.0, 0.0], ("v", "u", "new", "u")))
    )
    features = schema.one_hot(x)
    assert features.shape == (4, 2 + 1 + 2)
    assert features[:, 0].tolist() == [1, -1, 1, 1]
    assert features[:, 2].tolist() == [1, 0, 0, 0]  # missing b
    assert features[0, 1] == 0
    assert features[:, 3:].tolist() == [[0, 1], [1, 0], [0, 0], [1, 0]]  # unknown: neither


def test_check_names_the_arguments_that_fit():
    schema = Schema.fit(table([1.0, 2.0, 3.0, 6.0], [0.0, NAN, 4.0, 8.0]))
    schema.check(2, (2,), (1,))
    with pytest.raises(
        ValueError,
        match=r"data have numeric: 2, categories: \[2\], missing: \[1\]; the encoder was made for numeric: 3",
    ):
        schema.check(3, (2,), (1,))
