"""What a run leaves for people and programs: ``report.html`` and ``summary.json``."""

from dataclasses import dataclass
from pathlib import Path

from defuse.pipeline import Run
from defuse.rundir import write_json
from defuse.summary import Summary, summarise


@dataclass(frozen=True)
class Results:
    """Where a run's results lie, and their summary."""

    out: Path
    report: Path
    summary: Summary
