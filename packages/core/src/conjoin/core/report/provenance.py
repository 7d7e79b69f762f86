# SPDX-License-Identifier: Apache-2.0
"""Where the run came from: its configuration, the versions, and the commands that make it again."""

import os
import platform
import shlex
from importlib import metadata
from pathlib import Path

import torch

from conjoin.core.checkpoint import CheckpointError, load
from conjoin.core.report.html import Section, absent, code_block, definitions, join, tag
from conjoin.core.report.run import Run

__all__ = ("config_section", "environment_section", "reproduce_section")

_PACKAGES = (
    "conjoin",
    "conjoin-audio",
    "conjoin-biosignal",
    "conjoin-pointcloud",
    "conjoin-samples",
    "conjoin-tabular",
    "conjoin-vision",
    "torch",
    "lightning",
    "torchmetrics",
    "numpy",
    "plotly",
)


def config_section(run: Run) -> Section:
    """The whole configuration, folded."""
    if run.config is None:
        return Section("config", "Configuration", absent(run.why("config.yaml")))
    lines = len(run.config.splitlines())
    body = tag(
        "details", tag("summary", f"config.yaml, {lines} lines"), code_block(run.config, "config-text")
    )
    return Section("config", "Configuration", body)


def environment_section(run: Run) -> Section:
    """Versions that the checkpoint names, and those of the machine that wrote the report."""
    parts = []
    try:
        if run.checkpoint is None:
            raise CheckpointError(run.why("checkpoint"))
        content = load(run.checkpoint)
        trained = {
            "conjoin": content.get("conjoin", {}).get("version"),
            "lightning": content.get("pytorch-lightning_version"),
            "optimiser steps": content.get("global_step"),
        }
        pairs = [(name, str(value)) for name, value in trained.items() if value is not None]
        parts += [tag("h3", "The checkpoint"), definitions(pairs)]
    except CheckpointError as error:
        parts.append(absent(str(error)))
    here = [("Python", platform.python_version()), *_versions()]
    here += [("system", f"{platform.system()} {platform.machine()}"), ("CPU cores", str(os.cpu_count()))]
    if torch.cuda.is_available():
        here.append(("GPU", torch.cuda.get_device_name()))
    parts += [tag("h3", "The machine that wrote this report"), definitions(here)]
    return Section("environment", "Environment", join(parts))


def _versions() -> list[tuple[str, str]]:
    found = []
    for name in _PACKAGES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return found


def reproduce_section(run: Run) -> Section:
    """Commands. Paths are those of the run folder, without what lies above it."""
    folder = run.folder if not run.folder.is_absolute() else Path(run.folder.name)
    config, checkpoint, here = (
        shlex.quote(str(path))
        for path in (folder / "config.yaml", folder / "checkpoints" / "last.ckpt", folder)
    )
    commands = [
        f"conjoin fit --config {config}",
        f"conjoin test --config {config} --ckpt_path {checkpoint}",
        f"conjoin report {here}",
    ]
    text = tag(
        "p",
        "With the versions named below, on the same kind of device, the first command repeats the training.",
    )
    return Section(
        "reproduce", "Make it again", join([text, code_block("\n".join(commands), "commands-text")])
    )
