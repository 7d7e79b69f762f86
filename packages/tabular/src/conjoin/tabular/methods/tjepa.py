# SPDX-License-Identifier: Apache-2.0
r"""T-JEPA: predict the features of hidden columns of a table row from some visible ones.

Thimonier et al., "T-JEPA: Augmentation-Free Self-Supervised Learning for Tabular Data", ICLR 2025 (arXiv
2410.05016). Of the D columns of a row a random subset is the context, four others are targets; a token [REG]
that belongs to no column is always visible and never predicted. With context encoder :math:`f_\theta`, its
moving average :math:`f_{\bar\theta}` on the whole row and predictor :math:`g_\phi`,

.. math::
    L = \operatorname{mean}_{m,\, j \in T_m}
        \bigl\| g_\phi\bigl(f_\theta(x_{[REG] \cup C}),\, \{\text{mask} + p_j\}_{j \in T_m}\bigr)_j
        - f_{\bar\theta}(x)_j \bigr\|^2 .

Targets are normalised by nothing but the encoder's own last norm. A row's embedding is *all* its tokens,
flattened.

Constants are those of the published command for Jannis. Beside the released code (jose-melo/t-jepa):

* mask indices mean columns. The release numbers the sequence [REG, columns ...] with the columns' numbers:
  [REG] is masked like a column and the last column is never used (``register="as_column"``).
* the four target sets are drawn independently; in the release they are equal
  (``masks=RepeatedSubsetMask()``).
* the teacher has no dropout; the release leaves it in training mode (``teacher_dropout=True``).
* gradients of the encoder are clamped value by value as released, but once per optimiser step, after the sum
  over ranks and micro-batches.
* all query, key and value matrices are drawn independently; released layers start as copies of one.
* dropout draws from the step's key, so a resumed run repeats it exactly.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from conjoin.core import distributed, random
from conjoin.core.masking import Masks, MaskSampler, SubsetMask
from conjoin.core.methods import JEPA
from conjoin.core.methods.joint_embedding import StepOutput
from conjoin.core.nn import Init, gather_tokens
from conjoin.core.objectives.latent_regression import LatentRegression
from conjoin.core.optim import Optim
from conjoin.tabular.encoders import ColumnPredictor, RowEncoder
from conjoin.tabular.schema import Schema

__all__ = ("TJEPA",)

Register = Literal["visible", "as_column", "off"]


class TJEPA(JEPA):
    """The joint-embedding predictive architecture for tables (arXiv 2410.05016): columns as tokens.

    Args:
        numeric: Numeric columns; they come first in a row.
        categories: Number of categories of each categorical column.
        missing: Numeric columns (by place) that have missing values in training.
        dim: Width of the encoder.
        depth: Blocks of the encoder.
        heads: Attention heads of the encoder.
        hidden: Width of the encoder's MLPs.
        dropout: Of the encoder.
        predictor_dim: Width of the predictor.
        predictor_depth: Blocks of the predictor.
        predictor_heads: Attention heads of the predictor.
        predictor_hidden: Width of the predictor's MLPs.
        predictor_dropout: Of the predictor.
        register: ``"visible"``: [REG] is in every context and never a target; ``"as_column"``: masked as
            released; ``"off"``: there is none.
        type_embedding: Add a learned vector for the kind of a column (released for Adult).
        masks: What is visible and what is to be predicted, over the columns; None for ``SubsetMask()``.
        teacher_dropout: Leave dropout on in the teacher during training, as released.
        clamp: Bound on each entry of the encoder's gradient; None for no bound.
        ema: Teacher momentum at the first and after the last optimiser step, linear in between.
        init: Scheme of the initial weights.
        optim: Optimiser and schedules; None for the published ones: AdamW, 0 to 3.66e-4 in 10 epochs, cosine
            to 0, no weight decay.
        seed: Of the initial weights and all draws; None for the run's.

    Raises:
        ValueError: If an option is unknown, or sizes do not fit each other.
    """

    def __init__(
        self,
        numeric: int,
        categories: tuple[int, ...] = (),
        missing: tuple[int, ...] = (),
        *,
        dim: int = 64,
        depth: int = 16,
        heads: int = 2,
        hidden: int = 64,
        dropout: float = 0.00185,
        predictor_dim: int = 16,
        predictor_depth: int = 16,
        predictor_heads: int = 4,
        predictor_hidden: int = 256,
        predictor_dropout: float = 0.00193,
        register: Register = "visible",
        type_embedding: bool = False,
        masks: MaskSampler | None = None,
        teacher_dropout: bool = False,
        clamp: float | None = 1.0,
        ema: tuple[float, float] = (0.996, 1.0),
        init: Init = "official",
        optim: Optim | None = None,
        seed: int | None = None,
    ) -> None:
        if register not in ("visible", "as_column", "off"):
            raise ValueError(f"register must be 'visible', 'as_column' or 'off', not {register!r}.")
        if clamp is not None and clamp <= 0:
            raise ValueError(f"clamp must be positive or None, not {clamp}.")
        seed = random.default_seed() if seed is None else seed
        with random.seeded(random.key(seed, "init")):
            encoder = RowEncoder(
                numeric,
                tuple(categories),
                dim,
                depth,
                heads,
                hidden,
                missing=tuple(missing),
                register=register != "off",
                type_embedding=type_embedding,
                dropout=dropout,
                init=init,
            )
            predictor = ColumnPredictor(
                dim,
                encoder.grid[0],
                predictor_dim,
                predictor_depth,
                predictor_heads,
                predictor_hidden,
                dropout=predictor_dropout,
                init=init,
            )
        super().__init__(
            encoder,
            predictor,
            masks or SubsetMask(),
            objective=LatentRegression("l2", "none"),
            ema=ema,
            optim=optim
            or Optim(
                lr=3.66e-4,
                start_lr=0.0,
                final_lr=0.0,
                warmup_epochs=10,
                weight_decay=0.0,
                final_weight_decay=None,
            ),
            seed=seed,
        )
        self.register_mode = register
        self.teacher_dropout = teacher_dropout
        self.clamp = clamp
        self.drops = dropout > 0 or predictor_dropout > 0

    @property
    def grid(self) -> tuple[int, ...]:
        """The columns, over which masks are drawn; [REG] is beside them."""
        return (cast(RowEncoder, self.encoder).columns,)

    def partition(self, batch: dict[str, Any]) -> Masks:
        """The columns to see, [REG] among them, and to predict, as places in the encoder's sequence."""
        drawn = super().partition(batch)
        if self.register_mode != "visible":
            return drawn
        first = drawn.context.new_zeros(len(drawn), 1)
        return Masks(torch.cat((first, drawn.context + 1), dim=1), drawn.targets + 1)

    def step(self, batch: dict[str, Any]) -> StepOutput:
        """The template's step, under keyed dropout, with a row's flattened tokens as its embedding."""
        masks = self.partition(batch)
        with self._keyed_dropout():
            features = self.encode_targets(batch)
            predictions = self.predict(self.encode_context(batch, masks), masks)
        targets = gather_tokens(features, masks.targets)
        out = self.objective(predictions, targets)
        extras = {"targets": targets, "target_index": masks.targets}
        return StepOutput(out.loss, out.terms, features.flatten(1), extras)

    @staticmethod
    def pool_tokens(tokens: Tensor) -> Tensor:
        """Features of rows, all tokens side by side as in the paper: (B, N, D) to (B, N * D)."""
        return tokens.flatten(1)

    def train(self, mode: bool = True) -> "TJEPA":
        """Switch to training mode, all but the teacher unless it is to keep its dropout."""
        super().train(mode)
        if mode and self.teacher_dropout:
            self.teacher.train()
        return self

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clamp the encoder's gradient, then set the step's learning rate."""
        if self.clamp is not None:
            for parameter in self.encoder.parameters():
                if parameter.grad is not None:
                    parameter.grad.clamp_(-self.clamp, self.clamp)
        super().on_before_optimizer_step(optimizer)

    def setup(self, stage: str) -> None:
        """Compare the columns of the data with those of the encoder.

        Raises:
            ValueError: If they differ; the message has the arguments that fit.
        """
        schema = getattr(getattr(self.trainer, "datamodule", None), "schema", None)
        if isinstance(schema, Schema):
            tokenizer = cast(RowEncoder, self.encoder).tokenizer
            schema.check(tokenizer.numeric, tokenizer.categories, tokenizer.places)

    @contextlib.contextmanager
    def _keyed_dropout(self) -> Iterator[None]:
        """Global generators set from the step's key and the rank, and put back afterwards."""
        if not (self.drops and self.training):
            yield
            return
        drawn = random.key(self.step_key("dropout"), "rank", distributed.rank())
        gpu = [self.device] if self.device.type == "cuda" else []
        with random.seeded(drawn), torch.random.fork_rng(gpu, enabled=bool(gpu)):
            if gpu:
                torch.cuda.manual_seed(drawn & ((1 << 63) - 1))
            yield
