# SPDX-License-Identifier: Apache-2.0
"""Three loud clusters for the tests beside this file."""

import torch

from conjoin.core.evaluation import Features


def blobs(count: int, width: int = 6, seed: int = 0, spread: float = 1.5) -> Features:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(3, width, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    label = torch.arange(count) % 3
    x = centres[label] + spread * torch.randn(count, width, generator=generator, dtype=torch.float64)
    return Features(x * torch.linspace(0.01, 50, width) + 7, label, torch.arange(count))
