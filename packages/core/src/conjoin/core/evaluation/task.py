# SPDX-License-Identifier: Apache-2.0
"""What there is to be answered: one class, a number, or several labels; and which probes can answer it.

The data module declares it, in one of two ways:

* ``task``: ``"classification"``, ``"regression"`` or ``"multilabel"``. Another value is none of ours (a set
  may call something else its task).
* ``label_names`` without class names of its own (``class_names`` is None or the same): several labels.

Nothing declared means classification. Batches then have ``label`` (B,) int64, -1 where unknown; ``target``
(B,) float, NaN where unknown, in units of ``target_scale``; or ``labels`` (B, L) of 0 and 1.
"""

from collections.abc import Iterable
from typing import Any, Literal, cast, get_args

__all__ = ("FIELDS", "METRICS", "PROBES", "Probe", "Task", "check_probes", "task_of")

Task = Literal["classification", "regression", "multilabel"]
Probe = Literal["linear", "knn", "attentive", "mlp", "svm"]

PROBES: dict[Task, tuple[Probe, ...]] = {
    "classification": ("linear", "knn", "attentive", "mlp", "svm"),
    "regression": ("linear", "knn", "mlp"),
    "multilabel": ("linear", "attentive"),
}
METRICS: dict[Task, str] = {"classification": "accuracy", "regression": "rmse", "multilabel": "macro_auc"}
FIELDS: dict[Task, str] = {"classification": "label", "regression": "target", "multilabel": "labels"}
"""Where a batch holds the answers."""


def task_of(data: Any, asked: str | None = None) -> Task:
    """The task of a data module, after its data have been read.

    Args:
        data: The data module.
        asked: What the user wants instead; None for what the data module declares.

    Raises:
        ValueError: If there is no such task.
    """
    if asked is not None:
        if asked not in get_args(Task):
            raise ValueError(f"task must be one of {', '.join(get_args(Task))}, not {asked!r}.")
        return cast(Task, asked)
    declared = getattr(data, "task", None)
    if declared in get_args(Task):
        return cast(Task, declared)
    names = getattr(data, "label_names", None)
    own = getattr(data, "class_names", None)
    return "multilabel" if names and (own is None or tuple(own) == tuple(names)) else "classification"


def check_probes(task: Task, probes: Iterable[str]) -> None:
    """Refuse a probe that does not exist, or that cannot answer the task.

    Raises:
        ValueError: Naming the probe and those that fit.
    """
    for name in probes:
        if name not in get_args(Probe):
            raise ValueError(f"unknown probe {name!r}: choose among {', '.join(get_args(Probe))}")
        if name not in PROBES[task]:
            raise ValueError(
                f"there is no {name} probe for a {task} task: choose among {', '.join(PROBES[task])}"
            )
