# SPDX-License-Identifier: Apache-2.0
"""Two processes of a recipe's short run: ``machinery_driver.py FOLDER RECIPE``.

Lightning starts the second process by running this script again; rank 0 writes ``losses.json``.
"""

import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from test_machinery import BATCH, flags
from tiny import Losses

from conjoin.core.cli.lightning import ConjoinCLI


def main(folder: str, name: str) -> None:
    torch.set_num_threads(1)
    arguments = flags(
        name,
        Path(folder),
        **{
            "data.batch_size": BATCH // 2,
            "trainer.devices": 2,
            "trainer.strategy": "ddp",
            "trainer.accelerator": "cpu",
        },
    )
    cli = ConjoinCLI("fit", arguments, run=False)
    losses = Losses()
    cli.trainer.callbacks.insert(0, losses)
    cli.trainer.fit(cli.model, cli.datamodule)
    if cli.trainer.is_global_zero:
        Path(folder, "losses.json").write_text(json.dumps(losses.values))


if __name__ == "__main__":
    main(*sys.argv[1:])
