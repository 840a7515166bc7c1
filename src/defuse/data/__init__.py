"""Reading labelled images, splitting them, and rendering synthetic ones."""

from defuse.data.folder import FolderReader
from defuse.data.groups import GroupedReader, GroupFile
from defuse.data.hf import HuggingFaceReader
from defuse.data.mat import MatReader
from defuse.data.npz import NpzReader
from defuse.data.parquet import ParquetReader
from defuse.data.reader import Reader, Skipped, Source
from defuse.data.settings import ReadSettings
from defuse.data.signs import FACTORS, SIGN_NAMES, RenderedSigns, SignSettings, SignsReader, render
from defuse.data.sources import open_source
from defuse.data.splits import SplitSettings, split
from defuse.data.vision import TorchvisionReader

__all__ = [
    "FACTORS",
    "SIGN_NAMES",
    "FolderReader",
    "GroupFile",
    "GroupedReader",
    "HuggingFaceReader",
    "MatReader",
    "NpzReader",
    "ParquetReader",
    "ReadSettings",
    "Reader",
    "RenderedSigns",
    "SignSettings",
    "SignsReader",
    "Skipped",
    "Source",
    "SplitSettings",
    "TorchvisionReader",
    "open_source",
    "render",
    "split",
]
