# SPDX-License-Identifier: Apache-2.0
"""What all data modules for sound share: waveforms in the workers, spectrograms on the device."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from conjoin.audio.data.draw import colours, outlined
from conjoin.audio.transforms import CenterWindow, LogMel, RandomWindow, Spectrogram, roll_and_gain
from conjoin.core import random
from conjoin.core.data import DataModule
from conjoin.core.masking import Masks

if TYPE_CHECKING:
    from conjoin.core.report.gallery import Panel

__all__ = ("AudioModule", "FrontEnd")


@dataclass(frozen=True)
class FrontEnd:
    """From waveforms to maps; the defaults are A-JEPA's for clips of 10 s.

    Args:
        rate: Samples per second.
        frames: Frames of 10 ms in a map, whole patches of the encoder.
        mels: Mel bands.
        mean: Mean of the log-mel values over the data set.
        std: Their standard deviation.
    """

    rate: int = 16_000
    frames: int = 1024
    mels: int = 128
    mean: float = -4.2677393
    std: float = 4.5689974

    def build(self) -> Spectrogram:
        """The module that does it.

        Raises:
            ValueError: If a number is out of its range.
        """
        return Spectrogram(LogMel(self.rate, self.mels), self.frames, self.mean, self.std)


class AudioModule(DataModule):
    """Base of the data modules for sound.

    A subclass writes ``build``, whose data sets are :class:`~conjoin.audio.data.files.ClipDataset`. Batches
    hold ``x`` (B, 1, frames, mels), and ``labels`` (B, L) of 0 and 1 beside ``label`` where a clip may have
    several. Training takes a random window of longer clips, evaluation the middle.

    Args:
        front_end: From waveforms to spectrograms.
        seconds: Length of the window.
        gain: Largest random change of the level in training, in decibels; A-JEPA uses 6.
        roll: Whether training shifts each clip around in a circle, as A-JEPA does.
        batch_size: Clips per batch and process.
        num_workers: Worker processes per loader.
        eval_batch_size: Clips per batch in evaluation; ``batch_size`` if not given.
        seed: Seed of order, windows and augmentation; the run's seed if not given.
        max_corrupt: Unreadable clips that may be skipped, per worker process.

    Attributes:
        label_names: Names of the columns of ``labels``; None if there are none.

    Raises:
        ValueError: If an argument is out of its range.
    """

    label_names: tuple[str, ...] | None = None

    def __init__(
        self,
        front_end: FrontEnd,
        seconds: float,
        *,
        gain: float = 0.0,
        roll: bool = False,
        batch_size: int = 64,
        num_workers: int = 0,
        eval_batch_size: int | None = None,
        seed: int | None = None,
        max_corrupt: int = 100,
    ) -> None:
        super().__init__(
            batch_size, num_workers, eval_batch_size=eval_batch_size, seed=seed, max_corrupt=max_corrupt
        )
        self.front_end = front_end
        self.spectrogram = front_end.build()
        self.window = round(seconds * front_end.rate)
        self.least = self.spectrogram.log_mel.width
        if self.window < self.least:
            raise ValueError(
                f"seconds must give at least one frame of {self.least} samples at {front_end.rate} Hz, not "
                f"{seconds}."
            )
        if gain < 0:
            raise ValueError(f"gain is a change of at least 0 decibels, not {gain}.")
        self.gain = gain
        self.roll = roll
        self.train_transform: nn.Module = RandomWindow(self.window)
        self.eval_transform: nn.Module = CenterWindow(self.window)

    def batch_transform(self, batch: dict[str, Any], train: bool) -> dict[str, Any]:
        """Waveforms (B, T) to spectrograms (B, 1, frames, mels), in training after the augmentation."""
        waves, lengths = batch["x"], batch["length"]
        if train and (self.roll or self.gain):
            draws = (batch["epoch"].cpu() << 32) + batch["index"].cpu()
            keys = random.fold(random.key(self.seed, "sound"), draws)
            waves = roll_and_gain(waves, lengths, keys, roll=self.roll, gain=self.gain)
        return batch | {"x": self.spectrogram.to(waves.device)(waves, lengths)}

    def raw_features(self, batch: dict[str, Any]) -> Tensor:
        """The usual statistics of a spectrogram: mean and deviation over time of each band, (B, 2 mels)."""
        logs = batch["x"].flatten(0, 1)
        return torch.cat((logs.mean(dim=1), logs.std(dim=1)), dim=1)

    def draw(self, sample: Mapping[str, Any], masks: Masks | None, grid: tuple[int, ...]) -> list["Panel"]:
        """For the report: the spectrogram, what of it is heard, and the blocks to predict."""
        from conjoin.core.report.gallery import Panel

        x = sample["x"][0].detach().float().cpu().numpy()
        panels = [Panel("spectrogram", "time to the right, low bands at the bottom", colours(x))]
        if masks is not None:
            context, targets = (part[0].cpu().numpy() for part in masks.as_grid(grid))
            share = 100 * context.mean()
            heard = f"the {share:.0f} % of the patches that the context encoder hears"
            panels.append(Panel("context", heard, colours(x, context)))
            blocks = f"the {len(targets)} blocks to predict, outlined"
            panels.append(Panel("targets", blocks, outlined(colours(x), targets)))
        return panels

    @staticmethod
    def draw_grid(cells: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A map over patches (time, band, 3) as it lies on the spectrogram: (bands from the top, time, 3)."""
        return cells.transpose(1, 0, 2)[::-1]
