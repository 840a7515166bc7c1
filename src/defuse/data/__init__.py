"""Reading labelled images, splitting them, and rendering synthetic ones."""

from defuse.data.npz import NpzReader
from defuse.data.reader import Reader, Source
from defuse.data.signs import FACTORS, SIGN_NAMES, RenderedSigns, SignSettings, SignsReader, render
from defuse.data.sources import open_source
from defuse.data.splits import SplitSettings, split

__all__ = [
    "FACTORS",
    "SIGN_NAMES",
    "NpzReader",
    "Reader",
    "RenderedSigns",
    "SignSettings",
    "SignsReader",
    "Source",
    "SplitSettings",
    "open_source",
    "render",
    "split",
]
