# SPDX-License-Identifier: Apache-2.0
"""The report of a run: one self-contained HTML file to read, print and send to a colleague."""

from conjoin.core.report.arrays import ArrayArtist
from conjoin.core.report.gallery import ImageArtist, Panel, SampleArtist
from conjoin.core.report.write import write_report

__all__ = ("ArrayArtist", "ImageArtist", "Panel", "SampleArtist", "write_report")
