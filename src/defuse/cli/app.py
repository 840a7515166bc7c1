"""The commands. Each parses, calls the library once, and prints."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from defuse.cli import InterruptedByUserError

if TYPE_CHECKING:
    from defuse.config import Config
    from defuse.pipeline import Run
    from defuse.records import CaseResult


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise InterruptedByUserError from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Find, group, label and repair errors of image classifiers that no test set contains.",
    epilog="Start with [bold]defuse demo[/], then [bold]defuse init my.yaml[/] and [bold]defuse run my.yaml[/].",
)
label_app = typer.Typer(no_args_is_help=True, help="Label regions: by judges, or by people through a CSV file.")
app.add_typer(label_app, name="label")

ConfigFile = Annotated[
    Path | None, typer.Argument(help="YAML configuration. May be left out where --out names a run to go on with.")
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the run [default: runs/NAME-PRESET]")]
Preset = Annotated[str | None, typer.Option(help="default, or paper (the published method)")]
Seed = Annotated[int | None, typer.Option(help="Seed of every random step.")]
Focus = Annotated[
    str | None,
    typer.Option(metavar="LABEL:ANSWER", help="Search one confusion alone: images of class LABEL, read as ANSWER."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a dotted key, such as identify.budget=50000. Repeatable."),
]
Redo = Annotated[
    bool,
    typer.Option("--redo", help="Settings have changed since: keep what does not rest on them, make the rest anew."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no closing words.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]


def _print_version(asked: bool) -> None:  # noqa: FBT001 -- typer calls it so
    if asked:
        from importlib.metadata import version as installed

        typer.echo(installed("defuse"))
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version


def _settle(
    config: Path | None,
    out: Path | None,
    preset: str | None,
    seed: int | None,
    changes: list[str] | None,
    focus: str | None = None,
) -> tuple["Config", Path]:
    """Return the configuration and the folder that a command's arguments mean."""
    from defuse.config import build_config, read_config
    from defuse.errors import ConfigError
    from defuse.rundir import RunDir
    from defuse.workspace import stored_config

    extra = [*(changes or [])]
    if preset is not None:
        extra.insert(0, f"preset={preset}")
    if seed is not None:
        extra.append(f"seed={seed}")
    if focus is not None:
        extra.append(f"identify.focus={json.dumps(focus, ensure_ascii=False)}")  # in quotes: YAML takes 2:5 for 125
    if config is not None:
        built = build_config(read_config(config), extra, where=str(config))
        return built, out or Path("runs") / f"{config.stem}-{built.preset}"
    if out is None:
        raise ConfigError("expected a configuration file, or --out with the folder of a run to go on with")
    stored = stored_config(RunDir(out))
    return build_config(stored.plain(), extra, where=str(out)), out


@contextmanager
def _run(config: "Config", out: Path, *, quiet: bool, redo: bool = False) -> Iterator["Run"]:
    from defuse.cli.bars import Bars
    from defuse.pipeline import Run

    with Bars(quiet=quiet) as bars, Run(config, out, progress=bars, redo=redo) as run:
        yield run


def _tell(value: Any, lines: list[str], *, as_json: bool, quiet: bool) -> None:
    if as_json:
        typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
    elif not quiet:
        for line in lines:
            typer.echo(line)


@app.command(epilog="Example: defuse run examples/mnist.yaml --set data.source=mnist.npz --out runs/mnist")
def run(
    config: ConfigFile = None,
    out: Out = None,
    preset: Preset = None,
    seed: Seed = None,
    changes: Settings = None,
    focus: Focus = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show plan, time and disk, from a short probe.")] = False,
    redo: Redo = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run every stage: from a classifier and labelled images to regions, a repair, a suite and a report.

    Run the same command again after an interruption: finished work is kept.
    """
    from defuse.cli.show import closing_lines, plan_lines

    settled, folder = _settle(config, out, preset, seed, changes, focus)
    if dry_run:
        from defuse.cli.bars import Bars
        from defuse.plan import plan

        with Bars(quiet=quiet) as bars:
            planned = plan(settled, folder, progress=bars)
        _tell(planned.model_dump(mode="json"), plan_lines(planned, folder), as_json=as_json, quiet=quiet)
        return
    from defuse.results import write_results

    with _run(settled, folder, quiet=quiet, redo=redo) as opened:
        results = write_results(opened)
    _tell(results.summary.model_dump(mode="json"), closing_lines(results), as_json=as_json, quiet=quiet)


def _stage(name: str, purpose: str, example: str, attribute: str) -> None:
    """Add the command of one stage; stages before it run first where they are not done."""

    def command(
        config: ConfigFile = None,
        out: Out = None,
        preset: Preset = None,
        seed: Seed = None,
        changes: Settings = None,
        focus: Focus = None,
        *,
        redo: Redo = False,
        quiet: Quiet = False,
        as_json: AsJson = False,
    ) -> None:
        from defuse.cli.show import stage_lines, stage_values

        settled, folder = _settle(config, out, preset, seed, changes, focus)
        with _run(settled, folder, quiet=quiet, redo=redo) as opened:
            getattr(opened, attribute)
            values = stage_values(name, opened)
        _tell(values, stage_lines(values), as_json=as_json, quiet=quiet)

    command.__doc__ = purpose
    app.command(name, epilog=f"Example: {example}")(command)


_stage("fit", "Train the generator and the judges (and the built-in classifier).", "defuse fit my.yaml", "panel")
_stage(
    "identify", "Search for failures; goes on after the last finished shard.", "defuse identify --out RUN", "identified"
)
_stage("distill", "Group failures into regions and test each on fresh samples.", "defuse distill --out RUN", "regions")
_stage(
    "correct", "Repair the classifier on the labelled regions; write the suite.", "defuse correct --out RUN", "suite"
)


@app.command(epilog="Example: defuse report --out runs/mnist")
def report(
    config: ConfigFile = None,
    out: Out = None,
    preset: Preset = None,
    seed: Seed = None,
    changes: Settings = None,
    focus: Focus = None,
    *,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write report.html and summary.json anew (what is not done yet is done first)."""
    run(config, out, preset, seed, changes, focus, dry_run=False, quiet=quiet, as_json=as_json)


@app.command(epilog="Example: defuse train my.yaml --to weights.safetensors")
def train(
    config: Annotated[Path, typer.Argument(help="YAML configuration; its data and classifier sections are used.")],
    to: Annotated[Path, typer.Option("--to", help="Where the weights go.")] = Path("classifier.safetensors"),
    seed: Seed = None,
    changes: Settings = None,
    *,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train the configured classifier, so that there is something to debug."""
    from defuse.cli.bars import Bars
    from defuse.pipeline import read_splits, train_classifier

    settled, _ = _settle(config, Path(), None, seed, changes)
    splits = read_splits(settled)
    with Bars(quiet=quiet) as bars:
        classifier = train_classifier(settled, splits, to, progress=bars)
    share = {
        name: float((classifier.predict(part.images) == part.labels).mean())
        for name, part in (("validation", splits.validation), ("test", splits.test))
    }
    lines = [*(f"{name} accuracy {100 * value:.2f} %" for name, value in share.items()), f"weights: {to}"]
    _tell({"weights": str(to), "accuracy": share}, lines, as_json=as_json, quiet=quiet)


@app.command(epilog="Example: defuse init my.yaml --source mnist.npz")
def init(
    path: Annotated[Path, typer.Argument(help="Where the configuration goes.")] = Path("defuse.yaml"),
    source: Annotated[str, typer.Option(help="The data set: a file, a folder, or signs for rendered signs.")] = "signs",
) -> None:
    """Write a short configuration to start from. An existing file is left alone."""
    from defuse.config import starter
    from defuse.errors import ConfigError
    from defuse.rundir import write_text

    if path.exists():
        raise ConfigError(f"{path}: exists already; name another file")
    write_text(path, starter(source))
    typer.echo(f"wrote {path}; next: defuse run {path} --dry-run")


@app.command(epilog="Example: defuse check runs/mnist/suite --classifier mypackage.models:build --weights new.pt")
def check(
    suite: Annotated[Path, typer.Argument(help="Folder of a suite.")],
    classifier: Annotated[str | None, typer.Option(help="module:function that returns the model.")] = None,
    builtin: Annotated[str, typer.Option(help="A built-in network, where no --classifier is given.")] = "cnn",
    weights: Annotated[Path | None, typer.Option(help="Weights to load into it.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Preprocessing, such as mean=[0.5]. Repeatable."),
    ] = None,
    *,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Hold a classifier against a regression suite: exit code 0 when it passes, 1 when it does not."""
    from defuse.classifiers import load_classifier
    from defuse.cli.show import check_lines
    from defuse.config import build_classifier_settings
    from defuse.correct import check as check_suite
    from defuse.correct import load_suite

    loaded = load_suite(suite)
    settings = build_classifier_settings(
        {"factory": classifier, "builtin": builtin, "weights": weights}, changes or [], where="check"
    )
    results: tuple[CaseResult, ...] = ()
    if loaded.cases:
        shape = loaded.cases[0].images.shape[1:]
        results = check_suite(loaded, load_classifier(settings, loaded.class_names, shape))
    passed = all(result.passed for result in results)
    values = {
        "passed": passed,
        "cases": [
            {
                "region": result.region,
                "failures": result.failure.successes,
                "images": result.failure.trials,
                "max_failure_rate": result.max_failure_rate,
                "passed": result.passed,
            }
            for result in results
        ],
    }
    _tell(values, check_lines(loaded, results), as_json=as_json, quiet=quiet)
    raise typer.Exit(0 if passed else 1)


@app.command(epilog="Example: defuse demo --out defuse-demo")
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")] = Path("defuse-demo"),
    seed: Annotated[int, typer.Option(help="Seed of every random step.")] = 0,
    *,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Show the whole chain in about three minutes: rendered signs, a planted bug, the repair."""
    from defuse.cli.bars import Bars
    from defuse.demo import demonstrate

    with Bars(quiet=quiet) as bars:
        shown = demonstrate(out, seed=seed, progress=bars)
    _tell(shown.values(), shown.lines(), as_json=as_json, quiet=quiet)


LabelRun = Annotated[Path, typer.Argument(help="Folder of a run.")]


@label_app.command("auto", epilog="Example: defuse label auto runs/mnist-default")
def label_auto(folder: LabelRun, *, quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Let the judges label, unless people have; shows every region's decision."""
    _show_labels(folder, quiet=quiet, as_json=as_json)


@label_app.command("export", epilog="Example: defuse label export runs/mnist-default regions.csv")
def label_export(
    folder: LabelRun,
    to: Annotated[Path, typer.Argument(help="CSV file to write; contact sheets go beside it.")],
    *,
    quiet: Quiet = False,
) -> None:
    """Write a table for people to fill in, with one contact sheet per region."""
    from defuse.label import export_csv

    settled, folder = _settle(None, folder, None, None, None)
    with _run(settled, folder, quiet=quiet) as opened, opened.verdicts() as store:
        export_csv(to, opened.regions, opened.splits.class_names, store.current())
        count = len(opened.regions.reported)
    _tell(None, [f"wrote {to} with {count} regions; fill in annotator, answer, label"], as_json=False, quiet=quiet)


@label_app.command("import", epilog="Example: defuse label import runs/mnist-default regions.csv")
def label_import(
    folder: LabelRun,
    table: Annotated[Path, typer.Argument(help="The filled CSV file.")],
    *,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Take in what people said; their verdicts outrank the judges'. Run `defuse correct` afterwards."""
    from datetime import UTC, datetime

    from defuse.label import import_csv

    settled, folder = _settle(None, folder, None, None, None)
    with _run(settled, folder, quiet=quiet) as opened, opened.verdicts() as store:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        verdicts = import_csv(table, opened.regions, opened.splits.class_names, time=now)
        store.append(verdicts)
    _show_labels(folder, quiet=quiet, as_json=as_json)


def _show_labels(folder: Path, *, quiet: bool, as_json: bool) -> None:
    from defuse.cli.show import label_lines, label_values

    settled, folder = _settle(None, folder, None, None, None)
    with _run(settled, folder, quiet=quiet) as opened:
        values = label_values(opened)
    _tell(values, label_lines(values), as_json=as_json, quiet=quiet)
