# SPDX-License-Identifier: Apache-2.0
"""Objectives: one file per loss, a plain function beside a module, no Lightning."""

from conjoin.core.objectives.latent_regression import LatentRegression, latent_regression, normalize_targets
from conjoin.core.objectives.output import ObjectiveOutput

__all__ = ("LatentRegression", "ObjectiveOutput", "latent_regression", "normalize_targets")
