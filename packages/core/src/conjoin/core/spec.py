# SPDX-License-Identifier: Apache-2.0
"""Objects that can say how they were made, and the way back.

A *spec* is ``{"class_path": "package.Class", "init_args": {...}}`` made of numbers, strings, booleans,
None, lists, tuples, dictionaries and further specs: exactly what a YAML file and a ``weights_only``
checkpoint can hold. :func:`describe` makes one from an object, :func:`build` makes the object again.

Two kinds of object can be described: dataclasses (their fields are their spec) and subclasses of
:class:`SelfDescribing`, which remember the arguments of their most derived constructor. A ready module
handed to a generic base class is neither, and is named as the reason why the result cannot be rebuilt.

This module imports neither torch nor Lightning, so that encoders and objectives may use it.
"""

import dataclasses
import importlib
import inspect
import sys
import types
import typing
from pathlib import Path
from typing import Any, Self

__all__ = ("SelfDescribing", "SpecError", "build", "class_path", "describe", "plain", "record", "resolve")


class SpecError(ValueError):
    """An object cannot be described, or a description cannot be turned into an object."""


class SelfDescribing:
    """Mixin that remembers the constructor arguments of the most derived class as plain values.

    The arguments are taken before ``__init__`` runs, with defaults filled in, so a subclass needs no
    call of its own, whether it is built in Python or by the command line. Put it first among the bases.
    A copy or an unpickled object keeps the description of the original.
    """

    _init_args: dict[str, Any] | None
    _init_problem: str

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Take down the arguments."""
        self = super().__new__(cls)
        arguments: dict[str, Any] | None = None
        problem = "it was made without its constructor"
        try:
            arguments = _arguments(cls, self, args, kwargs)
        except SpecError as error:
            problem = str(error)
        except TypeError:
            # Copying and unpickling call __new__ bare and bring the description with the state;
            # arguments that are really wrong are reported by __init__, better than here.
            pass
        # nn.Module's own __setattr__ is not ready before its __init__ has run.
        object.__setattr__(self, "_init_args", arguments)
        object.__setattr__(self, "_init_problem", problem)
        return self


def _arguments(cls: type, self: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Bind a call of ``cls`` to parameter names and describe each value."""
    constructor: Any = cls.__init__  # type: ignore[misc]  # of exactly this class
    bound = inspect.signature(constructor).bind(self, *args, **kwargs)
    bound.apply_defaults()
    parameters = list(bound.signature.parameters.values())[1:]
    found: dict[str, Any] = {}
    for parameter in parameters:
        value = bound.arguments[parameter.name]
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            found.update({name: _described(item, name) for name, item in value.items()})
        elif parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            if value:
                raise SpecError(f"its arguments *{parameter.name} have no names")
        else:
            found[parameter.name] = _described(value, parameter.name)
    return found


def _described(value: Any, name: str) -> Any:
    try:
        return describe(value)
    except SpecError as error:
        raise SpecError(f"argument {name!r}: {error}") from None


def class_path(cls: type) -> str:
    """The shortest dotted path under which ``cls`` is importable from modules already loaded.

    ``conjoin.vision.methods.ijepa.IJEPA`` becomes ``conjoin.vision.IJEPA`` once that package exports
    it, so that saved files survive a move of the file.
    """
    parts = cls.__module__.split(".")
    for length in range(1, len(parts)):
        module = sys.modules.get(".".join(parts[:length]))
        if getattr(module, cls.__qualname__, None) is cls:
            return ".".join((*parts[:length], cls.__qualname__))
    return f"{cls.__module__}.{cls.__qualname__}"


def describe(value: Any) -> Any:
    """Turn a value into plain data.

    Args:
        value: A plain value, a dataclass instance, a :class:`SelfDescribing` object, or lists, tuples
            and dictionaries of these.

    Returns:
        The value itself if it is plain, else its spec; containers keep their type.

    Raises:
        SpecError: If something inside cannot be written as plain values.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return tuple(describe(item) for item in value)
    if isinstance(value, list):
        return [describe(item) for item in value]
    if isinstance(value, dict):
        return {str(name): describe(item) for name, item in value.items()}
    if isinstance(value, SelfDescribing):
        if value._init_args is None:
            raise SpecError(
                f"{type(value).__name__} cannot be rebuilt from plain values ({value._init_problem})"
            )
        return {"class_path": class_path(type(value)), "init_args": plain(value._init_args)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        return {
            "class_path": class_path(type(value)),
            "init_args": {name: _described(item, name) for name, item in fields.items()},
        }
    raise SpecError(f"a ready {type(value).__module__}.{type(value).__qualname__} is not a plain value")


def record(target: SelfDescribing, spec: dict[str, Any]) -> None:
    """Tell ``target`` how it was made: for builders that know more than its constructor saw.

    The command line builds a generic system from nested specs; the constructor sees ready modules.

    Args:
        target: The object.
        spec: ``{"class_path", "init_args"}``; the class path must be that of ``target``.
    """
    if resolve(spec["class_path"], trust=True) is not type(target):
        raise SpecError(f"{spec['class_path']} is not the class of this {type(target).__name__}")
    object.__setattr__(target, "_init_args", plain(spec.get("init_args") or {}))


def plain(value: Any) -> Any:
    """A deep copy of plain data."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(plain(item) for item in value)
    return value


def is_spec(value: Any) -> bool:
    """Whether ``value`` is a dictionary with a ``class_path`` and at most ``init_args`` beside it."""
    return isinstance(value, dict) and "class_path" in value and set(value) <= {"class_path", "init_args"}


def resolve(path: str, *, trust: bool = False) -> type:
    """Find the class of a spec.

    Args:
        path: ``package.module.Class``.
        trust: Whether modules of packages that this process has not imported may be imported, and
            classes that cannot describe themselves called. A checkpoint from elsewhere must not be
            able to do either.

    Raises:
        SpecError: If there is no such class, or it may not be used without ``trust``.
    """
    module_path, _, name = path.rpartition(".")
    root = module_path.partition(".")[0]
    if not (trust or root == "conjoin" or root in sys.modules):
        raise SpecError(
            f"{path} belongs to the package {root!r}, which is not imported here; import it first if you "
            "trust it, or load with trust=True (--trust)"
        )
    try:
        found = getattr(importlib.import_module(module_path), name, None) if module_path else None
    except ImportError as error:
        from conjoin.core.plugins import install_hint

        raise SpecError(f"{path} cannot be imported ({error}); {install_hint(path)}") from error
    if not isinstance(found, type):
        raise SpecError(f"There is no class {path}; it was renamed, or defined inside a function or script")
    if not (trust or issubclass(found, SelfDescribing) or dataclasses.is_dataclass(found)):
        raise SpecError(
            f"{path} is not a class that describes itself; load with trust=True if you trust the file"
        )
    return found


def build(spec: Any, *, trust: bool = False) -> Any:
    """Make the object that a spec describes; plain values are returned as they are.

    Args:
        spec: What :func:`describe` returned, or the same after a trip through JSON or YAML: lists
            become tuples again where the constructor's type hints say so.
        trust: See :func:`resolve`.

    Raises:
        SpecError: If a class is missing or its constructor does not take the arguments.
    """
    if isinstance(spec, list | tuple):
        return type(spec)(build(item, trust=trust) for item in spec)
    if not isinstance(spec, dict):
        return spec
    if not is_spec(spec):
        return {name: build(item, trust=trust) for name, item in spec.items()}
    return construct(resolve(spec["class_path"], trust=trust), spec.get("init_args") or {}, trust=trust)


def construct(cls: type, arguments: dict[str, Any], *, trust: bool = False) -> Any:
    """Call a class with described arguments; ready objects among them are passed on as they are.

    Raises:
        SpecError: If the constructor does not take the arguments.
    """
    hints = _hints(cls)
    built = {name: _tupled(build(item, trust=trust), hints.get(name)) for name, item in arguments.items()}
    try:
        inspect.signature(cls).bind(**built)
    except TypeError as error:
        raise SpecError(f"{class_path(cls)} does not take these arguments: {error}") from None
    return cls(**built)


def _hints(cls: type) -> dict[str, Any]:
    try:
        target: Any = cls if dataclasses.is_dataclass(cls) else cls.__init__  # type: ignore[misc]
        return typing.get_type_hints(target)
    except NameError:  # names that exist for type checkers only
        return {}


def _tupled(value: Any, hint: Any) -> Any:
    """Turn a list into a tuple if the hint has tuples and no lists."""
    if not isinstance(value, list) or hint is None:
        return value
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    options = typing.get_args(hint) if union else (hint,)
    origins = {typing.get_origin(option) or option for option in options}
    if tuple not in origins or list in origins:
        return value
    inner = next((typing.get_args(option) for option in options if typing.get_origin(option) is tuple), ())
    return tuple(_tupled(item, inner[0] if inner else None) for item in value)
