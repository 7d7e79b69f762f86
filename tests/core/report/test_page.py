# SPDX-License-Identifier: Apache-2.0
import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from conjoin.core.report.html import Markup, Section
from conjoin.core.report.page import page

pytest.importorskip("plotly")


class Outline(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if "id" in given:
            self.ids.append(given["id"] or "")
        if tag == "a":
            self.links.append(given.get("href") or "")
        self.loads += [
            (name, value or "")
            for name, value in attrs
            if name in {"src", "srcset", "poster", "data", "action"}
        ]
        if tag == "link":
            self.loads.append(("link", given.get("href") or ""))


@pytest.fixture(scope="module")
def text() -> str:
    return page(
        "a < b",
        "c & d",
        [Section("one", "First <i>", Markup("<p>x</p>")), Section("two", "Second", Markup(""))],
    )


def test_titles_are_escaped_and_contents_lead_to_the_sections(text: str) -> None:
    outline = Outline()
    outline.feed(text)
    assert "<title>a &lt; b</title>" in text
    assert "First &lt;i&gt;" in text
    assert len(set(outline.ids)) == len(outline.ids)
    assert outline.links == ["#content", "#one", "#two"]
    assert {link[1:] for link in outline.links} <= set(outline.ids)
    assert outline.loads == []


def test_only_the_two_scripts_of_the_page_may_run(text: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == 2
    hashes = {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts}
    assert {f"'sha256-{value}'" for value in hashes} == set(
        re.search(r"script-src ([^;]*)", policy)[1].split()
    )
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_nothing_but_the_library_names_an_address(text: str) -> None:
    library = max(re.findall(r"<script>(.*?)</script>", text, re.DOTALL), key=len)
    rest = text.replace(library, "")
    assert not re.search(r"https?:|//[a-z]+\.[a-z]|url\(|@import|fetch\(|XMLHttpRequest", rest)


def test_modes_and_paper(text: str) -> None:
    for query in ("prefers-color-scheme: dark", "@media print", "max-width: 30rem", "prefers-reduced-motion"):
        assert query in text
    assert '<html lang="en">' in text
    assert 'name="viewport"' in text
