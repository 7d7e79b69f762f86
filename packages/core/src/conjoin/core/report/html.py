# SPDX-License-Identifier: Apache-2.0
"""Pieces of HTML. A plain string is always escaped; only :class:`Markup` goes into the page as it is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

__all__ = (
    "Markup",
    "Section",
    "absent",
    "code_block",
    "definitions",
    "join",
    "number",
    "percent",
    "table",
    "tag",
)

_VOID = {"img", "meta"}


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


@dataclass(frozen=True)
class Section:
    """One part of the report.

    Attributes:
        name: The anchor.
        title: The heading, also in the table of contents.
        body: What stands under it.
    """

    name: str
    title: str
    body: Markup


def join(parts: Iterable[str]) -> Markup:
    """Concatenate, escaping what is not :class:`Markup`."""
    return Markup("".join(part if isinstance(part, Markup) else escape(part) for part in parts))


def tag(name: str, /, *children: str, **attributes: str | int | bool | None) -> Markup:
    """An element; ``class_`` gives ``class``, ``data_x`` gives ``data-x``; ``None`` and ``False`` drop it."""
    written = ""
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        written += f" {key.rstrip('_').replace('_', '-')}"
        written += "" if value is True else f'="{escape(str(value))}"'
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(children)}</{name}>")


def absent(sentence: str) -> Markup:
    """The one sentence that stands for what cannot be shown."""
    return tag("p", sentence, class_="absent")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str, stub: int = 1) -> Markup:
    """A table whose first ``stub`` columns are row headings."""
    header = tag(
        "tr",
        *(
            tag("th", cell, scope="col", class_="stub" if place < stub else None)
            for place, cell in enumerate(head)
        ),
    )
    body = (
        tag(
            "tr",
            *(
                tag("th", cell, scope="row") if place < stub else tag("td", cell)
                for place, cell in enumerate(row)
            ),
        )
        for row in rows
    )
    whole = tag("table", tag("caption", caption), tag("thead", header), tag("tbody", *body))
    return tag("div", whole, class_="wide", tabindex=0, role="region", aria_label=caption)


def definitions(pairs: Iterable[tuple[str, str]]) -> Markup:
    """Names and values side by side."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs))


def code_block(text: str, name: str) -> Markup:
    """Preformatted text with a button that copies it."""
    button = tag("button", "Copy", type="button", data_copy=name)
    return tag("div", button, tag("pre", tag("code", text), id=name, tabindex=0), class_="code")


def number(value: float, digits: int = 3) -> str:
    """A number as people write it: thousands apart, no needless digits."""
    if value != value:
        return "NaN"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", "\u202f")
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.{digits}g}"


def percent(value: float) -> str:
    """A share as a percentage with one decimal."""
    return f"{100 * value:.1f}\u202f%"
