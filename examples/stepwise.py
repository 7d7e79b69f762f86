# SPDX-License-Identifier: Apache-2.0
"""Watch a linear embedding learn its dimensions one at a time, at the steps that theory predicts."""

import itertools

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn

from conjoin.core.callbacks import RepresentationMonitor
from conjoin.core.theory import contrastive_gamma, critical_times, stepwise_loss
from conjoin.samples import fashion


class Stepwise(LightningModule):
    """f(x) = W x from a tiny start, by full-batch gradient descent on the loss of the theory."""

    def __init__(self, width: int, dim: int, scale: float, lr: float) -> None:
        super().__init__()
        self.lr = lr
        self.encoder = nn.Linear(width, dim, bias=False, dtype=torch.float64)
        nn.init.normal_(self.encoder.weight, std=scale)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> dict[str, Tensor]:
        """All pairs at once; the monitor reads ``embedding``."""
        first, second = (self.encoder(view) for view in batch)
        return {"loss": stepwise_loss(first, second), "embedding": first.detach()}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain gradient descent: the theory's time is the learning rate times the steps."""
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def pairs(count: int) -> tuple[Tensor, Tensor]:
    """Garments of Fashion-MNIST and the same ones, moved by a pixel, both centred: (count, 784) each."""
    images = torch.tensor(fashion().train.images[:count], dtype=torch.float64).view(count, 28, 28) / 255
    moved = images.roll((1, 1), dims=(1, 2))
    return tuple((view - view.mean(0)).flatten(1) / 28 for view in (images, moved))  # type: ignore[return-value]


# --8<-- [start:main]
def main(count: int = 500, dim: int = 10, waited_for: int = 8) -> float:
    """Train until the eighth mode is learned; the correlation of predicted and detected steps."""
    seed_everything(0)
    x, x1 = pairs(count)
    values, vectors = (part.flip(-1) for part in torch.linalg.eigh(contrastive_gamma(x, x1)))
    lr = 0.25 / (8 * float(values[0]))  # an eighth of what would diverge
    model = Stepwise(x.shape[1], dim, 1e-4, lr)
    start = (model.encoder.weight.detach() @ vectors[:, :dim]).norm(
        dim=0
    )  # how far W reaches along each mode
    predicted = critical_times(values[:dim], start) / lr
    monitor = RepresentationMonitor(
        count, points_per_decade=100, alarms=(), predicted_steps=predicted.tolist()
    )
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=CSVLogger("runs", name="stepwise"),
        callbacks=[monitor],
        enable_checkpointing=False,
        log_every_n_steps=100,
    )
    steps = int(1.5 * float(predicted[waited_for - 1]))
    trainer.fit(model, itertools.repeat((x, x1), steps))  # the same batch at every step
    detected = {index: step for step, index in reversed(monitor.trajectory.detected())}
    both = [(detected[index], float(predicted[index])) for index in sorted(detected) if index < waited_for]
    for index, (seen, expected) in enumerate(both):
        print(f"dimension {index + 1}: learned at step {seen:7.0f}, predicted {expected:7.0f}")
    correlation = float(torch.corrcoef(torch.tensor(both).log().T)[0, 1])
    print(f"{len(both)} of {waited_for} steps seen, correlation {correlation:.3f}")
    return correlation


# --8<-- [end:main]


if __name__ == "__main__":
    main()
