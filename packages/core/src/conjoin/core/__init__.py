# SPDX-License-Identifier: Apache-2.0
"""conjoin.core: joint-embedding self-supervised learning on PyTorch Lightning.

The names are imported when they are first asked for (PEP 562), so that importing the package costs nothing
and ``conjoin --help`` or ``conjoin recipes`` need not wait for torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conjoin.core.methods import (
        JEPA,
        Contrastive,
        FineTune,
        JointEmbedding,
        LocalRedundancyReduction,
        MaskedSelfDistillation,
        RedundancyReduction,
        SelfDistillation,
    )

__all__ = (
    "JEPA",
    "Contrastive",
    "FineTune",
    "JointEmbedding",
    "LocalRedundancyReduction",
    "MaskedSelfDistillation",
    "RedundancyReduction",
    "SelfDistillation",
)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from conjoin.core import methods

    return globals().setdefault(name, getattr(methods, name))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
