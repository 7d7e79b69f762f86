# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.tabular.encoders import ColumnTokenizer

NAN = float("nan")


def made(**options):
    torch.manual_seed(0)
    arguments = {"numeric": 3, "categories": (2, 4), "dim": 6, "missing": (1,)} | options
    return ColumnTokenizer(**arguments)


def test_tokens_are_the_formulas_of_the_columns():
    tokenizer = made()
    x = torch.tensor([[1.5, -2.0, 0.0, 1.0, 3.0], [0.5, NAN, 4.0, 0.0, 2.0]])
    tokens = tokenizer(x)
    assert tokens.shape == (2, 6, 6)
    for row in range(2):
        assert torch.equal(tokens[row, 0], tokenizer.register[0])  # no bias
        for column in range(3):
            value = x[row, column]
            content = tokenizer.missing[0] if value.isnan() else value * tokenizer.weight[column]
            torch.testing.assert_close(tokens[row, 1 + column], content + tokenizer.bias[column])
        for place, start in enumerate((0, 2)):
            vector = tokenizer.embedding[start + int(x[row, 3 + place])]
            torch.testing.assert_close(tokens[row, 4 + place], vector + tokenizer.bias[3 + place])


@pytest.mark.parametrize("code", [4.0, 9.0, -1.0, NAN])
def test_an_unknown_category_is_the_mean_of_its_column(code):
    tokenizer = made()
    token = tokenizer(torch.tensor([[0.0, 0.0, 0.0, 0.0, code]]))[0, 5]
    torch.testing.assert_close(token, tokenizer.embedding[2:6].mean(0) + tokenizer.bias[4])


def test_a_missing_number_where_none_was_expected_is_zero():
    tokenizer = made()
    a, b = tokenizer(torch.tensor([[NAN, 0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0]]))
    assert torch.equal(a, b)


def test_missing_values_leave_no_nan_in_the_gradient():
    tokenizer = made()
    tokenizer(torch.tensor([[NAN, NAN, 1.0, 0.0, 0.0]])).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in tokenizer.parameters())
    assert tokenizer.missing.grad.abs().sum() > 0


def test_kinds_add_a_vector_per_kind():
    tokenizer = made(type_embedding=True)
    plain = made()
    x = torch.tensor([[1.0, 2.0, 3.0, 1.0, 1.0]])
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            parameter.copy_(tokenizer.get_parameter(name))
    difference = (tokenizer(x) - plain(x))[0]
    assert not difference[0].any()
    torch.testing.assert_close(difference[1:4], tokenizer.types[:1].expand(3, -1))
    torch.testing.assert_close(difference[4:], tokenizer.types[1:].expand(2, -1))
    assert made(categories=(), type_embedding=True).types is None


def test_without_register_or_of_one_kind():
    assert made(register=False)(torch.zeros(2, 5)).shape == (2, 5, 6)
    assert made(numeric=0, missing=())(torch.zeros(2, 2)).shape == (2, 3, 6)
    assert made(categories=())(torch.zeros(2, 3)).shape == (2, 4, 6)


def test_initial_scales():
    torch.manual_seed(0)
    official = ColumnTokenizer(50, (400,), 64)
    assert official.weight.abs().max() <= 1 / 8
    assert official.weight.std().item() == pytest.approx(1 / 8 / 3**0.5, rel=0.05)
    assert official.embedding.std().item() == pytest.approx(0.02, rel=0.05)
    assert ColumnTokenizer(50, (400,), 64, init="xavier").embedding.std().item() == pytest.approx(
        0.0722, rel=0.05
    )


def test_meta_device_and_reset():
    """Index tables are no parameters: they come back with ``reset_parameters``."""
    with torch.device("meta"):
        tokenizer = made()
    tokenizer.to_empty(device="cpu")
    tokenizer.reset_parameters()
    twin = made()
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            parameter.copy_(tokenizer.get_parameter(name))
    x = torch.tensor([[1.0, NAN, 3.0, 1.0, 7.0]])
    assert torch.equal(tokenizer(x), twin(x))
    assert set(tokenizer.state_dict()) == {"register", "weight", "bias", "embedding", "missing"}


def test_guards():
    with pytest.raises(ValueError, match="needs columns: got 0 numeric and 0 categorical"):
        made(numeric=0, categories=(), missing=())
    with pytest.raises(ValueError, match="at least one category"):
        made(categories=(2, 0))
    for wrong in ((3,), (-1,), (1, 0), (1, 1)):
        with pytest.raises(ValueError, match="by place, ascending, from 0 to 2"):
            made(missing=wrong)
    with pytest.raises(ValueError, match=r"rows of 5 columns \(3 numeric, 2 categorical\), got .*\(2, 4\)"):
        made()(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="cannot hold 300 categories"):
        ColumnTokenizer(1, (300,), 4)(torch.zeros(1, 2, dtype=torch.bfloat16))
    assert "categories=(2, 4)" in repr(made())
