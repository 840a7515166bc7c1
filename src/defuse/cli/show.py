"""What commands print: plain lines that fit 80 columns."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from defuse.pipeline import Run
from defuse.plan import Plan
from defuse.results import Results
from defuse.rounds import RoundSummary
from defuse.rundir import RunDir
from defuse.summary import FlipsSummary, RegionSummary, ScoresSummary, Share, Summary

SHOWN_BACK = 3
"""How many old bugs a round's line names."""

SHOWN_REGIONS = 10
"""How many regions the closing words name."""


def percent(share: Share) -> str:
    """Return a share as text."""
    return "-" if share.value is None else f"{100 * share.value:.1f} %"


def plan_lines(planned: Plan, folder: Path) -> list[str]:
    """Say what a run would do."""
    stages = [f"  {stage.stage:<11}{_duration(stage.seconds):>9}  {stage.work}" for stage in planned.stages]
    return [
        f"Plan for {folder} (nothing was written there):",
        *stages,
        f"  {'all':<11}{_duration(planned.seconds):>9}",
        f"Disk: about {planned.disk_bytes / 1e6:.0f} MB of {planned.free_bytes / 1e9:.1f} GB free.",
    ]


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"  # noqa: PLR2004 -- two minutes


def closing_lines(results: Results) -> list[str]:
    """Say what a run found and did, and where to look."""
    summary = results.summary
    lines = [results.headline, *(_region_line(region) for region in summary.regions[:SHOWN_REGIONS])]
    if len(summary.regions) > SHOWN_REGIONS:
        lines.append(f"  ... and {len(summary.regions) - SHOWN_REGIONS} more, in the report")
    lines += _repair_lines(summary)
    return [*lines, f"Report: {results.report}"]


def round_lines(rounds: Sequence[RoundSummary]) -> list[str]:
    """Say what each round found, and which model the last repair left."""
    lines = ["round  kept per 100,000  regions  test accuracy  turned wrong  bugs back  folder"]
    for each in rounds:
        kept = 100_000 * (each.kept_rate.value or 0.0)
        back = ", ".join(each.back[:SHOWN_BACK]) + (" ..." if len(each.back) > SHOWN_BACK else "") or "none"
        accuracy = f"{100 * (each.test_accuracy.value or 0.0):.2f} %"
        wrong = f"{100 * (each.negative_flips.value or 0.0):.2f} %"
        lines.append(f"{each.round:>5}{kept:>18.1f}{each.regions:>9}{accuracy:>15}{wrong:>14}{back:>11}  {each.folder}")
    repaired = [each for each in rounds if each.repaired]
    left = f"{RunDir(Path(repaired[-1].folder)).repaired}" if repaired else "none; the given model was kept"
    return [*lines, f"Repaired model: {left}", f"Report: {RunDir(Path(rounds[-1].folder)).report}"]


def _region_line(region: RegionSummary) -> str:
    fails = f"fails on {percent(region.failure_rate)}"
    return f"  {region.name}  {region.label} read as {region.predicted}: {fails}, support {region.support}"


def _repair_lines(summary: Summary) -> list[str]:
    repair = summary.repair
    if repair is None:
        return [f"Repair: {summary.repair_outcome}."]
    rows = [
        ("before", repair.before, None),
        ("control", repair.control, repair.control_flips),
        ("after", repair.after, repair.flips),
    ]
    return [
        f"Repair: {summary.repair_outcome}.",
        "            region failures  test accuracy  (mended, broken)  calibration error",
        *(f"  {name:<10}{_scores(scores, flips)}" for name, scores, flips in rows),
    ]


def _scores(scores: ScoresSummary, flips: FlipsSummary | None) -> str:
    error = scores.calibration_error
    accuracy = 100 * (scores.test_accuracy.value or 0.0)
    calibration = "-" if error is None else f"{100 * error:.2f} %"
    changed = "" if flips is None else f"({flips.fixed}, {flips.broken})"
    return f"{percent(scores.region_failure_rate):>15}{accuracy:>13.2f} %{changed:>18}{calibration:>19}".rstrip()


def stage_values(stage: str, run: Run) -> dict[str, Any]:
    """Return what one stage did, for print and JSON."""
    values: dict[str, Any] = {"stage": stage, "folder": str(run.folder.root)}
    if stage == "fit":
        values |= {
            "held_out_bound_nats": round(run.bound, 3),
            "reconstructions_kept": run.quality.kept.value,
            "judges": len(run.panel.accuracy),
        }
    elif stage == "identify":
        search = run.identified.search
        values |= {"candidates": search.candidates, "flips": search.flips, "kept": search.kept}
    elif stage == "distill":
        regions = run.regions
        values |= {"fitted": regions.fitted, "reported": len(regions.reported), "dropped": dict(regions.dropped)}
    elif stage == "verify":
        values |= _verified_values(run)
    else:
        values |= {"outcome": run.outcome, "suite_cases": len(run.suite.cases)}
    return values


def _verified_values(run: Run) -> dict[str, Any]:
    verified = run.verified
    if verified is None:
        return {"outcome": run.outcome}
    names = run.splits.class_names
    per = 100_000
    return {
        "given_kept_per_100000": round(per * verified.given.value, 1),
        "repaired_kept_per_100000": round(per * verified.repaired.value, 1),
        **{
            fate.replace(" ", "_"): [each.region for each in verified.regions if each.fate == fate]
            for fate in ("gone", "left", "not found")
        },
        "new": [f"{names[each.label]} read as {names[each.predicted]}" for each in verified.new],
    }


def stage_lines(values: Mapping[str, Any]) -> list[str]:
    """Print a stage's values, one a line."""
    plain = {key: ", ".join(value) or "none" if isinstance(value, list) else value for key, value in values.items()}
    return [f"{key}: {value}" for key, value in plain.items()]


def label_values(run: Run) -> list[dict[str, Any]]:
    """Return every region's decision."""
    names = run.splits.class_names
    return [
        {
            "region": region.name,
            "proposed": names[region.label],
            "predicted": names[region.predicted],
            "decision": None if label.label is None else names[label.label],
            "reason": label.reason,
            "machine": label.machine,
        }
        for region, label in zip(run.regions.reported, run.labels, strict=True)
    ]


def label_lines(values: Sequence[Mapping[str, Any]]) -> list[str]:
    """Show every region's decision and who made it."""
    return [
        f"{value['region']}  model says {value['predicted']}: "
        + (f"shows {value['decision']}" if value["decision"] else f"thrown out ({value['reason']})")
        + (" [machine]" if value["machine"] else "")
        for value in values
    ] or ["No region to label."]
