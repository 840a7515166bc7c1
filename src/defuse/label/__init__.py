"""Label: what annotators say of regions, where it is kept, and how the majority decides. No web code."""

from defuse.label.aggregate import ADJUDICATED, MAJORITY, Majority, name_of, withhold_names
from defuse.label.agreement import Agreement, measure_agreement
from defuse.label.crossed import crossed_out, strike
from defuse.label.exchange import contact_sheet, export_csv, import_csv, unheard
from defuse.label.json_exchange import export_json, import_json, import_key
from defuse.label.label_studio import export_label_studio, import_label_studio
from defuse.label.machine import ANNOTATOR, MachineAnnotator
from defuse.label.order import Ledger, StopRule
from defuse.label.store import VerdictStore, people_in, regions_fingerprint

__all__ = [
    "ADJUDICATED",
    "ANNOTATOR",
    "MAJORITY",
    "Agreement",
    "Ledger",
    "MachineAnnotator",
    "Majority",
    "StopRule",
    "VerdictStore",
    "contact_sheet",
    "crossed_out",
    "export_csv",
    "export_json",
    "export_label_studio",
    "import_csv",
    "import_json",
    "import_key",
    "import_label_studio",
    "measure_agreement",
    "name_of",
    "people_in",
    "regions_fingerprint",
    "strike",
    "unheard",
    "withhold_names",
]
