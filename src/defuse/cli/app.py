"""The commands. Each parses, calls the library once, and prints."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from defuse.cli import InterruptedByUserError
from defuse.cli.bench import bench_app
from defuse.cli.collect import collect
from defuse.cli.common import (
    AsJson,
    ConfigFile,
    Focus,
    Out,
    Preset,
    Quiet,
    Redo,
    Seed,
    Settings,
    open_run,
    settle,
    tell,
)
from defuse.cli.export import export
from defuse.cli.label import label_app
from defuse.cli.suite import check, compare

if TYPE_CHECKING:
    from defuse.config import Config


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise InterruptedByUserError from None


UNREPAIRED = 3
"""Exit code when no repair met the caps, so that the given model was kept."""

app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Find, group, label and repair errors of image classifiers that no test set contains.",
    epilog="Start with [bold]defuse demo[/], then [bold]defuse init my.yaml[/] and [bold]defuse run my.yaml[/].",
)
app.add_typer(label_app, name="label")
app.add_typer(bench_app, name="bench")


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


@app.command(epilog="Example: defuse run examples/mnist.yaml --set data.source=mnist.npz --out runs/mnist")
def run(
    config: ConfigFile = None,
    out: Out = None,
    preset: Preset = None,
    seed: Seed = None,
    changes: Settings = None,
    focus: Focus = None,
    rounds: Annotated[
        int, typer.Option(min=1, help="Debug the repaired model again, so many rounds in all at most.")
    ] = 1,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show plan, time and disk, from a short probe.")] = False,
    redo: Redo = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run every stage: from a classifier and labelled images to regions, a repair, a suite and a report.

    Run the same command again after an interruption: finished work is kept. Exit code 3 says that no repair met the
    caps on what it may cost, so that the given model was kept.
    """
    from defuse.cli.show import plan_lines

    settled, folder = settle(config, out, preset, seed, changes, focus)
    if dry_run:
        from defuse.cli.bars import Bars
        from defuse.plan import plan

        with Bars(quiet=quiet) as bars:
            planned = plan(settled, folder, progress=bars)
        tell(planned.model_dump(mode="json"), plan_lines(planned, folder), as_json=as_json, quiet=quiet)
        return
    if rounds > 1:
        _rounds(settled, folder, rounds, redo=redo, quiet=quiet, as_json=as_json)
    else:
        _finish(settled, folder, redo=redo, quiet=quiet, as_json=as_json)


def _rounds(config: "Config", folder: Path, count: int, *, redo: bool, quiet: bool, as_json: bool) -> None:
    from defuse.cli.show import round_lines
    from defuse.rounds import run_rounds

    with open_run(config, folder, quiet=quiet, redo=redo) as opened:
        done = list(run_rounds(opened, count))
    told = [each.summary for each in done]
    tell([each.model_dump(mode="json") for each in told], round_lines(told), as_json=as_json, quiet=quiet)
    if done[0].results.unrepaired:
        raise typer.Exit(UNREPAIRED)


def _finish(
    config: "Config",
    folder: Path,
    *,
    redo: bool = False,
    names: bool = True,
    fails: bool = True,
    quiet: bool,
    as_json: bool,
) -> None:
    from defuse.cli.show import closing_lines
    from defuse.results import write_results

    with open_run(config, folder, quiet=quiet, redo=redo) as opened:
        results = write_results(opened, names=names)
    tell(results.summary.model_dump(mode="json"), closing_lines(results), as_json=as_json, quiet=quiet)
    if results.unrepaired and fails:
        raise typer.Exit(UNREPAIRED)


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

        settled, folder = settle(config, out, preset, seed, changes, focus)
        with open_run(settled, folder, quiet=quiet, redo=redo) as opened:
            getattr(opened, attribute)
            values = stage_values(name, opened)
            unrepaired = name == "correct" and opened.unrepaired
        tell(values, stage_lines(values), as_json=as_json, quiet=quiet)
        if unrepaired:
            raise typer.Exit(UNREPAIRED)

    command.__doc__ = purpose
    app.command(name, epilog=f"Example: {example}")(command)


_stage("fit", "Train the generator and the judges (and the built-in classifier).", "defuse fit my.yaml", "panel")
_stage(
    "identify", "Search for failures; goes on after the last finished shard.", "defuse identify --out RUN", "identified"
)
_stage("distill", "Group failures into regions and test each on fresh samples.", "defuse distill --out RUN", "regions")
_stage(
    "correct",
    "Repair the classifier on the labelled regions; write the suite. Exit code 3: nothing met the caps.",
    "defuse correct --out RUN",
    "suite",
)


_stage(
    "verify",
    "Search the given and the repaired model anew, fresh seeds, equal budget; `defuse report` then shows it.",
    "defuse verify --out RUN",
    "verified",
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
    withhold_names: Annotated[
        bool, typer.Option("--withhold-names", help="Number the people who labelled instead of naming them.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write report.html and summary.json anew (what is not done yet is done first)."""
    settled, folder = settle(config, out, preset, seed, changes, focus)
    _finish(settled, folder, names=not withhold_names, fails=False, quiet=quiet, as_json=as_json)


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
    from defuse.inputs import read_splits, train_classifier

    settled, _ = settle(config, Path(), None, seed, changes)
    splits = read_splits(settled)
    with Bars(quiet=quiet) as bars:
        classifier = train_classifier(settled, splits, to, progress=bars)
    share = {
        name: float((classifier.predict(part.images) == part.labels).mean())
        for name, part in (("validation", splits.validation), ("test", splits.test))
    }
    lines = [*(f"{name} accuracy {100 * value:.2f} %" for name, value in share.items()), f"weights: {to}"]
    tell({"weights": str(to), "accuracy": share}, lines, as_json=as_json, quiet=quiet)


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


app.command(epilog="Example: defuse check runs/mnist/suite --classifier mypackage.models:build --weights new.pt")(check)
app.command(epilog="Example: defuse compare old.safetensors new.safetensors --suite runs/mnist/suite")(compare)
app.command(epilog="Example: defuse export runs/mnist-default --to regions")(export)


app.command(epilog="Example: defuse collect runs/mnist-default unlabelled/ --to wanted.csv")(collect)


@app.command(epilog="Example: defuse demo --out defuse-demo")
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")] = Path("defuse-demo"),
    seed: Annotated[int, typer.Option(help="Seed of every random step.")] = 0,
    *,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Show the whole chain in about six minutes: rendered signs, a planted bug, the repair."""
    from defuse.cli.bars import Bars
    from defuse.demo import demonstrate

    with Bars(quiet=quiet) as bars:
        shown = demonstrate(out, seed=seed, progress=bars)
    tell(shown.values(), shown.lines(), as_json=as_json, quiet=quiet)
