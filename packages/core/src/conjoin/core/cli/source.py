# SPDX-License-Identifier: Apache-2.0
"""The arguments that ``embed`` and ``probe`` share: a checkpoint, and data for it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from conjoin.core import plugins
from conjoin.core.checkpoint import load_model
from conjoin.core.cli.errors import UserError
from conjoin.core.cli.recipes import catalogue
from conjoin.core.cli.runs import RUNS, newest_checkpoint, run_of
from conjoin.core.data import DataModule

if TYPE_CHECKING:
    from conjoin.core.methods import JointEmbedding

__all__ = ("parse", "parser")


def parser(command: str, description: str) -> ArgumentParser:
    """A parser with ``--checkpoint``, ``--data`` and ``--device``."""
    plugins.load()
    made = ArgumentParser(prog=f"conjoin {command}", description=description, exit_on_error=False)
    made.add_argument(
        "--checkpoint", type=str, default="last", help="A checkpoint; `last` is the newest run's."
    )
    made.add_subclass_arguments(
        DataModule,
        "data",
        required=False,
        help="A recipe, a configuration file or a class; the run's own if left out.",
    )
    made.add_argument(
        "--trust",
        action="store_true",
        help="The checkpoint is my own: import the packages that it names and open pickles.",
    )
    made.add_argument("--device", type=str, default="cpu", help="Where to compute: cpu, cuda, cuda:1 ...")
    return made


def parse(
    parser: ArgumentParser, arguments: Sequence[str]
) -> tuple[Namespace, Path, "JointEmbedding", DataModule]:
    """Read the arguments, the checkpoint and the data.

    Returns:
        The parsed arguments, the checkpoint's path, the model on its device, the data module.

    Raises:
        UserError: If an argument is wrong or there is no data to be found.
    """
    arguments = _expanded(arguments)
    try:
        given = parser.parse_args(arguments)
        path = newest_checkpoint(RUNS) if given.checkpoint == "last" else Path(given.checkpoint)
        model = load_model(path, trust=given.trust)
        if given.data is None:
            given = parser.parse_object({"data": _data_of_run(path)}, given)
        data = parser.instantiate_classes(given).data
    except ArgumentError as error:
        from conjoin.core.cli.lightning import _readable

        raise UserError(_readable(str(error))) from error
    data.prepare_data()
    return given, path, model.to(given.device), data


def _expanded(arguments: Sequence[str]) -> list[str]:
    """Put the ``data`` of a recipe or file in the place of its name."""
    found = list(arguments)
    for position, argument in enumerate(found):
        flag, equals, value = argument.partition("=")
        if flag != "--data" or (not equals and position + 1 == len(found)):
            continue
        value = value if equals else found[position + 1]
        path = catalogue()[value].path if value in catalogue() else Path(value)
        if path.suffix in (".yaml", ".yml"):
            config = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
            node = json.dumps(config.get("data", config))
            found[position if equals else position + 1] = f"--data={node}" if equals else node
    return found


def _data_of_run(checkpoint: Path) -> Any:
    folder = run_of(checkpoint)
    path = folder / "config.yaml" if folder else None
    config = yaml.safe_load(path.read_text(encoding="utf-8")) if path and path.is_file() else {}
    if not config.get("data"):
        raise UserError(f"{checkpoint} lies in no run folder with a config.yaml: say which data with --data")
    return config["data"]
