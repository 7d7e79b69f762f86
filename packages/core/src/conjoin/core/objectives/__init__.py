# SPDX-License-Identifier: Apache-2.0
"""Objectives: one file per loss, a plain function beside a module, no Lightning.

How they are called
    *Views* (:class:`NTXent`, :class:`DCL`, :class:`InfoNCE`, :class:`CLIP`, :class:`SupCon`,
    :class:`BarlowTwins`, :class:`VICReg`, :class:`SpectralContrastive`, :class:`INTL`, :class:`WMSE`,
    :class:`SIGReg`, :class:`LeJEPA`, :class:`KoLeo`, :class:`SwAV`): ``objective(z1, z2)`` with matrices (N,
    D), or ``objective(views)`` with a stack (V, N, D) or a sequence of matrices. Losses between two views
    take the mean over all pairs of more; ``SIGReg`` and ``KoLeo`` also take one view. ``SupCon`` has
    ``labels=``, ``INTL`` ``target=`` for a momentum view.

    *Student and targets* (:class:`BYOL`, :class:`SimSiam`, :class:`MoCoV3`, :class:`TiCo`, :class:`DINO`):
    ``objective(students, targets)``. Stacks (V, N, D) and (T, N, D), T <= V, with targets of the views of the
    first students, give a term for every pair of *different* views; two matrices (N, D) are one such pair.
    Targets get no gradient. :class:`IBOT` takes patches and masks besides, :class:`VICRegL` views, maps and
    locations, :class:`LatentRegression` predictions, targets and what is valid.

What they promise
    Over ranks the value is that of the global batch on every rank, and the gradient after the averaging of
    ``DistributedDataParallel`` that of one process, also when ranks hold different numbers of rows. Inside
    autocast everything is computed in float32; float64 stays float64. State moves once per optimiser step,
    see :class:`StatefulObjective`. Gradients are once differentiable.
"""

from conjoin.core.objectives.barlow_twins import BarlowTwins, barlow_twins
from conjoin.core.objectives.dcl import DCL, dcl
from conjoin.core.objectives.dino import DINO, teacher_probabilities
from conjoin.core.objectives.ibot import IBOT, patch_cross_entropy
from conjoin.core.objectives.info_nce import CLIP, InfoNCE, info_nce
from conjoin.core.objectives.intl import INTL, trace_loss, trade_off
from conjoin.core.objectives.koleo import KoLeo, koleo
from conjoin.core.objectives.latent_regression import LatentRegression, latent_regression, normalize_targets
from conjoin.core.objectives.moco_v3 import MoCoV3, moco_v3
from conjoin.core.objectives.negative_cosine import BYOL, SimSiam, negative_cosine
from conjoin.core.objectives.nt_xent import NTXent, nt_xent
from conjoin.core.objectives.output import ObjectiveOutput
from conjoin.core.objectives.sigreg import LeJEPA, SIGReg, epps_pulley, sigreg
from conjoin.core.objectives.sinkhorn import sinkhorn_knopp
from conjoin.core.objectives.soft_targets import soft_cross_entropy
from conjoin.core.objectives.spectral_contrastive import SpectralContrastive, spectral_contrastive
from conjoin.core.objectives.spectral_transform import spectral_transform
from conjoin.core.objectives.state import StatefulObjective
from conjoin.core.objectives.supcon import SupCon, supcon
from conjoin.core.objectives.swav import SwAV
from conjoin.core.objectives.tico import TiCo
from conjoin.core.objectives.vicreg import VICReg, vicreg
from conjoin.core.objectives.vicregl import VICRegL
from conjoin.core.objectives.w_mse import WMSE, w_mse

__all__ = (
    "BYOL",
    "CLIP",
    "DCL",
    "DINO",
    "IBOT",
    "INTL",
    "WMSE",
    "BarlowTwins",
    "InfoNCE",
    "KoLeo",
    "LatentRegression",
    "LeJEPA",
    "MoCoV3",
    "NTXent",
    "ObjectiveOutput",
    "SIGReg",
    "SimSiam",
    "SpectralContrastive",
    "StatefulObjective",
    "SupCon",
    "SwAV",
    "TiCo",
    "VICReg",
    "VICRegL",
    "barlow_twins",
    "dcl",
    "epps_pulley",
    "info_nce",
    "koleo",
    "latent_regression",
    "moco_v3",
    "negative_cosine",
    "normalize_targets",
    "nt_xent",
    "patch_cross_entropy",
    "sigreg",
    "sinkhorn_knopp",
    "soft_cross_entropy",
    "spectral_contrastive",
    "spectral_transform",
    "supcon",
    "teacher_probabilities",
    "trace_loss",
    "trade_off",
    "vicreg",
    "w_mse",
)
