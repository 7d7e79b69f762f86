# SPDX-License-Identifier: Apache-2.0
"""The page around the sections: one file that asks nothing of any network.

A content security policy in the page itself forbids every request, and lets only the page's own two
scripts run, named by their hashes: text that slipped through escaping could still not act.
"""

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources

from conjoin.core.report.figure import TEMPLATE, plotly_source, script_json
from conjoin.core.report.html import Markup, Section, join, tag

__all__ = ("page",)


def page(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """The whole document.

    Args:
        title: The heading.
        subtitle: One line under it.
        sections: In order.

    Raises:
        ImportError: plotly is not installed.
    """
    library, script = plotly_source(), _asset("report.js")
    hashes = " ".join(f"'{_hash(source)}'" for source in (library, script))
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    head = [
        tag("meta", charset="utf-8"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="generator", content="conjoin"),
        tag("title", title),
        tag("style", Markup(_asset("report.css"))),
    ]
    entries = [tag("li", tag("a", section.title, href=f"#{section.name}")) for section in sections]
    body = [
        tag("a", "Skip to the content", href="#content", class_="skip"),
        tag("header", tag("h1", title), tag("p", subtitle)),
        tag("nav", tag("ol", *entries), aria_label="Contents"),
        tag("main", *map(_section, sections), id="content"),
        tag("noscript", tag("p", "The figures need JavaScript; tables, images and texts do not.")),
        script_json(TEMPLATE, id="template"),
        tag("script", Markup(library)),
        tag("script", Markup(script)),
    ]
    html = tag("html", tag("head", *head), tag("body", *body), lang="en")
    return f"<!DOCTYPE html>\n{html}\n"


def _section(section: Section) -> Markup:
    heading = tag("h2", section.title, id=f"{section.name}-title")
    return tag(
        "section", join([heading, section.body]), id=section.name, aria_labelledby=f"{section.name}-title"
    )


def _asset(name: str) -> str:
    return (resources.files("conjoin.core.report") / "assets" / name).read_text(encoding="utf-8")


def _hash(source: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
