# SPDX-License-Identifier: Apache-2.0
r"""From the columns of a row to tokens, after the feature tokenizer of FT-Transformer.

Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data", NeurIPS 2021 (arXiv 2106.11959), section
3.3. With a numeric value :math:`x_j`, a category :math:`c` and learned vectors,

.. math:: t_j = x_j w_j + b_j \quad\text{(numeric)}, \qquad t_j = e_{j,c} + b_j \quad\text{(categorical)}.

A first token without bias, [REG], belongs to no column. What the paper does not say and a real table asks:

* a missing number (NaN) of a column listed in ``missing`` has a learned vector in the place of :math:`x_j
  w_j`; in other columns it counts as 0;
* a category never seen in training is the mean of the column's categories: known to be that column, and no
  more.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conjoin.core.nn import Init, init_weight_

__all__ = ("ColumnTokenizer",)

_EXACT_IN_HALF = 256  # consecutive integers that bfloat16 can hold


class ColumnTokenizer(nn.Module):
    """Rows (B, columns) to tokens (B, register + columns, D).

    Args:
        numeric: Numeric columns; they are the first of a row.
        categories: Number of categories of each categorical column; they follow the numeric ones.
        dim: Width of the tokens.
        missing: Numeric columns (by place) in which values may be missing.
        register: Whether a token that belongs to no column comes first.
        type_embedding: Add a learned vector for "numeric" or "categorical"; without effect in tables of one
            kind.
        init: ``"official"``: category and type vectors from a normal of standard deviation 0.02;
            ``"xavier"``: uniform within ``1 / sqrt(dim)``, as the vectors of numeric columns are in any case.
        device: Where the weights live.
        dtype: Their type.

    Raises:
        ValueError: If there is no column, or a size is out of range.
    """

    offsets: Tensor
    sizes: Tensor
    owner: Tensor
    missing_index: Tensor
    kinds: Tensor

    def __init__(
        self,
        numeric: int,
        categories: Sequence[int],
        dim: int,
        *,
        missing: Sequence[int] = (),
        register: bool = True,
        type_embedding: bool = False,
        init: Init = "official",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if numeric < 0 or numeric + len(categories) < 1:
            raise ValueError(
                f"A table needs columns: got {numeric} numeric and {len(categories)} categorical."
            )
        if categories and min(categories) < 1:
            raise ValueError(f"Each categorical column needs at least one category, got {tuple(categories)}.")
        if sorted(set(missing)) != list(missing) or (
            missing and not 0 <= missing[0] <= missing[-1] < numeric
        ):
            raise ValueError(
                f"missing names numeric columns by place, ascending, from 0 to {numeric - 1}; got "
                f"{tuple(missing)}."
            )
        self.numeric = numeric
        self.categories = tuple(categories)
        self.columns = numeric + len(categories)
        self.init: Init = init
        kwargs = {"device": device, "dtype": dtype}
        total = sum(categories)
        self.register = nn.Parameter(torch.empty(1, dim, **kwargs)) if register else None
        self.weight = nn.Parameter(torch.empty(numeric, dim, **kwargs)) if numeric else None
        self.bias = nn.Parameter(torch.empty(self.columns, dim, **kwargs))
        self.embedding = nn.Parameter(torch.empty(total, dim, **kwargs)) if categories else None
        self.missing = nn.Parameter(torch.empty(len(missing), dim, **kwargs)) if missing else None
        both = type_embedding and numeric > 0 and bool(categories)
        self.types = nn.Parameter(torch.empty(2, dim, **kwargs)) if both else None
        self.places = tuple(missing)
        for name, value in self._indices().items():
            # Functions of the arguments: not part of a checkpoint.
            empty = torch.empty(value.shape, dtype=torch.int64, device=device)
            self.register_buffer(name, empty, persistent=False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """New weights, see ``init``, and the index tables."""
        for name, value in self._indices().items():
            if not (buffer := self.get_buffer(name)).is_meta:
                buffer.copy_(value)
        bound = 1 / math.sqrt(self.bias.shape[1])
        for parameter in (self.register, self.weight, self.bias, self.missing):
            if parameter is not None:
                nn.init.uniform_(parameter, -bound, bound)
        for parameter in (self.embedding, self.types):
            if parameter is not None and self.init == "official":
                init_weight_(parameter)
            elif parameter is not None:
                nn.init.uniform_(parameter, -bound, bound)

    def _indices(self) -> dict[str, Tensor]:
        """Where each column's categories lie in the one embedding table, and which columns have what."""
        with torch.device("cpu"):
            sizes = torch.tensor(self.categories, dtype=torch.int64)
            return {
                "sizes": sizes,
                "offsets": sizes.cumsum(0) - sizes,
                "owner": torch.arange(len(sizes)).repeat_interleave(sizes),
                "missing_index": torch.tensor(self.places, dtype=torch.int64),
                "kinds": (torch.arange(self.columns) >= self.numeric).to(torch.int64),
            }

    def forward(self, x: Tensor) -> Tensor:
        """Tokenize.

        Args:
            x: (B, columns): numbers, NaN where missing, then categories as numbers; a number that is no
                category of its column means "unknown".

        Returns:
            (B, register + columns, D).

        Raises:
            ValueError: If the rows do not have these columns, or their type cannot hold the categories.
        """
        if x.ndim != 2 or x.shape[1] != self.columns:
            raise ValueError(
                f"The encoder was made for rows of {self.columns} columns ({self.numeric} numeric, "
                f"{len(self.categories)} categorical), got a batch of shape {tuple(x.shape)}."
            )
        parts = [part for part in (self._numbers(x), self._categories(x)) if part is not None]
        tokens = torch.cat(parts, dim=1) + self.bias
        if self.types is not None:
            tokens = tokens + self.types[self.kinds]
        if self.register is None:
            return tokens
        return torch.cat((self.register.expand(len(x), 1, -1), tokens), dim=1)

    def _numbers(self, x: Tensor) -> Tensor | None:
        if self.weight is None:
            return None
        values = x[:, : self.numeric].to(self.weight.dtype)
        absent = values.isnan()
        tokens = torch.where(absent, 0.0, values).unsqueeze(-1) * self.weight
        if self.missing is None:
            return tokens
        marks = absent[:, self.missing_index].to(tokens.dtype).unsqueeze(-1) * self.missing
        return tokens.index_add(1, self.missing_index, marks)

    def _categories(self, x: Tensor) -> Tensor | None:
        if self.embedding is None:
            return None
        if x.dtype in (torch.bfloat16, torch.float16) and max(self.categories) > _EXACT_IN_HALF:
            raise ValueError(
                f"Rows of type {x.dtype} cannot hold {max(self.categories)} categories: train with mixed "
                "precision (bf16-mixed) or in float32."
            )
        # The last rows of the table are the unknown category of each column.
        sums = self.embedding.new_zeros(len(self.categories), self.embedding.shape[1])
        unknown = sums.index_add(0, self.owner, self.embedding) / self.sizes.unsqueeze(1)
        table = torch.cat((self.embedding, unknown.to(self.embedding.dtype)))
        code = x[:, self.numeric :].nan_to_num(-1.0).to(torch.int64)
        known = (code >= 0) & (code < self.sizes)
        places = len(self.embedding) + torch.arange(len(self.categories), device=x.device)
        return F.embedding(torch.where(known, self.offsets + code, places), table)

    def extra_repr(self) -> str:
        """The columns."""
        return f"numeric={self.numeric}, categories={self.categories}, register={self.register is not None}"
