# SPDX-License-Identifier: Apache-2.0
"""lightly's losses in the place of ours, for ``objectives.py`` and ``objectives_learn.py``.

Everything here needs lightly (1.6.0 was measured) and is imported only where it is asked for. A rival is made
from one of our objectives, has its settings and is called as it is; the arithmetic is lightly's alone. As in
ours, autocast is switched off inside.
"""

from collections.abc import Callable, Sequence
from typing import Any

import lightly.loss as ll
import torch
from lightly.loss.ibot_loss import IBOTPatchLoss
from lightly.loss.lejepa_loss import LeJEPALoss, SIGReg, lejepa_invariance_loss
from lightly.models.modules import SwaVPrototypes
from torch import Tensor, nn

from conjoin.core import objectives as o
from conjoin.core.objectives.output import ObjectiveOutput

__all__ = ("lightly_for",)


class OfViews(nn.Module):
    """Two views, stacked or one by one."""

    def __init__(
        self, loss: nn.Module, call: Callable[[Any, Sequence[Tensor]], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.loss = loss
        self.call = call or (lambda loss, z: loss(z[0], z[1]))

    def forward(self, *views: Any) -> ObjectiveOutput:
        """The loss in float32."""
        z = list(views[0] if len(views) == 1 else views)
        with torch.autocast(z[0].device.type, enabled=False):
            return ObjectiveOutput(self.call(self.loss, [view.float() for view in z]).squeeze())


class Taught(nn.Module):
    """Two students and two targets; without ``call`` the mean of both directions."""

    def __init__(
        self, loss: nn.Module, call: Callable[[Any, list[Tensor], list[Tensor]], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.loss = loss
        self.call = call or (lambda loss, p, t: (loss(p[0], t[1]) + loss(p[1], t[0])) / 2)

    def forward(self, students: Any, targets: Any) -> ObjectiveOutput:
        """The loss in float32; targets get no gradient."""
        own, others = [view.float() for view in students], [view.detach().float() for view in targets]
        with torch.autocast(own[0].device.type, enabled=False):
            return ObjectiveOutput(self.call(self.loss, own, others))


class SwAV(nn.Module):
    """lightly's prototypes, loss and a queue, put together as in its example."""

    def __init__(self, ours: o.SwAV) -> None:
        super().__init__()
        count, dim = ours.prototypes.shape
        self.prototypes = SwaVPrototypes(dim, count, ours.freeze_steps)
        self.loss = ll.SwaVLoss(ours.temperature, ours.iterations, ours.epsilon)
        self.start = ours.queue_start
        self.register_buffer("queue", ours.queue.clone())
        self.steps = 0

    def forward(self, *views: Any) -> ObjectiveOutput:
        """The loss of the first two views' codes, in float32."""
        z = list(views[0] if len(views) == 1 else views)
        with torch.autocast(z[0].device.type, enabled=False):
            self.prototypes.normalize()
            rows = [nn.functional.normalize(view.float(), dim=1) for view in z]
            scores = [self.prototypes(row, self.steps) for row in rows]
            length, old = self.queue.shape[1], None
            if length and self.steps >= max(self.start, -(-length // len(rows[0]))):
                with torch.no_grad():
                    old = [self.prototypes(queue, self.steps) for queue in self.queue]
            loss = self.loss(scores[:2], scores[2:], old)
            if length:
                fresh = torch.stack([row.detach() for row in rows[:2]])
                self.queue = torch.cat((fresh, self.queue), dim=1)[:, :length]
        self.steps += 1
        return ObjectiveOutput(loss.squeeze())


class Patched(nn.Module):
    """DINO on class tokens and lightly's loss on masked patches."""

    def __init__(self, ours: o.IBOT) -> None:
        super().__init__()
        dim = ours.center.shape[1]
        self.cls, self.patch = ll.DINOLoss(dim), IBOTPatchLoss(dim)

    def forward(
        self, students: Any, targets: Any, own: Sequence[Tensor], teacher: Sequence[Tensor], masks: Tensor
    ) -> ObjectiveOutput:
        """The loss in float32."""
        flat = masks.flatten(0, 1)
        with torch.autocast(masks.device.type, enabled=False):
            loss = self.cls([view.float() for view in targets], [view.float() for view in students])
            seen, wanted = (torch.cat(list(views))[flat].float() for views in (own, teacher))
            # lightly wants maps of rows and columns; a row of patches will do.
            loss = loss + self.patch(wanted, seen, flat.unsqueeze(1))
        return ObjectiveOutput(loss)


class Mapped(nn.Module):
    """VICRegL of two large views; lightly's maps are square and come with their grids."""

    def __init__(self, ours: o.VICRegL) -> None:
        super().__init__()
        self.loss = ll.VICRegLLoss(*ours.weights, alpha=ours.alpha, eps=ours.eps, num_matches=ours.matches)

    def forward(self, views: Any, maps: Sequence[Tensor], locations: Sequence[Tensor]) -> ObjectiveOutput:
        """The loss in float32."""
        with torch.autocast(maps[0].device.type, enabled=False):
            pairs = zip(views, maps, strict=True)
            features = [(z.float(), m.float().unflatten(1, (2, -1))) for z, m in pairs]
            grids = [place.unflatten(1, (2, -1)) for place in locations]
            return ObjectiveOutput(self.loss(features, grids))


def _lejepa(loss: Any, z: Sequence[Tensor]) -> Tensor:
    stack = torch.stack(list(z))
    if len(stack) > 2:
        found: Tensor = loss(local_proj=stack[2:], global_proj=stack[:2])
        return found
    # The module asks for local views; its two parts do without.
    share = loss.lambda_param
    return share * loss.sigreg(stack) + (1 - share) * lejepa_invariance_loss(
        all_proj=stack, global_proj=stack
    )


MAKERS: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    o.NTXent: lambda x: OfViews(ll.NTXentLoss(x.temperature)),
    o.DCL: lambda x: OfViews(ll.DCLLoss(x.temperature)),
    o.BarlowTwins: lambda x: OfViews(ll.BarlowTwinsLoss(x.redundancy)),
    o.VICReg: lambda x: OfViews(ll.VICRegLoss(x.invariance, x.variance, x.covariance, eps=x.eps)),
    o.VICRegL: Mapped,
    o.SIGReg: lambda x: OfViews(
        SIGReg(num_vectors=x.slices, knots=x.n_points, t_max=x.t_max), lambda loss, z: loss(torch.stack(z))
    ),
    o.LeJEPA: lambda x: OfViews(
        LeJEPALoss(x.weight, sigreg_knots=x.n_points, sigreg_t_max=x.t_max, sigreg_num_vectors=x.slices),
        _lejepa,
    ),
    o.KoLeo: lambda x: OfViews(ll.KoLeoLoss(eps=x.eps), lambda loss, z: sum(loss(view) for view in z)),
    o.SwAV: SwAV,
    o.TiCo: lambda x: Taught(ll.TiCoLoss(x.beta, x.rho)),
    o.BYOL: lambda x: Taught(ll.NegativeCosineSimilarity()),
    o.SimSiam: lambda x: Taught(ll.NegativeCosineSimilarity()),
    o.DINO: lambda x: Taught(
        ll.DINOLoss(
            x.center.shape[1],
            teacher_temp=x.teacher_temperature,
            student_temp=x.student_temperature,
            center_momentum=x.center_momentum,
        ),
        lambda loss, p, t: loss(t, p),
    ),
    o.IBOT: Patched,
}


class Whitened(nn.Module):
    """W-MSE; lightly is told the width beforehand, so it is made at the first call."""

    def __init__(self, ours: o.WMSE) -> None:
        super().__init__()
        self.group = ours.group
        self.loss: nn.Module | None = None

    def forward(self, *views: Any) -> ObjectiveOutput:
        """The loss in float32."""
        z = list(views[0] if len(views) == 1 else views)
        if self.loss is None:
            self.loss = ll.WMSELoss(z[0].shape[1], w_size=self.group).to(z[0].device)
        with torch.autocast(z[0].device.type, enabled=False):
            return ObjectiveOutput(self.loss(torch.cat([view.float() for view in z])))


MAKERS[o.WMSE] = Whitened


def lightly_for(objective: nn.Module) -> nn.Module | None:
    """Lightly's counterpart of one of our objectives, or None if it has none."""
    maker = MAKERS.get(type(objective))
    return None if maker is None else maker(objective)
