# SPDX-License-Identifier: Apache-2.0
"""Write the report of a run folder."""

import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from conjoin.core.checkpoint_io import replacing
from conjoin.core.report.evaluation import evaluation_section
from conjoin.core.report.features import features_section, gallery_section, projection_section
from conjoin.core.report.figure import plotly_source
from conjoin.core.report.headline import headline_section, short_name
from conjoin.core.report.html import Section, absent
from conjoin.core.report.page import page
from conjoin.core.report.provenance import config_section, environment_section, reproduce_section
from conjoin.core.report.run import Run
from conjoin.core.report.spectrum import health_section, spectrum_section
from conjoin.core.report.subject import Subject
from conjoin.core.report.training import losses_section, probes_section, schedules_section, throughput_section

__all__ = ("write_report",)


def write_report(
    run_dir: str | Path,
    out: str | Path | None = None,
    *,
    checkpoint: str | Path | None = None,
    datamodule: Any = None,
    max_images: int = 8,
    max_samples: int = 1000,
) -> Path:
    """Write one self-contained HTML file about a run.

    Of ``metrics.csv``, ``config.yaml``, ``monitor.npz``, ``evaluation.json`` and ``checkpoints/last.ckpt``
    any may be missing: its sections say so in a sentence.

    Args:
        run_dir: The run folder.
        out: Where to; ``report.html`` in the run folder if not given.
        checkpoint: Another checkpoint than the folder's.
        datamodule: Where samples come from; the one that ``config.yaml`` names if not given.
        max_images: Samples in the gallery and among the feature maps.
        max_samples: Embeddings in the plane.

    Returns:
        The file that was written.

    Raises:
        FileNotFoundError: No such folder or checkpoint.
        ImportError: plotly is not installed.
        ValueError: The folder holds nothing of a run, or a limit is below one.
        CheckpointError: The file cannot be written; what stood there is kept.
    """
    if max_images < 1 or max_samples < 2:
        raise ValueError(
            f"max_images must be at least 1 and max_samples at least 2, not {max_images} and {max_samples}"
        )
    run = Run.read(run_dir, checkpoint)
    plotly_source()  # refuse before the work, not after it
    subject, reason = _subject(run, datamodule)
    # (anchor, title, drawing) of what needs the system and its data
    pictures: list[tuple[str, str, Callable[[Subject], Section]]] = [
        ("gallery", "Samples and masks", lambda subject: gallery_section(subject, max_images)),
        ("features", "Patch features", lambda subject: features_section(subject, max_images)),
        ("projection", "Embeddings in the plane", lambda subject: projection_section(subject, max_samples)),
    ]
    sections = [
        headline_section(run, subject),
        evaluation_section(run),
        *(_picture(*entry, subject, reason) for entry in pictures),
        health_section(run),
        spectrum_section(run),
        probes_section(run),
        losses_section(run),
        schedules_section(run),
        throughput_section(run),
        reproduce_section(run),
        environment_section(run),
        config_section(run),
    ]
    name = type(subject.model).__name__ if subject else short_name(run, "model")
    title = f"{name}: {run.folder.resolve().name}" if name else run.folder.resolve().name
    written = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    goal = Path(out) if out is not None else run.folder / "report.html"
    text = page(title, f"Report of a conjoin run, written {written}", sections)
    with replacing(goal) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return goal


def _subject(run: Run, datamodule: Any) -> tuple[Subject | None, str]:
    """The trained system with its data, or why there is none."""
    try:
        return Subject.of(run, datamodule), ""
    except Exception as error:  # whatever the code of a system or data set raises must not cost the report
        if run.checkpoint is not None:
            warnings.warn(f"the report has no pictures of samples: {error}", stacklevel=3)
        return None, f"Not drawn: {_sentence(error)}"


def _picture(
    name: str, title: str, draw: Callable[[Subject], Section], subject: Subject | None, reason: str
) -> Section:
    if subject is None:
        return Section(name, title, absent(reason))
    try:
        return draw(subject)
    except Exception as error:  # as above: one section is lost, not the report
        warnings.warn(f"the report could not draw {title!r}: {error}", stacklevel=3)
        return Section(name, title, absent(f"Not drawn: {_sentence(error)}"))


def _sentence(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__
