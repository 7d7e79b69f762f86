# SPDX-License-Identifier: Apache-2.0
"""Systems for images, one file each, named as their papers."""

from conjoin.vision.methods.cnn_jepa import CNNJEPA
from conjoin.vision.methods.ijepa import IJEPA

__all__ = ("CNNJEPA", "IJEPA")
