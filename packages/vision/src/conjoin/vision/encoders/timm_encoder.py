# SPDX-License-Identifier: Apache-2.0
"""Any timm backbone as a token encoder.

Vision transformers of timm are run block by block, so that hidden tokens cost nothing and intermediate layers
can be read. Other backbones (convolutional networks, hierarchical transformers) mix neighbours from the
first layer
on: they give the cells of their last feature map as tokens, but cannot encode a subset as if the rest were
not there.
"""

import contextlib
from typing import Any, Literal, get_args

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from conjoin.core.nn import Hide, gather_tokens
from conjoin.core.spec import SelfDescribing

__all__ = ("TimmEncoder",)

Pool = Literal["mean", "class"]


class TimmEncoder(SelfDescribing, nn.Module):
    """A timm model without its classifier.

    Args:
        name: Model name as in ``timm.list_models()``, e.g. ``"vit_small_patch16_224"`` or ``"resnet18"``.
        image_size: Height and width in pixels, or one number; None for the model's own.
        in_channels: Channels of the image.
        pretrained: Download timm's weights for it.
        options: Further arguments of ``timm.create_model``. A plain vision transformer with ``num_classes``
            gives its tokens through timm's linear head, that many values wide (LeJEPA's embedding); with
            ``patch_drop_rate`` it leaves patches out in training, so ask for the class token then.
        pool: What stands for a whole picture. ``"mean"``: the encoder gives the patch tokens, which systems
            and probes average. ``"class"``: it gives the class token alone, normed as timm does, which is
            then its only token; for systems that compare whole views (DINO, MoCo v3, LeJEPA).

    Attributes:
        embed_dim: Width of the tokens.
        grid: (rows, columns) of tokens, in raster order; class and register tokens are not among them. (1, 1)
            with ``pool="class"``.

    Raises:
        ValueError: If timm has no such model, the model gives neither tokens nor a feature map, or it has no
            class token and is asked for it.
    """

    def __init__(
        self,
        name: str,
        image_size: int | tuple[int, int] | None = None,
        in_channels: int = 3,
        pretrained: bool = False,
        options: dict[str, Any] | None = None,
        pool: Pool = "mean",
    ) -> None:
        super().__init__()
        if pool not in get_args(Pool):
            raise ValueError(f'pool must be "mean" or "class", not {pool!r}.')
        arguments: dict[str, Any] = {"in_chans": in_channels, "num_classes": 0, **(options or {})}
        if not timm.is_model(name):
            near = timm.list_models(f"*{name.split('_')[0]}*")[:3]
            raise ValueError(
                f"timm has no model {name!r}" + (f"; near it: {', '.join(near)}." if near else ".")
            )
        size = (image_size, image_size) if isinstance(image_size, int) else image_size
        model: Any = None
        if size is not None:
            # Convolutional networks take any size, and have no such argument.
            with contextlib.suppress(TypeError):
                model = timm.create_model(name, pretrained=pretrained, img_size=size, **arguments)
        if model is None:
            model = timm.create_model(name, pretrained=pretrained, **arguments)
        self.model: nn.Module = model
        self.embed_dim = int((self.by_tokens and model.num_classes) or model.num_features)
        self.pool = pool
        if pool == "class" and (not self.by_tokens or model.cls_token is None):
            raise ValueError(f'{name} is no vision transformer with a class token: use pool="mean".')
        if size is None:
            size = tuple(model.pretrained_cfg["input_size"][1:])
        self.image_size = (int(size[0]), int(size[1]))
        self.in_channels = in_channels
        self.grid = self._find_grid()

    @property
    def by_tokens(self) -> bool:
        """Whether the model is a plain vision transformer, in which tokens meet in attention only."""
        return isinstance(self.model, VisionTransformer)

    def _find_grid(self) -> tuple[int, int]:
        if self.pool == "class":
            return 1, 1
        if isinstance(self.model, VisionTransformer):
            rows, columns = self.model.patch_embed.grid_size
            return int(rows), int(columns)
        was_training = self.model.training
        # An evaluation pass, so that batch norms keep their statistics.
        weight = next(self.model.parameters())
        with torch.no_grad():
            features = self.model.eval().forward_features(  # type: ignore[operator]
                weight.new_zeros(1, self.in_channels, *self.image_size)
            )
        self.model.train(was_training)
        return self._map_size(features)

    def _map_size(self, features: Tensor) -> tuple[int, int]:
        if features.ndim != 4 or self.embed_dim not in (features.shape[1], features.shape[3]):
            raise ValueError(
                f"{type(self.model).__name__} of timm gives features {tuple(features.shape)}, which are "
                f"neither a map of {self.embed_dim} channels nor the tokens of a plain vision transformer; "
                "use another backbone."
            )
        rows, columns = features.shape[2:] if features.shape[1] == self.embed_dim else features.shape[1:3]
        return int(rows), int(columns)

    def forward(self, x: Tensor, keep: Tensor | None = None, hide: Hide | None = None) -> Tensor:
        """Encode.

        Args:
            x: (B, C, H, W) floats.
            keep: (B, K) long: encode these tokens alone; None for all N.
            hide: What the blocks are to see of the patch tokens; all of them if not given.

        Returns:
            (B, N or K, D); (B, 1, D) with ``pool="class"``.

        Raises:
            ValueError: If ``keep`` or ``hide`` is given and the backbone is not a plain vision transformer,
                or gives the class token alone.
        """
        if self.pool == "class" and (keep is not None or hide is not None):
            raise ValueError(
                'With pool="class" the encoder gives no patch tokens, and hidden ones cannot be compared or '
                'predicted: use pool="mean".'
            )
        if self.by_tokens:
            return self._tokens(x, 1, keep, hide)[0]
        if keep is not None or hide is not None:
            raise ValueError(
                f"{type(self.model).__name__} of timm is not a plain vision transformer: its tokens see "
                "their neighbours' pixels from the first layer on, so hidden tokens cannot be left out. Hide "
                "pixels in the image instead, or use a ViT."
            )
        features: Tensor = self.model.forward_features(x)  # type: ignore[operator]
        if features.shape[1] == self.embed_dim:
            features = features.permute(0, 2, 3, 1)
        return features.flatten(1, 2)

    def intermediate(self, x: Tensor, layers: int = 1) -> list[Tensor]:
        """Outputs of the last ``layers`` blocks, first to last, each through the final norm.

        Returns:
            (B, N, D) each; (B, 1, D) with ``pool="class"``.

        Raises:
            ValueError: If there are not that many, or the backbone's stages have different resolutions.
        """
        if self.by_tokens:
            return self._tokens(x, layers)
        if layers != 1:
            raise ValueError(
                f"The stages of {type(self.model).__name__} of timm have different resolutions: only "
                f"layers=1 can be asked of it, got {layers}."
            )
        return [self(x)]

    def _tokens(
        self, x: Tensor, layers: int, keep: Tensor | None = None, hide: Hide | None = None
    ) -> list[Tensor]:
        model = self.model
        assert isinstance(model, VisionTransformer)
        if not 1 <= layers <= len(model.blocks):
            raise ValueError(
                f"layers must be between 1 and the {len(model.blocks)} blocks of the encoder, got {layers}."
            )
        prefix = model.num_prefix_tokens
        # timm's class token is the first.
        given = slice(0, 1) if self.pool == "class" else slice(prefix, None)
        tokens = model.patch_embed(x)
        if hide is not None:  # with dynamic_img_size patches are (B, rows, columns, D)
            tokens = hide(tokens.flatten(1, -2)).view_as(tokens)
        tokens = model._pos_embed(tokens)
        if keep is not None:
            tokens = torch.cat((tokens[:, :prefix], gather_tokens(tokens[:, prefix:], keep)), dim=1)
        tokens = model.norm_pre(model.patch_drop(tokens))
        outputs: list[Tensor] = []
        for number, block in enumerate(model.blocks):
            tokens = block(tokens)
            if number >= len(model.blocks) - layers:
                outputs.append(model.head(model.norm(tokens)[:, given]))
        return outputs

    def extra_repr(self) -> str:
        """Sizes."""
        return (
            f"image_size={self.image_size}, grid={self.grid}, embed_dim={self.embed_dim}, pool={self.pool!r}"
        )
