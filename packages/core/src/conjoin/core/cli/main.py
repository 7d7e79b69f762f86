# SPDX-License-Identifier: Apache-2.0
"""``conjoin``: hand the sub-command its arguments, and turn exceptions into sentences."""

import importlib
import importlib.metadata
import os
import sys
from collections.abc import Sequence

from conjoin.core.cli.errors import UserError, explain

__all__ = ("main",)

# Sub-command -> (module with run(command, arguments), one line for --help).
COMMANDS = {
    "fit": ("conjoin.core.cli.lightning", "train a system: conjoin fit --config RECIPE"),
    "validate": ("conjoin.core.cli.lightning", "the loss of a checkpoint on the validation split"),
    "test": (
        "conjoin.core.cli.lightning",
        "the loss and the frozen evaluation of a checkpoint on the test split",
    ),
    "predict": ("conjoin.core.cli.lightning", "run a checkpoint's predict step over the data"),
    "recipes": ("conjoin.core.cli.recipes", "list the recipes of the installed packages, or show one"),
    "embed": ("conjoin.core.cli.embed", "write frozen features as .npz or .parquet"),
    "probe": (
        "conjoin.core.cli.probe",
        "linear, kNN and attentive probes of frozen features beside baselines",
    ),
    "rank": ("conjoin.core.cli.rank", "order runs by label-free measures, and judge the order by a probe"),
    "report": ("conjoin.core.cli.report", "one self-contained HTML page about a run"),
    "convert": ("conjoin.core.cli.convert", "translate weights between formats"),
}


def _usage() -> str:
    lines = [f"  {name:<10}{text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        (
            "usage: conjoin COMMAND [arguments]    (conjoin COMMAND --help says more)",
            "",
            "Joint-embedding self-supervised learning on PyTorch Lightning.",
            "",
            *lines,
            "",
            "options:",
            "  --version   the version",
            "  --help      this text",
            "",
            "A recipe's name goes wherever --config takes a path. CONJOIN_DEBUG=1 shows tracebacks.",
        )
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments without the program's name; ``sys.argv[1:]`` if not given.

    Returns:
        0 if all went well, 2 for a mistake of the user, 1 for a defect.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    speakers: tuple[str, ...] = ("conjoin",)
    try:
        if not arguments or arguments[0] in ("-h", "--help", "help"):
            print(_usage())
            return 0
        if arguments[0] == "--version":
            print(f"conjoin {importlib.metadata.version('conjoin')}")
            return 0
        from conjoin.core import plugins

        speakers = tuple({"conjoin", *(plugin.module.partition(".")[0] for plugin in plugins.plugins())})
        command, *rest = arguments
        if command not in COMMANDS:
            close = plugins.nearest(command, COMMANDS)
            hint = f"did you mean `conjoin {close}`?" if close else f"choose from {', '.join(COMMANDS)}"
            raise UserError(f"There is no command {command!r}; {hint}")
        importlib.import_module(COMMANDS[command][0]).run(command, rest)
    except BrokenPipeError:  # `conjoin recipes | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except Exception as error:  # the border of the program: everything ends as an exit code
        return explain(error, speakers)
    return 0
