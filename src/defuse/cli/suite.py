"""The commands on regression suites: ``defuse check`` and ``defuse compare``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from defuse.cli.common import AsJson, Quiet, tell

if TYPE_CHECKING:
    from defuse.correct import CaseComparison
    from defuse.outcomes import CaseResult, Suite

SuiteFolder = Annotated[Path, typer.Argument(help="Folder of a suite.")]
Factory = Annotated[str | None, typer.Option("--classifier", help="module:function that returns the model.")]
Builtin = Annotated[str, typer.Option(help="A built-in network, where no --classifier is given.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Preprocessing, such as mean=[0.5]. Repeatable."),
]


def check(
    suite: SuiteFolder,
    classifier: Factory = None,
    builtin: Builtin = "cnn",
    weights: Annotated[Path | None, typer.Option(help="Weights to load into it.")] = None,
    changes: Changes = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the results as JUnit XML too.")] = None,
    *,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Hold a classifier against a regression suite: exit code 0 when it passes, 1 when it does not."""
    from defuse.checking import suite_classifier
    from defuse.correct import check as check_suite
    from defuse.correct import junit_xml, load_suite
    from defuse.rundir import write_text

    loaded = load_suite(suite)
    model = suite_classifier(loaded, factory=classifier, weights=weights, builtin=builtin, changes=changes or [])
    results = check_suite(loaded, model)
    if junit is not None:
        write_text(junit, junit_xml(loaded, results, str(suite)))
    passed = not any(result.blocks for result in results)
    values = {"passed": passed, "cases": [_result(result) for result in results]}
    tell(values, check_lines(loaded, results), as_json=as_json, quiet=quiet)
    raise typer.Exit(0 if passed else 1)


def compare(
    old: Annotated[str, typer.Argument(help="The first model: its weights, or module:function that returns it.")],
    new: Annotated[str, typer.Argument(help="The second model, named likewise.")],
    suite: Annotated[Path, typer.Option(help="Folder of a suite.")],
    classifier: Annotated[
        str | None, typer.Option(help="module:function that returns the model, where weights are given.")
    ] = None,
    builtin: Builtin = "cnn",
    changes: Changes = None,
    *,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Compare two models on one suite: exit code 1 when the second fails a case that the first passes."""
    from defuse.checking import suite_classifier
    from defuse.correct import Fate, load_suite
    from defuse.correct import compare as compare_models
    from defuse.errors import ConfigError

    loaded = load_suite(suite)
    models = [
        suite_classifier(
            loaded, factory=factory, weights=weights, builtin=builtin, changes=changes or [], where="compare"
        )
        for factory, weights in (_factory_and_weights(text, classifier) for text in (old, new))
    ]
    first, second = (getattr(model, "module", model) for model in models)
    if first is second and old != new:
        raise ConfigError(
            f"compare: {old} and {new} are one network in memory, so the second's weights are in both; let the factory "
            "return a new network at each call"
        )
    compared = compare_models(loaded, *models)
    counts = {fate.value: sum(each.fate is fate for each in compared) for fate in Fate}
    values = {"counts": counts, "cases": [_comparison(each) for each in compared]}
    tell(values, compare_lines(loaded, compared), as_json=as_json, quiet=quiet)
    raise typer.Exit(1 if counts[Fate.NEW] else 0)


def _factory_and_weights(text: str, classifier: str | None) -> tuple[str | None, Path | None]:
    if ":" in text and not Path(text).exists():
        return text, None
    return classifier, Path(text)


def _result(result: "CaseResult") -> dict[str, Any]:
    return {
        "region": result.region,
        "failures": result.failure.successes,
        "images": result.failure.trials,
        "max_failure_rate": result.max_failure_rate,
        "triage": result.triage.value,
        "passed": result.passed,
    }


def _comparison(each: "CaseComparison") -> dict[str, Any]:
    return {
        "region": each.old.region,
        "fate": each.fate.value,
        "images": each.old.failure.trials,
        "old_failures": each.old.failure.successes,
        "new_failures": each.new.failure.successes,
        "fixed_images": each.flips.fixed,
        "broken_images": each.flips.broken,
        "p_value": each.flips.p_value,
    }


def check_lines(suite: "Suite", results: Sequence["CaseResult"]) -> list[str]:
    """Show each case's failure rate beside its threshold."""
    from defuse.correct import case_title

    lines = []
    for case, result in zip(suite.cases, results, strict=True):
        most = f"at most {100 * result.max_failure_rate:.1f} %"
        rates = f"{100 * result.failure.value:5.1f} % of {result.failure.trials}, {most}"
        word = "FAIL" if result.blocks else "ok  " if result.passed else "acc."
        lines.append(f"{word}  {result.region}  {rates}  {case_title(case, suite.class_names)}")
    failed = sum(result.blocks for result in results)
    accepted = sum(not result.passed and not result.blocks for result in results)
    if failed or accepted:
        more = f", {accepted} accepted" if accepted else ""
        return [*lines, f"{failed} of {len(results)} cases failed{more}."]
    return [*lines, f"All {len(results)} cases passed."]


def compare_lines(suite: "Suite", compared: Sequence["CaseComparison"]) -> list[str]:
    """Show what became of each case, with both models' failure rates and McNemar's exact p."""
    from defuse.correct import Fate, case_title

    lines = []
    for case, each in zip(suite.cases, compared, strict=True):
        rates = f"{100 * each.old.failure.value:5.1f} % to {100 * each.new.failure.value:5.1f} %"
        title = case_title(case, suite.class_names)
        lines.append(f"{each.fate:<7}  {each.old.region}  {rates} (p {each.flips.p_value:.2g})  {title}")
    counts = ", ".join(f"{sum(each.fate is fate for each in compared)} {fate}" for fate in Fate)
    return [*lines, f"{len(compared)} cases: {counts}."]
