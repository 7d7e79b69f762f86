# SPDX-License-Identifier: Apache-2.0
"""A progress bar that steps aside for another one."""

from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from rich.errors import LiveError
from rich.progress import Progress

__all__ = ("steps",)

T = TypeVar("T")


def steps(items: Iterable[T], description: str, enabled: bool = True) -> Iterator[T]:
    """The items, with a bar that disappears when they are done.

    Rich shows one live display at a time: where one runs already, as Lightning's ``RichProgressBar`` does
    during a test, there is none of ours.
    """
    bar = Progress(transient=True, disable=not enabled)
    try:
        bar.start()
    except LiveError:
        yield from items
        return
    try:
        total = len(items) if isinstance(items, Sized) else None
        yield from bar.track(items, total=total, description=description)
    finally:
        bar.stop()
