# SPDX-License-Identifier: Apache-2.0
"""``conjoin embed``: frozen features of a split as a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from conjoin.core.checkpoint_io import replacing
from conjoin.core.cli.errors import UserError
from conjoin.core.cli.source import parse, parser

if TYPE_CHECKING:
    from conjoin.core.evaluation import Features

__all__ = ("run", "write")


def write(features: "Features", path: Path) -> None:
    """Write ``embedding`` (N, D) float32, ``label`` (N,) and ``index`` (N,) int64.

    Args:
        features: The rows.
        path: ``.npz`` or ``.parquet`` (one list column ``embedding``).

    Raises:
        UserError: If the ending is another one or pyarrow is not installed.
    """
    columns = {"embedding": features.x, "label": features.label, "index": features.index}
    if path.suffix == ".npz":
        import numpy

        with replacing(path) as temporary, temporary.open("wb") as file:
            arrays: dict[str, Any] = {name: column.numpy() for name, column in columns.items()}
            numpy.savez(file, **arrays)
    elif path.suffix == ".parquet":
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise UserError('Parquet needs pyarrow: pip install "conjoin[parquet]"') from error
        arrays = {"label": features.label.numpy(), "index": features.index.numpy()}
        flat = pyarrow.array(features.x.flatten().numpy())
        embedding = pyarrow.FixedSizeListArray.from_arrays(flat, features.x.shape[1])
        with replacing(path) as temporary:
            pyarrow.parquet.write_table(pyarrow.table({"embedding": embedding, **arrays}), temporary)
    else:
        raise UserError(f"--out {path}: the name must end in .npz or .parquet")


def run(command: str, arguments: Sequence[str]) -> None:
    """``conjoin embed --checkpoint C --data D --split test --out features.npz``."""
    arguments_parser = parser(command, "Write the frozen representation of every sample of a split.")
    arguments_parser.add_argument("--split", type=Literal["train", "val", "test"], default="test")
    arguments_parser.add_argument("--out", type=str, required=True, help="features.npz or features.parquet")
    arguments_parser.add_argument(
        "--layers", type=int, default=1, help="Concatenate the last so many blocks."
    )
    given, _, model, data = parse(arguments_parser, arguments)
    out = Path(given.out)
    if out.suffix not in (".npz", ".parquet"):
        raise UserError(f"--out {out}: the name must end in .npz or .parquet")
    from conjoin.core.evaluation import extract

    loader = data.evaluation_dataloader(given.split)
    features = extract(
        lambda batch: model.embed(batch, given.layers), loader, given.device, description=given.split
    )
    write(features, out)
    print(f"{out}: {features.x.shape[0]} x {features.x.shape[1]} features of {given.split}")
