# SPDX-License-Identifier: Apache-2.0
"""The twelve leads, their order, and what is known of their scale in each source.

Means and standard deviations are those of the ECG-JEPA release (kweimann/ECG-JEPA), in millivolts, brought to
the order of ``LEADS``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ("LEADS", "STATISTICS", "Statistics", "lead_order")

LEADS = ("I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of each lead.

    Args:
        mean: Per lead, millivolts.
        std: Per lead, millivolts, positive.

    Raises:
        ValueError: If they do not belong together or a deviation is not positive.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.std or min(self.std) <= 0:
            raise ValueError(
                f"Statistics need one mean and one positive deviation per lead, got {len(self.mean)} means "
                f"and deviations {self.std}."
            )


_ZERO = (0.0,) * 12
STATISTICS = {
    "ptb-xl": Statistics(
        (-0.002, -0.002, 0.0, 0.002, -0.001, -0.001, 0.0, -0.001, -0.002, -0.001, -0.001, -0.001),
        (0.191, 0.166, 0.173, 0.142, 0.149, 0.147, 0.235, 0.338, 0.335, 0.299, 0.294, 0.242),
    ),
    # Published with aVF before aVL, as MIMIC stores them.
    "mimic-iv-ecg": Statistics(
        (0.023, 0.015, -0.007, -0.019, 0.014, 0.004, -0.018, -0.004, 0.002, 0.017, 0.022, 0.022),
        (0.155, 0.158, 0.166, 0.133, 0.141, 0.143, 0.207, 0.282, 0.284, 0.253, 0.222, 0.197),
    ),
    # After the high-pass filter.
    "code-15": Statistics(
        _ZERO, (0.488, 0.450, 0.437, 0.416, 0.405, 0.370, 0.548, 0.639, 0.719, 0.695, 0.676, 0.639)
    ),
    "st-petersburg": Statistics(
        _ZERO, (0.132, 0.370, 0.353, 0.215, 0.191, 0.356, 0.234, 0.320, 0.328, 0.290, 0.317, 0.337)
    ),
}
"""By source; others are measured on the data."""


def lead_order(names: Sequence[str], wanted: Sequence[str] = LEADS) -> list[int]:
    """Where each wanted lead is, whatever the case of its letters.

    Raises:
        ValueError: If a lead is missing.
    """
    upper = [name.strip().upper() for name in names]
    missing = [name for name in wanted if name.upper() not in upper]
    if missing:
        raise ValueError(
            f"lead {', '.join(missing)} is missing among {', '.join(names) or 'no leads at all'}"
        )
    return [upper.index(name.upper()) for name in wanted]
