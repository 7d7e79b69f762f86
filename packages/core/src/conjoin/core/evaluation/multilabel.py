# SPDX-License-Identifier: Apache-2.0
"""Several labels per sample: a linear probe and an attentive one, measured by macro AUC.

The attentive probe is ECG-JEPA's (Weimann and Conrad, arXiv 2410.13867): one learned query attends to the
frozen tokens, and the output projection of that attention maps straight to the labels.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conjoin.core import random
from conjoin.core.evaluation.features import extract
from conjoin.core.evaluation.linear import principal_axes, standardiser
from conjoin.core.evaluation.roc import label_aucs, macro_auc
from conjoin.core.evaluation.table import Row
from conjoin.core.nn import Linear, init_weight_

__all__ = (
    "CrossAttentionClassifier",
    "MultiLabelChoice",
    "MultiLabelFeatures",
    "attentive_multilabel_probe",
    "extract_multilabel",
    "linear_multilabel_probe",
    "multilabel_rows",
)


@dataclass(frozen=True)
class MultiLabelFeatures:
    """Rows and their labels.

    Attributes:
        x: (N, D) pooled features, or (N, T, D) tokens.
        labels: (N, L) of 0 and 1.
    """

    x: Tensor
    labels: Tensor


@dataclass(frozen=True)
class MultiLabelChoice:
    """What validation chose, and how well it did.

    Attributes:
        setting: The L2 strength, or the training step.
        val: Macro AUC on the validation split.
        test: Macro AUC on the test split.
        aucs: (L,) on the test split, NaN where a label does not vary.
    """

    setting: float
    val: float
    test: float
    aucs: Tensor


def extract_multilabel(
    embed: Callable[[Any], Tensor],
    dataloader: Iterable[Any],
    device: torch.device | str = "cpu",
    *,
    description: str = "features",
    progress: bool = True,
) -> MultiLabelFeatures:
    """Features and ``labels`` of every sample of a loader, each once, whatever the number of ranks.

    Args:
        embed: Batch to (B, D) or (B, T, D).
        dataloader: Yields batches with ``x``, ``labels`` (B, L) and ``index``.
        device: Where to compute; the result lies on the CPU.
        description: Shown beside the progress bar.
        progress: Show the bar.

    Raises:
        ValueError: If a batch has no ``labels``.
    """
    shape: list[torch.Size] = []

    def joined(batch: Any) -> Tensor:
        if "labels" not in batch:
            raise ValueError("batches have no 'labels' (B, L): this data module is not a multi-label one")
        x = embed(batch).to(torch.float32)
        shape[:] = [x.shape[1:], batch["labels"].shape[1:]]
        return torch.cat((x.flatten(1), batch["labels"].to(x)), dim=1)

    rows = extract(joined, dataloader, device, description=description, progress=progress).x
    width = shape[1].numel()
    return MultiLabelFeatures(rows[:, :-width].reshape(-1, *shape[0]), rows[:, -width:])


def linear_multilabel_probe(
    train: MultiLabelFeatures,
    val: MultiLabelFeatures,
    test: MultiLabelFeatures,
    *,
    strengths: Sequence[float] = (10.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4),
    max_iter: int = 100,
) -> MultiLabelChoice:
    """One logistic regression per label on standardised pooled features, strength chosen on ``val``.

    Full-batch L-BFGS in the principal axes, as the linear probe: no learning rate, seed or order.

    Raises:
        ValueError: No strength, or features that are not (N, D).
    """
    if not strengths or train.x.ndim != 2:
        raise ValueError(
            f"the linear probe needs an L2 strength and features (N, D), got {tuple(train.x.shape)}"
        )
    mean, std = standardiser(train.x)
    x, axes = principal_axes((train.x - mean) / std)
    best: MultiLabelChoice | None = None
    weight = x.new_zeros(train.labels.shape[1], x.shape[1])
    bias = x.new_zeros(train.labels.shape[1])
    for l2 in sorted(strengths, reverse=True):
        weight, bias = _fit(x, train.labels, l2, weight, bias, max_iter)
        full = weight @ axes / std
        val_scores, test_scores = ((part.x - mean) @ full.T + bias for part in (val, test))
        score = macro_auc(val_scores, val.labels, constant="skip")
        if best is None or score > best.val:
            best = _choice(l2, score, test_scores, test.labels)
    assert best is not None
    return best


def _choice(setting: float, val: float, scores: Tensor, labels: Tensor) -> MultiLabelChoice:
    # Test scores of a candidate are made while it exists; they choose nothing.
    return MultiLabelChoice(
        setting, val, macro_auc(scores, labels, constant="skip"), label_aucs(scores, labels)
    )


def _fit(
    x: Tensor, labels: Tensor, l2: float, weight: Tensor, bias: Tensor, max_iter: int
) -> tuple[Tensor, Tensor]:
    """Minimise mean over samples of the summed binary cross-entropies, plus ``l2 / 2 |W|^2``."""
    scale = (x.square().mean(0) / 4 + l2).sqrt()
    unknown, offset = weight * scale, bias.clone()
    optimizer = torch.optim.LBFGS(
        [unknown, offset],
        max_iter=max_iter,
        tolerance_grad=1e-5,
        tolerance_change=1e-9,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    @torch.no_grad()
    def closure() -> Tensor:
        weight = unknown / scale
        logits = torch.addmm(offset, x, weight.T)
        loss = F.binary_cross_entropy_with_logits(logits, labels, reduction="sum") / len(x)
        error = (logits.sigmoid() - labels) / len(x)
        unknown.grad = torch.addmm(weight, error.T, x, beta=l2) / scale
        offset.grad = error.sum(0)
        return loss + l2 / 2 * weight.square().sum()

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return unknown / scale, offset


class CrossAttentionClassifier(nn.Module):
    """One query, one cross-attention without residual, norm, MLP or bias, projected straight to labels.

    Args:
        dim: Width D of the tokens.
        heads: Attention heads; must divide ``dim``.
        labels: L.

    Raises:
        ValueError: If ``heads`` does not divide ``dim``.
    """

    def __init__(self, dim: int, heads: int, labels: int) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise ValueError(f"heads must divide the width: {heads} heads do not divide dim {dim}.")
        self.heads = heads
        self.query = nn.Parameter(torch.empty(1, 1, dim))
        self.q = Linear(dim, dim, bias=False)
        self.kv = Linear(dim, 2 * dim, bias=False)
        self.proj = Linear(dim, labels, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """A new query; the layers reset themselves."""
        init_weight_(self.query)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L) logits for tokens (B, T, D)."""
        q = self.q(self.query).unflatten(-1, (self.heads, -1)).transpose(1, 2).expand(len(tokens), -1, -1, -1)
        k, v = self.kv(tokens).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(1)
        return cast(Tensor, self.proj(seen))


def attentive_multilabel_probe(
    train: MultiLabelFeatures,
    val: MultiLabelFeatures,
    test: MultiLabelFeatures,
    *,
    heads: int = 12,
    steps: int = 5000,
    every: int = 100,
    lr: float = 1e-3,
    weight_decay: float = 0.1,
    clip: float = 1.0,
    batch_size: int = 128,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> MultiLabelChoice:
    """Train one probe on frozen tokens, choose the step on ``val``, measure on ``test``.

    The defaults are the paper's: AdamW at a constant rate, gradients clipped, validated every 100 steps.
    ``heads`` are lowered to the largest number that divides the width.

    Raises:
        ValueError: ``x`` is not (N, T, D).
    """
    if train.x.ndim != 3:
        raise ValueError(f"the attentive probe needs tokens (N, T, D), got {tuple(train.x.shape)}")
    dim = train.x.shape[2]
    heads = next(h for h in range(min(heads, dim), 0, -1) if dim % h == 0)
    with random.seeded(random.key(seed, "attentive_multilabel")):
        probe = CrossAttentionClassifier(dim, heads, train.labels.shape[1]).to(device)
    optimizer = torch.optim.AdamW(probe.parameters(), lr=lr, weight_decay=weight_decay)
    best: MultiLabelChoice | None = None
    order: list[Tensor] = []
    for step in range(1, steps + 1):
        if not order:
            key = torch.tensor(random.key(seed, "attentive_multilabel_order", step))
            order = list(random.permutation(key, len(train.x)).split(batch_size))  # type: ignore[no-untyped-call]
        rows = order.pop()
        logits = probe(train.x[rows].to(device))
        loss = F.binary_cross_entropy_with_logits(logits, train.labels[rows].to(device))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(probe.parameters(), clip)
        optimizer.step()
        if step % every == 0 or step == steps:
            score = macro_auc(_scores(probe, val.x, batch_size, device), val.labels, constant="skip")
            if best is None or score > best.val:
                best = _choice(step, score, _scores(probe, test.x, batch_size, device), test.labels)
    if best is None:
        raise ValueError(f"the attentive probe needs at least one step, got {steps}")
    return best


@torch.no_grad()
def _scores(probe: nn.Module, tokens: Tensor, batch_size: int, device: torch.device | str) -> Tensor:
    parts = tokens.split(batch_size)  # type: ignore[no-untyped-call]
    return torch.cat([probe(part.to(device)).cpu() for part in parts])


def multilabel_rows(
    name: str,
    embed: Callable[[Any], Tensor],
    datamodule: Any,
    *,
    probe: Literal["linear", "attentive"] = "linear",
    device: torch.device | str = "cpu",
    progress: bool = True,
    **options: Any,
) -> list[Row]:
    """Rows of the evaluation table for one source of features.

    Args:
        name: ``"teacher"``, ``"random init"``, ``"raw input"``.
        embed: Batch to (B, D), or to tokens (B, T, D) for the attentive probe.
        datamodule: With ``evaluation_dataloader(split)`` whose batches have ``labels``.
        probe: Which.
        device: Where to embed.
        progress: Show bars.
        **options: Of the probe.

    Returns:
        Macro AUC with all labels on ``"val"`` and ``"test"``.
    """
    splits = []
    for split in ("train", "val", "test"):
        loader, what = datamodule.evaluation_dataloader(split), f"embedding {split} ({name})"
        splits.append(extract_multilabel(embed, loader, device, description=what, progress=progress))
    choice = (
        linear_multilabel_probe(*splits, **options)
        if probe == "linear"
        else attentive_multilabel_probe(*splits, device=device, **options)
    )
    return [
        Row(name, probe, None, split, "macro_auc", value, 0.0, 1)
        for split, value in (("val", choice.val), ("test", choice.test))
    ]
