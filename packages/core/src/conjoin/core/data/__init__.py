# SPDX-License-Identifier: Apache-2.0
"""Data modules, keyed samples and resumable loaders."""

from conjoin.core.data.datamodule import DataModule, Split
from conjoin.core.data.keyed import CorruptSampleError, KeyedDataset, KeyedSampler, SampleKey
from conjoin.core.data.loader import KeyedLoader
from conjoin.core.data.looks import Looks
from conjoin.core.data.views import MultiView, SampleViews
from conjoin.core.data.voting import Voting

__all__ = (
    "CorruptSampleError",
    "DataModule",
    "KeyedDataset",
    "KeyedLoader",
    "KeyedSampler",
    "Looks",
    "MultiView",
    "SampleKey",
    "SampleViews",
    "Split",
    "Voting",
)
