# SPDX-License-Identifier: Apache-2.0
"""``conjoin rank``: order runs without labels, and judge the order where there are labels."""

import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from conjoin.core import plugins
from conjoin.core.checkpoint import load_model
from conjoin.core.cli.errors import UserError, _sentence
from conjoin.core.cli.label_free import Sampling, Space, has_projector, measure, probe
from conjoin.core.cli.ranking import COLUMNS, Ranked, add_clid, agreement, order, show, write
from conjoin.core.cli.runs import RUNS, run_of
from conjoin.core.cli.source import _data_of_run, _expanded
from conjoin.core.data import DataModule

__all__ = ("checkpoints", "names", "run")

# Endings of what else lies in a run folder.
_OTHERS = {".csv", ".html", ".json", ".log", ".txt", ".yaml", ".yml"}


def run(command: str, arguments: Sequence[str]) -> None:
    """``conjoin rank RUN... [--by rankme] [--out ranking.json]``: prints tables.

    A run that cannot be measured is left out, one that cannot be probed has no probe, each with a sentence on
    standard error, and the others are ranked.

    Raises:
        UserError: An argument is wrong, or, at the end, a run was not measured whole.
    """
    from rich.console import Console

    parser = _parser(command)
    try:
        given = parser.parse_args(_expanded(arguments))
        out = Path(given.out) if given.out else None
        if out is not None and out.suffix not in (".json", ".csv"):
            raise UserError(f"--out {out}: the name must end in .json or .csv")
        device = _device(given.device)
        sampling = Sampling(given.split, given.samples, given.view_samples, given.views)
        paths = checkpoints(given.runs or [RUNS])
    except ArgumentError as error:
        raise _spoken(error) from error
    space: Space | None = given.space
    made: dict[str, DataModule] = {}
    if given.data is not None:
        _data(parser, given, paths[0], made)  # wrong for one, wrong for all
    runs: list[Ranked] = []
    lost: list[str] = []
    for number, (name, path) in enumerate(zip(names(paths), paths, strict=True), 1):
        try:
            model = load_model(path, trust=given.trust)
            data = _data(parser, given, path, made)
            space = space or ("projection" if has_projector(model) else "representation")
            label = f"{name} ({number} of {len(paths)})"
            values, rows, width = measure(model, data, sampling, space, device=device, name=label)
        except Exception as error:  # one run must not cost the others their places
            if len(paths) == 1:
                raise
            lost.append(_say(f"{name} is left out", error, name))
            continue
        one = Ranked(name, str(path), type(model).__name__, rows, width, values)
        if one.diverged:
            one.reason = "it has diverged: its embeddings are NaN or infinite"
        elif not given.no_probe:
            try:
                one.probe = probe(model, data, device=device)
            except Exception as error:  # it keeps its place without a probe
                if len(paths) == 1:
                    raise
                lost.append(_say(f"{name} has no probe", error, name))
        runs.append(one)
    if not runs:
        raise UserError(f"None of the {len(paths)} runs could be measured")
    add_clid(runs)
    runs, found = order(runs, given.by), agreement(runs)
    show(Console(), runs, found, given.by, f"{space} of {given.split}")
    if out is not None:
        write(out, runs, found, {"by": given.by, "space": space, "split": given.split})
    if lost:
        raise UserError(f"{len(lost)} of {len(paths)} runs could not be measured whole: {', '.join(lost)}")


def _say(what: str, error: Exception, name: str) -> str:
    """Tell of a run that something is missing; its name."""
    if os.environ.get("CONJOIN_DEBUG") == "1":
        traceback.print_exception(error)
    print(f"conjoin: {what}: {_sentence(error)}", file=sys.stderr)
    return name


def _spoken(error: ArgumentError) -> UserError:
    from conjoin.core.cli.lightning import _readable

    return UserError(_readable(str(error)))


def _device(name: str) -> str:
    """The name of a device that is there.

    Raises:
        UserError: It is none, or this machine has none of the kind.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"--device {name}: there is no such device; give cpu, cuda, cuda:1 ...") from error
    if device.type == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
        have = f"{count} CUDA devices, counted from 0" if count else "no CUDA device, or no driver for one"
        raise UserError(f"--device {name}: this machine has {have}")
    return name


def checkpoints(given: Sequence[str]) -> list[Path]:
    """The checkpoints meant by run folders, folders of run folders or of checkpoints, and checkpoints.

    Raises:
        UserError: There is nothing of the kind at a place.
    """
    found: list[Path] = []
    for name in given:
        path = Path(name)
        if path.is_file() and path.suffix in _OTHERS:
            raise UserError(f"{name} is not a checkpoint: give a run's folder or its checkpoints/last.ckpt")
        if path.is_file() or (path / ".metadata").is_file():  # one file, or a sharded one
            found.append(path)
        elif (path / "last.ckpt").exists():
            found.append(path / "last.ckpt")
        elif below := sorted(path.glob("**/checkpoints/last.ckpt")) or sorted(path.glob("*.ckpt")):
            found += below
        else:
            raise UserError(
                f"{name} is neither a checkpoint nor a folder with checkpoints/last.ckpt in or below it"
            )
    return list(dict.fromkeys(found))


def names(paths: Sequence[Path]) -> list[str]:
    """``recipe/version_0``, with the checkpoint's name if it is not ``last``; whole paths where two agree."""
    short = []
    for path in paths:
        folder = run_of(path)
        base = "/".join(folder.parts[-2:]) if folder else path.stem
        short.append(f"{base}/{path.stem}" if folder and path.stem != "last" else base)
    return short if len(set(short)) == len(short) else [str(path) for path in paths]


def _parser(command: str) -> ArgumentParser:
    plugins.load()
    parser = ArgumentParser(
        prog=f"conjoin {command}",
        description="Order runs by label-free measures of their embeddings; where the data have labels, "
        "also say how each order agrees with a linear probe.",
        exit_on_error=False,
    )
    parser.add_argument(
        "runs", nargs="*", type=str, help="Run folders, folders of such, checkpoints; runs/ if left out."
    )
    parser.add_subclass_arguments(
        DataModule,
        "data",
        required=False,
        help="A recipe, a configuration file or a class; each run's own if left out.",
    )
    by = Literal[tuple(COLUMNS)]  # type: ignore[valid-type]  # the names are known when it runs
    parser.add_argument("--by", type=by, default="rankme", help="The measure that orders.")
    parser.add_argument(
        "--space",
        type=Space | None,
        default=None,
        help="What is measured; the projection if the first run has a projector.",
    )
    parser.add_argument("--split", type=Literal["train", "val", "test"], default="train")
    parser.add_argument("--samples", type=int, default=Sampling.samples, help="Samples, not augmented.")
    parser.add_argument(
        "--view_samples", type=int, default=Sampling.view_samples, help="Samples of LiDAR and alignment."
    )
    parser.add_argument(
        "--views",
        type=int,
        default=Sampling.views,
        help="Views of each: the training transform as in epochs 0, 1, ...; LiDAR's paper has 50.",
    )
    parser.add_argument("--no_probe", action="store_true", help="Do not look at labels at all.")
    parser.add_argument(
        "--trust",
        action="store_true",
        help="The checkpoints are my own: import the packages that they name and open pickles.",
    )
    parser.add_argument("--device", type=str, default="cpu", help="Where to compute: cpu, cuda, cuda:1 ...")
    parser.add_argument("--out", type=str | None, default=None, help="Also write .json or .csv.")
    return parser


def _data(parser: ArgumentParser, given: Namespace, path: Path, made: dict[str, DataModule]) -> DataModule:
    """The data module of a run; runs on the same data share one of those ``made``."""
    config = _data_of_run(path) if given.data is None else None
    key = json.dumps(config, sort_keys=True, default=str)
    if key not in made:
        try:
            whole = given if config is None else parser.parse_object({"data": config}, given)
            data = parser.instantiate_classes(whole).data
        except ArgumentError as error:
            raise _spoken(error) from error
        data.prepare_data()
        made[key] = data
    return made[key]
