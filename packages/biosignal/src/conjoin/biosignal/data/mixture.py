# SPDX-License-Identifier: Apache-2.0
"""Ten sources mixed by fixed shares, the pre-training set of ECG-JEPA (arXiv 2410.13867).

The release draws the source of every sample at random. Here an epoch holds each source exactly in its share:
it is as long as it takes to show every recording at least once, and recordings of small sources come several
times, each time with a crop of its own. So samples stay functions of (seed, epoch, index), whatever the
workers and ranks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from torch.utils.data import Dataset

from conjoin.biosignal.data.code15 import CODE15
from conjoin.biosignal.data.leads import LEADS, STATISTICS
from conjoin.biosignal.data.module import SignalModule, SignalOptions
from conjoin.biosignal.data.physionet import ChallengeECG, MimicECG
from conjoin.biosignal.data.ptbxl import PTBXL
from conjoin.core.data import Split

__all__ = ("ECGMixture", "ECGSource", "MixedDataset")


@dataclass(frozen=True)
class ECGSource:
    """One source of a mixture.

    Args:
        name: ``"mimic-iv-ecg"``, ``"code-15"``, ``"ptb-xl"``, or any other name for a set in the layout of
            the Challenge.
        root: Its folder.
        weight: Its share of the samples.
        highpass: Cut-off of the zero-phase high-pass filter in hertz; None for none.

    Raises:
        ValueError: If the weight is not positive.
    """

    name: str
    root: str
    weight: float
    highpass: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.weight <= 1:
            raise ValueError(f"The weight of {self.name} must lie in (0, 1], not {self.weight}.")


class MixedDataset(Dataset[dict[str, Any]]):
    """Several data sets as one, each with its share of the positions.

    Args:
        datasets: What is mixed.
        weights: Share of each; they sum up to 1.

    Raises:
        ValueError: If they do not.
    """

    def __init__(self, datasets: Sequence[Dataset[Any]], weights: Sequence[float]) -> None:
        if len(datasets) != len(weights) or not math.isclose(math.fsum(weights), 1.0, abs_tol=1e-9):
            raise ValueError(
                f"The weights of {len(datasets)} sources must sum up to 1, not {math.fsum(weights):g}."
            )
        self.datasets = list(datasets)
        sizes = np.array([len(dataset) for dataset in datasets])  # type: ignore[arg-type]
        if not sizes.all():
            raise ValueError(f"Source {int(np.argmin(sizes))} of the mixture is empty.")
        length = float((sizes / np.array(weights)).max())
        self.slots = np.maximum(sizes, np.round(length * np.array(weights)).astype(np.int64))
        self._ends = np.cumsum(self.slots)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> dict[str, Any]:
        source = int(np.searchsorted(self._ends, index, side="right"))
        dataset: Any = self.datasets[source]
        position = (index - int(self._ends[source] - self.slots[source])) % len(dataset)
        return {"x": dataset[position]["x"], "source": source}


class ECGMixture(SignalModule):
    """Sources of 12-lead ECGs in fixed shares, without labels.

    Args:
        sources: What is mixed; the weights sum up to 1.
        window: Samples that the encoder sees.
        rate: Samples per second to which recordings are brought.
        val_fraction: Share held out for validation from each source that has no folds of its own.
        cpsc_extra_as_cpsc: Standardise the source ``cpsc-extra`` by the statistics of ``cpsc``, to which the
            release assigns it by mistake.
        cache: Folder for prepared recordings; strongly advised, since filters and resampling run once then.
        **options: See :class:`~conjoin.biosignal.data.module.SignalOptions`; here evaluation sees the middle
            of a recording if it is not told otherwise.

    Raises:
        ValueError: If the weights do not sum up to 1.
    """

    def __init__(
        self,
        sources: list[ECGSource],
        window: int = 5000,
        rate: float = 500.0,
        *,
        val_fraction: float = 0.01,
        cpsc_extra_as_cpsc: bool = False,
        cache: str | Path | None = None,
        **options: Unpack[SignalOptions],
    ) -> None:
        # Nothing is asked of these recordings, half an hour long among them, but the loss of pre-training.
        options.setdefault("eval_windows", "middle")
        super().__init__(window, **options)
        self.lead_names = LEADS
        total = math.fsum(source.weight for source in sources)
        if not math.isclose(total, 1.0, abs_tol=1e-9):
            raise ValueError(f"The weights of the sources sum up to {total:g}, not 1.")
        self.sources = tuple(sources)
        self.rate = rate
        self.val_fraction = val_fraction
        self.cpsc_extra_as_cpsc = cpsc_extra_as_cpsc
        self.cache = cache
        self._modules: dict[str, SignalModule] = {}

    def module(self, source: ECGSource) -> SignalModule:
        """The data module of one source, made at first use."""
        if source.name not in self._modules:
            self._modules[source.name] = self._make(source)
        return self._modules[source.name]

    def _make(self, source: ECGSource) -> SignalModule:
        options: dict[str, Any] = {"window": self.window, "highpass": source.highpass, "cache": self.cache}
        shares: dict[str, Any] = {"val_fraction": self.val_fraction, "test_fraction": 0.0}
        match source.name:
            case "ptb-xl":
                if self.rate not in (100, 500):
                    raise ValueError(f"PTB-XL comes at 100 and at 500 Hz, not at {self.rate:g}.")
                return PTBXL(source.root, None, 500 if self.rate == 500 else 100, **options)
            case "mimic-iv-ecg":
                return MimicECG(source.root, rate=self.rate, **shares, **options)
            case "code-15":
                return CODE15(source.root, rate=self.rate, **shares, **options)
        statistics = STATISTICS.get(source.name)
        if source.name == "cpsc-extra" and self.cpsc_extra_as_cpsc:
            twin = next((other for other in self.sources if other.name == "cpsc"), None)
            if twin is None:
                raise ValueError("cpsc_extra_as_cpsc needs a source named cpsc.")
            statistics = getattr(self.module(twin), "statistics")  # noqa: B009  # a Challenge set has them
        return ChallengeECG(source.root, rate=self.rate, statistics=statistics, **shares, **options)

    def build(self, split: Split) -> MixedDataset:
        """All sources in their shares; of PTB-XL only folds 1 to 8 are trained on.

        Validation and test pass over sources too small to hold anything out.

        Raises:
            ValueError: If a source has nothing to train on, or none has anything held out.
        """
        found: list[tuple[Dataset[Any], float]] = []
        for source in self.sources:
            try:
                found.append((self.module(source).dataset(split), source.weight))
            except ValueError:
                if split == "train":
                    raise
        if not found:
            raise ValueError(f"No source of the mixture has {split} recordings: raise val_fraction.")
        total = math.fsum(weight for _, weight in found)
        return MixedDataset([dataset for dataset, _ in found], [weight / total for _, weight in found])
