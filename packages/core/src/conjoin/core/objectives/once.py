# SPDX-License-Identifier: Apache-2.0
"""Hand-written gradients can be taken once: asking for a second derivative is refused.

``torch.autograd.function.once_differentiable`` refuses only where the incoming gradient depends on something;
the gradient of a loss comes in as a constant, and the result would pass as one, too: a gradient penalty would
silently lack these terms.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

__all__ = ("once_differentiable",)


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator of the ``backward`` of a ``torch.autograd.Function`` that may run without a graph only.

    Raises:
        RuntimeError: In a backward pass with ``create_graph=True``.
    """

    @wraps(backward)
    def checked(ctx: Any, *grads: Any) -> Any:
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            raise RuntimeError(
                "This objective's gradient is written by hand and cannot be differentiated twice: call "
                "backward without create_graph=True."
            )
        return backward(ctx, *grads)

    return checked
