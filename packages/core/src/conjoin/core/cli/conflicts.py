# SPDX-License-Identifier: Apache-2.0
"""Where a checkpoint and the command line disagree about the model.

Lightning prefers the checkpoint and says nothing. Here the two are compared as plain values.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

from conjoin.core.spec import SpecError, is_spec, resolve

__all__ = ("Difference", "as_config", "differences", "table")


@dataclasses.dataclass(frozen=True)
class Difference:
    """One value that differs: its dotted name, and what each side says."""

    name: str
    checkpoint: Any
    given: Any


def differences(checkpoint: dict[str, Any], given: dict[str, Any]) -> list[Difference]:
    """Compare two specs of a model.

    Args:
        checkpoint: Spec from the file.
        given: Spec from the command line and its configuration files.

    Returns:
        The differences among values that both sides name. A seed that the command line leaves open
        (None) is no difference.
    """
    return list(_walk("model", checkpoint, given))


def _same_class(one: str, other: str) -> bool:
    if one == other:
        return True
    try:
        return resolve(one, trust=True) is resolve(other, trust=True)
    except SpecError:
        return False


def _walk(name: str, left: Any, right: Any) -> Iterator[Difference]:
    if is_spec(left) and is_spec(right) and not _same_class(left["class_path"], right["class_path"]):
        yield Difference(name, left["class_path"], right["class_path"])
        return
    # A dataclass has no class path on the command line: its fields stand alone.
    left = left.get("init_args") or {} if is_spec(left) else left
    right = right.get("init_args") or {} if is_spec(right) else right
    if isinstance(left, dict) and isinstance(right, dict):
        for key in left:
            if key in right and not (key == "seed" and right[key] is None):
                yield from _walk(f"{name}.{key}", left[key], right[key])
    elif isinstance(left, list | tuple) and isinstance(right, list | tuple) and len(left) == len(right):
        for number, (one, other) in enumerate(zip(left, right, strict=True)):
            yield from _walk(f"{name}[{number}]", one, other)
    elif left != right and not (isinstance(left, dict) and right is None):
        yield Difference(name, left, right)


def as_config(spec: Any) -> Any:
    """A spec as the command line's parser wants it: lists for tuples, bare fields for dataclasses."""
    if isinstance(spec, list | tuple):
        return [as_config(item) for item in spec]
    if not isinstance(spec, dict):
        return spec
    if is_spec(spec):
        arguments = as_config(spec.get("init_args") or {})
        cls = resolve(spec["class_path"], trust=True)
        # Only a dataclass without subclasses or parents is parsed as a group of fields.
        bare = dataclasses.is_dataclass(cls) and cls.__mro__[1] is object and not cls.__subclasses__()
        return arguments if bare else {"class_path": spec["class_path"], "init_args": arguments}
    return {name: as_config(item) for name, item in spec.items()}


def table(found: list[Difference]) -> str:
    """The differences in columns."""
    rows = [("", "checkpoint", "command line"), *((d.name, str(d.checkpoint), str(d.given)) for d in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
