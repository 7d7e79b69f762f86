# SPDX-License-Identifier: Apache-2.0
"""Redundancy reduction of whole samples and of their parts: VICRegL (Bardes et al., arXiv 2210.01571).

Beside the embedding of each view there is a map of local embeddings, one per token of the encoder. Tokens of
two views belong together where their features are nearest, or where they show the same place of the sample,
so the views have to say where they were cut.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from conjoin.core.methods.head import Head
from conjoin.core.methods.joint_embedding import StepOutput
from conjoin.core.methods.multi_view import takes
from conjoin.core.methods.redundancy_reduction import RedundancyReduction
from conjoin.core.objectives import VICRegL
from conjoin.core.optim import Optim
from conjoin.core.transforms import Views

__all__ = ("LocalRedundancyReduction", "framed_places", "token_grid", "token_places")

_POOL: dict[int, Any] = {
    1: functional.adaptive_avg_pool1d,
    2: functional.adaptive_avg_pool2d,
    3: functional.adaptive_avg_pool3d,
}


def token_grid(size: Sequence[int], tokens: int, grid: Sequence[int] | None = None) -> tuple[int, ...]:
    """How the tokens of a view are laid out.

    Args:
        size: Cells of the view along its d axes.
        tokens: Their number N.
        grid: The encoder's own grid, taken if it has N tokens; otherwise all axes have the same stride.

    Raises:
        ValueError: If N tokens do not make such a grid.
    """
    if grid is not None and math.prod(grid) == tokens:
        return tuple(grid)
    stride = (math.prod(size) / tokens) ** (1 / len(size))
    found = tuple(max(1, round(length / stride)) for length in size)
    if math.prod(found) != tokens:
        raise ValueError(
            f"A view of {tuple(size)} became {tokens} tokens, which are no grid with the same stride along "
            "every axis: local embeddings need an encoder without extra tokens, or with a `grid`."
        )
    return found


def token_places(cells: Tensor, grid: Sequence[int]) -> Tensor:
    """Where tokens lie: the mean place of the cells of each.

    Args:
        cells: (B, d, ...) coordinates, see :meth:`conjoin.core.transforms.Views.places`.
        grid: d tokens along each axis.

    Returns:
        (B, N, d), tokens in raster order.
    """
    pooled: Tensor = _POOL[len(grid)](cells, tuple(grid))
    return pooled.flatten(2).mT


def framed_places(frames: Tensor, size: Sequence[int], grid: Sequence[int]) -> Tensor:
    """Where the tokens of a view lie that was cut by frames.

    Args:
        frames: (B, d, 2), first cell and step along each axis: :meth:`conjoin.core.data.SampleViews.framed`.
        size: Cells of the view along its d axes.
        grid: d tokens along each axis.

    Returns:
        (B, N, d), tokens in raster order.
    """
    lines = []
    for axis, (length, count) in enumerate(zip(size, grid, strict=True)):
        middles = (torch.arange(count, device=frames.device) + 0.5) * (length / count) - 0.5
        lines.append(frames[:, axis, :1] + middles * frames[:, axis, 1:])
    mesh = torch.meshgrid(*(torch.arange(count, device=frames.device) for count in grid), indexing="ij")
    return torch.stack([line[:, index.flatten()] for line, index in zip(lines, mesh, strict=True)], dim=-1)


class LocalRedundancyReduction(RedundancyReduction):
    """VICRegL with any encoder whose tokens form a grid: a CNN, a vision transformer, ``SignalViT``.

    Views are made on the device, by ``views``, or by workers with a policy that says where they were cut, as
    those of ``MultiViewImages`` do. All parameters share one learning rate; the release gives the
    local projector a tenth of it.

    Args:
        encoder: ``encoder(x) -> (B, N, D)`` with ``embed_dim``.
        objective: Called with embeddings, maps and places; ``VICRegL()`` if not given.
        projector: Of whole views; see :class:`RedundancyReduction`.
        local_projector: Of tokens; three layers of the encoder's width if not given (512 in the paper).
        views: See :class:`conjoin.core.methods.multi_view.MultiViewBase`.
        together: See there.
        optim: Optimiser and schedules.
        seed: See there.

    Raises:
        ValueError: If the objective does not compare maps.
    """

    has_maps: ClassVar[bool] = True

    def __init__(
        self,
        encoder: nn.Module,
        objective: nn.Module | None = None,
        projector: Head | nn.Module | None = None,
        local_projector: Head | nn.Module | None = None,
        *,
        views: Views | None = None,
        together: bool = False,
        optim: Optim | None = None,
        seed: int | None = None,
    ) -> None:
        objective = objective or VICRegL()
        if not takes(objective, "maps"):
            raise ValueError(f"{type(objective).__name__} compares no maps: use RedundancyReduction.")
        super().__init__(
            encoder, objective, projector, views=views, together=together, optim=optim, seed=seed
        )
        dim = self.embed_dim
        chosen = local_projector or Head(dim, dim, 3, hidden_bias=True)
        self.local_projector = self.build_head(chosen, dim, "local_projector")

    def compare(self, views: Sequence[Tensor], batch: dict[str, Any]) -> StepOutput:
        """Encode all views, project them and their tokens, score both.

        Raises:
            ValueError: If the views were cut elsewhere, so that their places are not known.
        """
        if "views" in batch and "frames" not in batch:
            raise ValueError(
                f"{type(self).__name__} must know where views were cut, and the data module has made them "
                "without saying so: choose a policy with `framed`, or the plain data module and model.views."
            )
        tokens = self.encoded(self.encoder, views)
        features = [self.pool_tokens(each) for each in tokens]
        z = self.projected(self.projector, features)
        rows = self.projected(self.local_projector, [each.flatten(0, 1) for each in tokens])
        maps = [row.view(*each.shape[:2], -1) for row, each in zip(rows, tokens, strict=True)]
        out = self.objective(z, maps, self._places(views, tokens, batch))
        return StepOutput(out.loss, out.terms, features[0].detach(), {"projection": z[0].detach()})

    def _places(
        self, views: Sequence[Tensor], tokens: Sequence[Tensor], batch: dict[str, Any]
    ) -> list[Tensor]:
        own = getattr(self.encoder, "grid", None)
        sizes = [view.shape[2:] for view in views]
        grids = [token_grid(size, each.shape[1], own) for size, each in zip(sizes, tokens, strict=True)]
        if "frames" in batch:
            found = zip(batch["frames"], sizes, grids, strict=True)
            return [framed_places(frames, size, grid) for frames, size, grid in found]
        cells = self.views.places(batch["x"], self.sample_keys(batch, "views"))
        return [token_places(place, grid) for place, grid in zip(cells, grids, strict=True)]
