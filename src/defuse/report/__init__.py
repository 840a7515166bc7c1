"""Report: one self-contained HTML file that shows a whole run."""

from defuse.report.context import ReportContext
from defuse.report.page import render, write_report

__all__ = ["ReportContext", "render", "write_report"]
