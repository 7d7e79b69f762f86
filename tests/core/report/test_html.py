# SPDX-License-Identifier: Apache-2.0
import pytest

from conjoin.core.report.html import (
    Markup,
    absent,
    code_block,
    definitions,
    join,
    number,
    percent,
    table,
    tag,
)


def test_text_and_attributes_are_escaped_and_markup_is_not() -> None:
    made = tag(
        "p", "a < b & c", Markup("<b>x</b>"), title='say "hi"', class_="k", data_x=1, hidden=False, open=True
    )
    assert made == '<p title="say &quot;hi&quot;" class="k" data-x="1" open>a &lt; b &amp; c<b>x</b></p>'
    assert tag("img", alt="<") == '<img alt="&lt;">'
    assert join(["<", Markup("<")]) == "&lt;<"


def test_pieces_escape_what_they_are_given() -> None:
    bad = "<script>"
    for made in (
        absent(bad),
        table([bad], [[bad]], bad),
        definitions([(bad, bad)]),
        code_block(bad, bad),
    ):
        assert isinstance(made, Markup)
        assert "<script" not in made
        assert "&lt;script&gt;" in made


def test_table_marks_row_headings() -> None:
    made = table(["a", "b", "c"], [["1", "2", "3"]], "what", stub=2)
    assert made.count('scope="row"') == 2
    assert made.count("<td>") == 1
    assert made.count('class="stub"') == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12345.0, "12\u202f345"),
        (1234.5, "1\u202f234"),
        (0.123456, "0.123"),
        (3.0, "3"),
        (-0.5, "-0.5"),
        (float("nan"), "NaN"),
        (float("inf"), "inf"),
    ],
)
def test_number(value: float, text: str) -> None:
    assert number(value) == text


def test_percent() -> None:
    assert percent(0.4321) == "43.2\u202f%"
