"""What a run leaves for people and programs: ``report.html`` and ``summary.json``."""

import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path

from defuse.label import withhold_names
from defuse.pipeline import Run
from defuse.report import ReportContext, write_report
from defuse.rundir import write_json
from defuse.summary import Summary, summarise
from defuse.versions import versions


@dataclass(frozen=True)
class Results:
    """Where a run's results lie, and their summary. In a notebook it shows itself as a table."""

    out: Path
    report: Path
    summary: Summary

    @property
    def headline(self) -> str:
        """What was found, in one sentence."""
        found, search = len(self.summary.regions), self.summary.search
        if not found:
            return (
                f"No bug found at this budget: {search.candidates} candidates, {search.flips} flips, "
                f"{search.kept} kept."
            )
        return (
            f"{found} misclassification region{'s' if found > 1 else ''} from {search.candidates} candidates "
            f"({search.kept} failures kept)."
        )

    @property
    def unrepaired(self) -> bool:
        """Whether there was something to repair and no model met the caps."""
        return self.summary.repair is not None and self.summary.repair.chosen is None

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{region.name}</td><td>{escape(region.label)} read as {escape(region.predicted)}</td>"
            f"<td>{region.support}</td><td>{100 * (region.failure_rate.value or 0):.1f} %</td></tr>"
            for region in self.summary.regions
        )
        return (
            f"<p><b>{self.headline}</b> Report: <code>{escape(str(self.report))}</code></p>"
            "<table><thead><tr><th>region</th><th>bug</th><th>support</th><th>failure rate</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )


def write_results(run: Run, *, names: bool = True) -> Results:
    """Write the suite, the report and the summary of a run; what is not done yet is done first.

    Args:
        run: the opened run.
        names: whether the report names the people who labelled.
    """
    summary = summarise(run)
    write_report(run.folder.report, report_context(run, names=names))
    write_json(run.folder.summary, summary.model_dump(mode="json"))
    return Results(run.folder.root, run.folder.report, summary)


def report_context(run: Run, *, names: bool = True) -> ReportContext:
    """Gather what the report shows; without ``names`` people are numbered."""
    with run.verdicts() as store:
        verdicts = store.current() if names else withhold_names(store.current())
    suite = run.suite
    return ReportContext(
        title=run.title,
        preset=run.config.preset,
        seed=run.config.seed,
        command=" ".join(["defuse", *sys.argv[1:]]) if Path(sys.argv[0]).name == "defuse" else "",
        splits=run.splits,
        test_accuracy=run.test_accuracy,
        search=run.identified.search,
        bound=run.bound,
        reconstruction=run.quality,
        regions=run.regions,
        labels=run.labels,
        verdicts=verdicts,
        nearest=run.nearest,
        natural=run.natural,
        traits=run.traits,
        repair=run.corrected.repair if run.corrected else None,
        outcome=run.outcome,
        verified=run.verified_so_far,
        suite=run.folder.suite if suite.cases else None,
        costs=run.costs if run.config.cost.given else None,
        seconds=run.seconds,
        versions=versions(),
        settings=run.config.plain(),
    )
