# SPDX-License-Identifier: Apache-2.0
"""Watch the rank of any LightningModule's features without labels: return ``embedding`` beside the loss."""

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from conjoin.core.callbacks import RepresentationMonitor


class Autoencoder(LightningModule):
    """A module that knows nothing of conjoin."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(32, 16), nn.Linear(16, 32)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Reconstruct; the monitor reads ``embedding``."""
        (x,) = batch
        code = self.encoder(x)
        return {"loss": nn.functional.mse_loss(self.decoder(code), x), "embedding": code.detach()}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Any optimiser."""
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def main() -> float:
    """Train on data of four dimensions: the rank of the code falls towards four."""
    data = torch.randn(2048, 4) @ torch.randn(4, 32)
    trainer = Trainer(
        max_epochs=5,
        accelerator="cpu",
        logger=CSVLogger("runs", name="autoencoder"),
        callbacks=[RepresentationMonitor(every_n_steps=10)],
        enable_checkpointing=False,
    )
    trainer.fit(Autoencoder(), DataLoader(TensorDataset(data), batch_size=64, shuffle=True))
    rank = float(trainer.callback_metrics["monitor/rankme"])
    print(f"RankMe {rank:.1f} of 16 dimensions")
    return rank


if __name__ == "__main__":
    main()
