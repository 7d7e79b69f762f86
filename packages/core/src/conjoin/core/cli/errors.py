# SPDX-License-Identifier: Apache-2.0
"""One sentence for a mistake of the user, a traceback for a mistake of ours."""

import os
import sys
import traceback
from types import TracebackType

__all__ = ("UserError", "explain")

# Kinds of exceptions by which conjoin's own code, its plugins and Lightning speak to the user.
_SPOKEN = {
    "ArgumentError",
    "ArgumentTypeError",
    "CheckpointError",
    "CorruptSampleError",
    "ImportError",
    "MisconfigurationException",
    "ModuleNotFoundError",
    "PluginError",
    "RuntimeError",
    "SpecError",
    "TypeError",
    "ValueError",
}
_ALWAYS = {"ArgumentError", "ArgumentTypeError", "CheckpointError", "MisconfigurationException"}


class UserError(ValueError):
    """Something on the command line cannot be done as asked."""


def explain(error: BaseException, speakers: tuple[str, ...] = ("conjoin",)) -> int:
    """Report an exception and choose the exit code.

    An OSError, or an exception raised by ``conjoin`` or a plugin itself, is a sentence for the user
    (exit code 2). One that surfaced in a foreign library is a defect and keeps its traceback (1).
    With ``CONJOIN_DEBUG=1`` everything has its traceback.

    Args:
        error: What was caught.
        speakers: Root packages whose exceptions are written for users.

    Returns:
        The exit code.
    """
    # The parser wraps what a class's constructor said in its own account of the types it tried.
    while _raised_in(error.__traceback__).startswith("jsonargparse") and error.__cause__ is not None:
        error = error.__cause__
    spoken = (
        isinstance(error, UserError | OSError)
        or type(error).__name__ in _ALWAYS
        or (type(error).__name__ in _SPOKEN and _raised_in(error.__traceback__).partition(".")[0] in speakers)
    )
    if not spoken or os.environ.get("CONJOIN_DEBUG") == "1":
        traceback.print_exception(error)
    if not spoken:
        print(
            "conjoin: this looks like a defect, not like a mistake of yours: please report it",
            file=sys.stderr,
        )
        return 1
    print(f"conjoin: error: {_sentence(error)}", file=sys.stderr)
    return 2


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return where + error.strerror
    return str(error).strip() or type(error).__name__


def _raised_in(trace: TracebackType | None) -> str:
    """The module of the innermost frame."""
    module = ""
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        trace = trace.tb_next
    return module
