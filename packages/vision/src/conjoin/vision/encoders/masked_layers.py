# SPDX-License-Identifier: Apache-2.0
r"""Running a convolutional network on a part of its input, layer by layer.

Sparse convolution as SparK has it (Tian et al., "Designing BERT for Convolutional Networks: Sparse and
Hierarchical Masked Modeling", ICLR 2023, arXiv 2301.03580): the grid of the *last* feature map is the mask
:math:`m`, enlarged by repetition to the size of every earlier map. A layer :math:`f` becomes

.. math:: f_m(x) = m \odot f(x),

so that hidden cells hold zeros after each layer and the visible region does not grow from layer to layer.
Normalisation layers see visible positions alone.

The mask is an argument of :func:`run`, not a property of the layers: the network's own modules stay as they
are (names, weights, dense use), and forwards may overlap.
"""

import itertools
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from timm.layers.drop import DropPath
from timm.models.convnext import ConvNeXt, ConvNeXtBlock, ConvNeXtStage
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn

from conjoin.core import distributed
from conjoin.vision.encoders.masked_batch_norm import masked_batch_norm

__all__ = ("Visible", "run")

# Layers that work position by position and turn zeros into zeros: nothing to hide after them.
_KEEP_ZEROS = (nn.Identity, nn.ReLU, nn.GELU, nn.SiLU, nn.Dropout, DropPath)
# BatchNormAct2d of timm and other kinds are subclasses with more in them: only plain ones are known.
_BATCH_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)
_HIDE_AFTER = (nn.Conv2d, nn.AvgPool2d, nn.LayerNorm)


@dataclass(frozen=True, eq=False)
class Visible:
    """Which cells of the last feature map are visible.

    Attributes:
        cells: (B, 1, rows, columns) bool, True where visible; None for all.
        sync: Whether batch statistics are those of all ranks.
    """

    cells: Tensor | None = None
    sync: bool = False
    _sizes: dict[tuple[int, int, torch.dtype], Tensor] = field(default_factory=dict, repr=False)

    def at(self, x: Tensor) -> Tensor | None:
        """The mask (B, 1, H, W) of ones and zeros at the size and in the type of a map (B, C, H, W).

        Raises:
            ValueError: If the map is not a whole multiple of the mask, or not of as many samples.
        """
        if self.cells is None:
            return None
        height, width = int(x.shape[-2]), int(x.shape[-1])
        found = self._sizes.get((height, width, x.dtype))
        if found is None:
            batch, _, rows, columns = self.cells.shape
            if height % rows or width % columns or len(x) != batch:
                raise ValueError(
                    f"A map of {len(x)} x ({height}, {width}) cannot be masked by {batch} x ({rows}, "
                    f"{columns}) cells: each cell must cover a whole number of positions."
                )
            found = self.cells.to(x.dtype)
            found = found.repeat_interleave(height // rows, 2).repeat_interleave(width // columns, 3)
            self._sizes[height, width, x.dtype] = found
        return found

    def hide(self, x: Tensor) -> Tensor:
        """Zeros in the hidden positions of a map (B, C, H, W)."""
        mask = self.at(x)
        return x if mask is None else x * mask


def run(module: nn.Module, x: Tensor, visible: Visible) -> Tensor:
    """Run a module of a ResNet or ConvNeXt of timm on the visible positions.

    Args:
        module: The network or a part of it.
        x: (B, C, H, W), zero where hidden.
        visible: What is visible.

    Returns:
        (B, C', H', W'), zero where hidden.

    Raises:
        ValueError: For a layer of another kind.
    """
    net = cast(Any, module)
    if type(module) in _BATCH_NORMS:
        return _batch_norm(net, x, visible)
    if isinstance(module, _KEEP_ZEROS):
        return cast(Tensor, module(x))
    if isinstance(module, nn.MaxPool2d):
        return visible.hide(_max_pool(module, x))
    if isinstance(module, _HIDE_AFTER):
        return visible.hide(module(x))
    if isinstance(module, nn.Sequential):
        return _chain(list(module), x, visible)
    if isinstance(module, BasicBlock | Bottleneck):
        return _residual(net, x, visible)
    if isinstance(module, ConvNeXtBlock):
        return _convnext_block(net, x, visible)
    if isinstance(module, ConvNeXtStage):
        return _chain([net.downsample, net.blocks], x, visible)
    if isinstance(module, ResNet):
        stages = [net.layer1, net.layer2, net.layer3, net.layer4]
        return _chain([net.conv1, net.bn1, net.act1, net.maxpool, *stages], x, visible)
    if isinstance(module, ConvNeXt):
        return _chain([net.stem, net.stages, net.norm_pre], x, visible)
    raise ValueError(
        f"A {type(module).__name__} cannot be run on a part of an image; use a plain ResNet or ConvNeXt of "
        "timm (resnet18, resnet50, wide_resnet50_2, convnext_tiny ...)."
    )


def _chain(modules: list[nn.Module], x: Tensor, visible: Visible) -> Tensor:
    for module, following in itertools.zip_longest(modules, modules[1:]):
        # A batch norm looks at visible positions alone and hides the others itself.
        plain = type(module) is nn.Conv2d and type(following) in _BATCH_NORMS
        x = module(x) if plain else run(module, x, visible)
    return x


def _max_pool(pool: nn.MaxPool2d, x: Tensor) -> Tensor:
    """The layer itself; on a CPU with channels last, which is equal and four times as fast."""
    if x.device.type != "cpu":
        return cast(Tensor, pool(x))
    return cast(Tensor, pool(x.contiguous(memory_format=torch.channels_last))).contiguous()


def _batch_norm(norm: nn.BatchNorm2d, x: Tensor, visible: Visible) -> Tensor:
    sync = visible.sync and distributed.is_distributed()
    # Of a single sample, torch 2.11 on a CPU takes a wrong gradient if input and gradient differ in strides.
    if visible.cells is None and len(x) > 1 and not (sync and norm.training):
        return cast(Tensor, norm(x))
    return masked_batch_norm(norm, x, visible.at(x), sync=sync)


def _residual(block: Any, x: Tensor, visible: Visible) -> Tensor:
    """A block of a ResNet: two or three convolutions beside a shortcut."""
    if block.se is not None:
        raise ValueError(
            f"{type(block.se).__name__} in a residual block looks at all positions at once, so it cannot be "
            "run on a part of an image; use a network without channel attention."
        )
    parts = [block.conv1, block.bn1]
    if isinstance(block, Bottleneck):
        parts += [block.act1, block.conv2, block.bn2, block.drop_block, block.act2, block.aa]
        parts += [block.conv3, block.bn3]
        last = block.act3
    else:
        parts += [block.drop_block, block.act1, block.aa, block.conv2, block.bn2]
        last = block.act2
    if block.drop_path is not None:
        parts.append(block.drop_path)
    shortcut = x if block.downsample is None else run(block.downsample, x, visible)
    # Both terms are zero where hidden, and so is their sum.
    return run(last, _chain(parts, x, visible) + shortcut, visible)


def _convnext_block(block: Any, x: Tensor, visible: Visible) -> Tensor:
    """A block of a ConvNeXt: depth-wise convolution, then a perceptron per position.

    Norm and perceptron see one position at a time, so hiding once at the end is the same as after each layer.
    """
    if type(block.mlp).__name__ != "Mlp" or not isinstance(block.shortcut, nn.Identity):
        raise ValueError(
            f"{type(block.mlp).__name__} in a ConvNeXt block cannot be run on a part of an image; use a "
            "network without global response normalisation (ConvNeXt, not ConvNeXt V2)."
        )
    y = block.conv_dw(x)
    if block.use_conv_mlp:
        y = block.mlp(block.norm(y))
    else:
        y = block.mlp(block.norm(y.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
    if block.gamma is not None:
        y = y * block.gamma.view(1, -1, 1, 1)
    return cast(Tensor, block.drop_path(visible.hide(y))) + x
