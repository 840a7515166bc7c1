"""Label: what annotators say of regions, where it is kept, and how the majority decides. No web code."""

from defuse.label.aggregate import MAJORITY, Majority
from defuse.label.exchange import contact_sheet, export_csv, import_csv
from defuse.label.machine import ANNOTATOR, MachineAnnotator
from defuse.label.store import VerdictStore, regions_fingerprint

__all__ = [
    "ANNOTATOR",
    "MAJORITY",
    "MachineAnnotator",
    "Majority",
    "VerdictStore",
    "contact_sheet",
    "export_csv",
    "import_csv",
    "regions_fingerprint",
]
