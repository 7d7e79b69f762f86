# SPDX-License-Identifier: Apache-2.0
"""``conjoin fit|validate|test|predict``: Lightning's command line with recipes and run folders."""

import json
import re
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import ArgumentError, Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint, ProgressBar, RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.plugins.io import CheckpointIO

from conjoin.core import plugins
from conjoin.core.checkpoint import self_description
from conjoin.core.checkpoint_io import AtomicCheckpointIO, SaveLast, load
from conjoin.core.cli.conflicts import as_config, differences, table
from conjoin.core.cli.errors import UserError
from conjoin.core.cli.recipes import catalogue, with_paths
from conjoin.core.cli.runs import RUNS, RunLogger, newest_checkpoint, run_of
from conjoin.core.data import DataModule
from conjoin.core.methods import JointEmbedding
from conjoin.core.spec import record

__all__ = ("ConjoinCLI", "run")

COMMANDS = ("fit", "validate", "test", "predict")


class ConjoinCLI(LightningCLI):
    """LightningCLI in subclass mode with conjoin's habits.

    Args:
        command: One of ``fit``, ``validate``, ``test``, ``predict``.
        arguments: What follows it.
        run: Whether to run the Trainer; False only builds model, data and Trainer.
    """

    def __init__(self, command: str, arguments: Sequence[str], run: bool = True) -> None:
        plugins.load()
        self._command = command
        self._execute = run
        arguments = list(arguments)
        self._recipe = _recipe_in(arguments)
        self._checkpoint = None if _asks_help(arguments) else _checkpoint_in(command, arguments, self._recipe)
        self._content = load(self._checkpoint) if self._checkpoint else {}
        self._info: dict[str, Any] = self._content.get("conjoin") or {}
        self._implied = _implied(self._checkpoint, self._info) if self._checkpoint else {}
        if self._checkpoint:
            arguments = [*_without_flag(arguments, "--ckpt_path"), f"--ckpt_path={self._checkpoint}"]
        kwargs: dict[str, Any] = {"exit_on_error": False}
        super().__init__(
            JointEmbedding,
            DataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            save_config_callback=SaveConfigCallback if command == "fit" else None,
            save_config_kwargs={"overwrite": True},
            parser_kwargs=kwargs | {name: dict(kwargs) for name in COMMANDS},
            args=[command, *with_paths(arguments)],
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Our own arguments beside Lightning's."""
        parser.add_argument(
            "--on_conflict",
            type=Literal["error", "checkpoint", "flags"],
            default="error",
            help="If the checkpoint's model and the arguments differ: stop, or which of them to follow.",
        )

    def _prepare_subcommand_parser(
        self, klass: type, subcommand: str, **kwargs: Any
    ) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        parser.set_defaults({"weights_only": True})
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and say what is wrong in one sentence."""
        command, *rest = args
        try:
            with tempfile.TemporaryDirectory(prefix="conjoin-") as folder:
                if self._implied:  # a file, because a long text after --config is taken for a name
                    path = Path(folder, "checkpoint.yaml")
                    path.write_text(json.dumps(self._implied))
                    rest = [f"--config={path}", *rest]
                self.config = parser.parse_args([command, *rest])
        except ArgumentError as error:
            raise UserError(_readable(str(error))) from error

    def _parse_ckpt_path(self) -> None:
        """Compare the checkpoint with what was asked for, instead of silently taking its side."""
        config = self.config[self._command]
        spec = {name: self._info.get(name) for name in ("class_path", "init_args")}
        if not self._checkpoint or spec["init_args"] is None:
            return
        given = json.loads(json.dumps(_plain_namespace(config.model), default=str))
        found = differences(json.loads(json.dumps(spec)), given)
        if not found or config.on_conflict == "flags":
            return
        if config.on_conflict == "error":
            raise UserError(
                f"{self._checkpoint} and the arguments describe different models:\n{table(found)}\n"
                "Leave these arguments out, or choose with --on_conflict checkpoint (ignore them) or flags "
                "(keep them, load the weights into the model that they describe)"
            )
        self.config = self.parser.parse_object({self._command: {"model": as_config(spec)}}, self.config)

    def before_instantiate_classes(self) -> None:
        """Give the run its folder and the CSV history in it."""
        trainer = self.config[self._command].trainer
        if trainer.logger not in (None, True):
            return
        folder = run_of(self._checkpoint) if self._checkpoint else None
        arguments: dict[str, Any] = {"save_dir": str(trainer.default_root_dir or RUNS), "name": self._name()}
        if folder:
            arguments = {
                "save_dir": str(folder.parent.parent),
                "name": folder.parent.name,
                "version": folder.name,
            }
            if self._command == "fit":
                arguments["resume_step"] = int(self._content.get("global_step", 0))
        self._logger = RunLogger(**arguments)

    def _name(self) -> str:
        return self._recipe or str(self.config[self._command].model.class_path).rpartition(".")[2]

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """A Trainer with atomic checkpoints, a rolling one, a rich progress bar and the run's logger."""
        config = self._get(self.config_init, "trainer")
        callbacks = config.get("callbacks") or []
        callbacks = list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]
        wanted = self._command == "fit" and config.get("enable_checkpointing") is not False
        if wanted and not any(isinstance(callback, Checkpoint) for callback in callbacks):
            callbacks.append(SaveLast())
        bar = config.get("enable_progress_bar") is not False
        if bar and not any(isinstance(callback, ProgressBar) for callback in callbacks):
            callbacks.append(RichProgressBar())
        given = config.get("plugins") or []
        extra = list(given) if isinstance(given, list | tuple) else [given]
        if not any(isinstance(plugin, CheckpointIO) for plugin in extra):
            extra.append(AtomicCheckpointIO())
        kwargs |= {"callbacks": callbacks, "plugins": extra}
        if config.get("logger") in (None, True):
            kwargs["logger"] = False if config.get("fast_dev_run") else self._logger
        return super().instantiate_trainer(**kwargs)

    def after_instantiate_classes(self) -> None:
        """Tell a generic system how its parts were made, which its constructor could not see."""
        if self_description(self.model).get("init_args") is None:
            record(self.model, _plain_namespace(self.config[self._command].model))

    def _run_subcommand(self, subcommand: str) -> None:
        if self._execute:
            super()._run_subcommand(subcommand)


def _asks_help(arguments: Sequence[str]) -> bool:
    return any(
        argument in ("-h", "--help") or argument.startswith("--print_config") for argument in arguments
    ) or any(".help" in argument for argument in arguments)


def _values(arguments: Sequence[str], *flags: str) -> list[str]:
    """The values that a flag was given, in both spellings."""
    found = [
        argument.partition("=")[2]
        for argument in arguments
        if argument.partition("=")[0] in flags and "=" in argument
    ]
    return found + [after for flag, after in pairwise(arguments) if flag in flags]


def _without_flag(arguments: Sequence[str], flag: str) -> list[str]:
    kept, skip = [], False
    for argument in arguments:
        if not skip and argument != flag and not argument.startswith(f"{flag}="):
            kept.append(argument)
        skip = argument == flag
    return kept


def _recipe_in(arguments: Sequence[str]) -> str | None:
    """The name for the run: the last recipe or file among the configurations."""
    given = [value for value in _values(arguments, "--config", "-c") if "{" not in value]
    return Path(given[-1]).stem if given and (given[-1] in catalogue() or Path(given[-1]).is_file()) else None


def _checkpoint_in(command: str, arguments: Sequence[str], recipe: str | None) -> Path | None:
    """The checkpoint asked for; ``last``, and no word at all outside of ``fit``, mean the newest run's."""
    given = _values(arguments, "--ckpt_path")
    word = given[-1] if given else None
    if word in (None, "null") and command == "fit":
        return None
    if word in (None, "last"):
        root = Path(next(iter(_values(arguments, "--trainer.default_root_dir")), RUNS))
        return newest_checkpoint(root / recipe if recipe else root)
    return Path(str(word))


def _implied(checkpoint: Path, info: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint says without being asked: its model, and the data and Trainer of its run."""
    folder = run_of(checkpoint)
    path = folder / "config.yaml" if folder else None
    config = yaml.safe_load(path.read_text()) if path and path.is_file() else {}
    implied = {
        name: config[name] for name in ("seed_everything", "trainer", "model", "data") if config.get(name)
    }
    if info.get("init_args") is not None:
        implied["model"] = as_config({"class_path": info["class_path"], "init_args": info["init_args"]})
    return implied


def _plain_namespace(config: Namespace) -> dict[str, Any]:
    return config.as_dict() if isinstance(config, Namespace) else dict(config)


def _readable(message: str) -> str:
    """The parser's complaint without the types that it tried, and with help for an unknown class."""
    missing = re.search(r"(?:import path string:|[Uu]nable to find|No module named) *['\"]?([\w.]+)", message)
    if missing is None:
        missing = re.search(r"given class_path \"?([\w.]+)\"?:\s+(?:.*[Ii]mport|.*not a subclass)", message)
    if missing and missing.group(1).rpartition(".")[2] not in plugins.short_names():
        return f"There is no class {missing.group(1)}; {plugins.install_hint(missing.group(1))}"
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if "Errors:" in lines:
        key = re.match(r'Parser key "[^"]*"', lines[0])
        after = lines[lines.index("Errors:") + 1 :]
        first = after[0].lstrip("- ")
        if first.endswith(":") and len(after) > 1:
            first += f" {after[1]}"
        return f"{key.group(0)}: {first}" if key else first
    return " ".join(lines)


def run(command: str, arguments: Sequence[str]) -> None:
    """Run a Trainer's sub-command."""
    ConjoinCLI(command, arguments)
