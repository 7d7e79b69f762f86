# SPDX-License-Identifier: Apache-2.0
r"""VICRegL: VICReg on whole images and on matched local features.

Bardes, Ponce and LeCun, "VICRegL: Self-Supervised Learning of Local Visual Features", NeurIPS 2022, arXiv
2210.01571. :math:`L = \alpha L_\text{global} + (1 - \alpha) L_\text{local}` with :math:`\alpha = 0.75` and
VICReg's weights (25, 25, 1) in both:

* global: the invariance is the mean over ordered pairs (i, j) of a large view i and another view j; variance
  and covariance are means over all views (so for two views the covariance weighs half of VICReg's);
* local: for each such pair, every position of one map is matched with its nearest in the other map, once by
  features and once by location in the original image; the pairs kept are all (features) or the closest few
  (location, ``matches``). VICReg's terms on the matched features, with statistics over the global batch for
  each match slot, are averaged over both directions, added for the two criteria and averaged over pairs.

As in the released code but for two things: its ``fast_vc_reg`` option, which keeps the covariance of the last
view only by mistake, is not offered; and the online classifier is the business of a probe. Locations are
those of the patch centres in the original image. The released loader leaves those of flipped crops unflipped
by default, which matches mirrored places.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from conjoin.core.objectives.output import ObjectiveOutput
from conjoin.core.objectives.reduction import global_mean, global_rows
from conjoin.core.objectives.vicreg import spread
from conjoin.core.objectives.views import Views, as_views, full_precision
from conjoin.core.spec import SelfDescribing

__all__ = ("VICRegL", "match")

Terms = tuple[Tensor, Tensor, Tensor]


@torch.no_grad()
def match(own: Tensor, other: Tensor, count: int | None = None) -> tuple[Tensor, Tensor]:
    """Nearest positions of another map.

    Args:
        own: (n, P, C), features or locations.
        other: (n, Q, C).
        count: How many of the P pairs are kept, the closest ones; all if not given or fewer.

    Returns:
        int64 (n, count) each: the positions in ``own``, ascending, and their partners in ``other``.
    """
    distance, partner = torch.cdist(own, other, compute_mode="donot_use_mm_for_euclid_dist").min(dim=2)
    kept = distance.argsort(dim=1, stable=True)[:, :count].sort(dim=1).values
    return kept, partner.gather(1, kept)


def _pick(features: Tensor, positions: Tensor) -> Tensor:
    return features.gather(1, positions.unsqueeze(-1).expand(-1, -1, features.shape[-1]))


class VICRegL(SelfDescribing, nn.Module):
    """VICRegL of embeddings and maps.

    Args:
        alpha: Share of the global part.
        matches: Pairs kept by location from a large view's positions, and from the other view's.
        feature_matches: The same for the criterion on features; all if not given.
        large_views: How many of the first views are large.
        invariance: VICReg's mu.
        variance: VICReg's nu.
        covariance: VICReg's xi.
        eps: Added to the variances.
    """

    def __init__(
        self,
        alpha: float = 0.75,
        matches: tuple[int, int] = (20, 4),
        feature_matches: tuple[int, int] | None = None,
        large_views: int = 2,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        eps: float = 1e-4,
    ) -> None:
        super().__init__()
        if not 0 <= alpha <= 1 or min(*matches, *(feature_matches or matches), large_views) < 1:
            raise ValueError(
                "alpha must be in [0, 1], matches, feature_matches and large_views at least 1, not "
                f"{alpha}, {matches}, {feature_matches}, {large_views}."
            )
        if min(invariance, variance, covariance) < 0 or eps <= 0:
            raise ValueError(
                "invariance, variance and covariance must not be negative and eps must be positive, not "
                f"{invariance}, {variance}, {covariance}, {eps}."
            )
        self.alpha = alpha
        self.matches = matches
        self.feature_matches = feature_matches
        self.large_views = large_views
        self.weights = (invariance, variance, covariance)
        self.eps = eps

    def forward(
        self, views: Views, maps: Sequence[Tensor] | Tensor, locations: Sequence[Tensor] | Tensor
    ) -> ObjectiveOutput:
        """Score embeddings and maps of V views, large ones first.

        Args:
            views: (V, N, D) or V matrices.
            maps: (N, P_v, C) for each view, local embeddings.
            locations: (N, P_v, 2) for each view, in coordinates of the original image.

        Returns:
            Loss and six weighted terms, ``global_*`` and ``local_*``.

        Raises:
            ValueError: If views, maps and locations do not belong together.
        """
        found = as_views(views)
        local, places = [full_precision(m) for m in maps], [full_precision(p) for p in locations]
        if not len(found) == len(local) == len(places) or any(
            m.shape[:2] != p.shape[:2] or m.shape[0] != found[0].shape[0]
            for m, p in zip(local, places, strict=True)
        ):
            raise ValueError(
                f"views {[tuple(z.shape) for z in found]}, maps {[tuple(m.shape) for m in local]} and "
                f"locations {[tuple(p.shape) for p in places]} must agree in views, samples and positions."
            )
        total = global_rows(found[0], at_least=2)
        with torch.autocast(found[0].device.type, enabled=False):
            whole = self._global(found, total)
            part = self._local(local, places, total)
            scaled = [self.alpha * w * t for w, t in zip(self.weights, whole, strict=True)]
            scaled += [(1 - self.alpha) * w * t for w, t in zip(self.weights, part, strict=True)]
            loss = torch.stack(scaled).sum()
        names = [
            f"{scope}_{term}"
            for scope in ("global", "local")
            for term in ("invariance", "variance", "covariance")
        ]
        return ObjectiveOutput(loss, {n: t.detach() for n, t in zip(names, scaled, strict=True)})

    def _ordered_pairs(self, count: int) -> list[tuple[int, int]]:
        return [(i, j) for i in range(min(self.large_views, count)) for j in range(count) if i != j]

    def _global(self, views: Sequence[Tensor], total: int) -> Terms:
        pairs = self._ordered_pairs(len(views))
        distances = torch.stack([(views[i] - views[j]).square().mean(dim=1) for i, j in pairs])
        hinges, energies = zip(*(spread(view, total, self.eps) for view in views), strict=True)
        invariance = global_mean(distances, total * len(pairs))
        return invariance, torch.stack(hinges).mean(), torch.stack(energies).mean()

    def _local(self, maps: Sequence[Tensor], places: Sequence[Tensor], total: int) -> Terms:
        pairs = self._ordered_pairs(len(maps))
        by_feature = self.feature_matches or (None, None)
        sums: list[Terms] = []
        for i, j in pairs:
            for own, other, count in (
                (maps[i], maps[j], by_feature),
                (places[i], places[j], self.matches),
            ):
                here, there = match(own, other, count[0])
                sums.append(self._matched(_pick(maps[i], here), _pick(maps[j], there), total))
                there, here = match(other, own, count[1])
                sums.append(self._matched(_pick(maps[j], there), _pick(maps[i], here), total))
        invariance, variance, covariance = (torch.stack(terms).sum() for terms in zip(*sums, strict=True))
        # Two directions are averaged, two criteria added.
        factor = 1 / (2 * len(pairs))
        return invariance * factor, variance * factor, covariance * factor

    def _matched(self, own: Tensor, other: Tensor, total: int) -> Terms:
        """VICReg's terms of matched features (n, M, C)."""
        invariance = global_mean((own - other).square().mean(dim=(1, 2)), total)
        # Both sides and all match slots are independent problems over the batch.
        hinge, energy = spread(torch.cat((own, other), dim=1).transpose(0, 1), total, self.eps)
        return invariance, hinge.mean(), energy.mean()

    def extra_repr(self) -> str:
        """The settings, for printing."""
        return (
            f"alpha={self.alpha}, matches={self.matches}, feature_matches={self.feature_matches}, "
            f"large_views={self.large_views}, weights={self.weights}, eps={self.eps}"
        )
