"""The commands that score: Defuse, your own settings, and other methods, on bugs whose truth is known."""

from pathlib import Path
from typing import Annotated

import typer

from defuse.cli.common import AsJson, Quiet, Settings, open_run, settle, tell

bench_app = typer.Typer(no_args_is_help=True, help="Benchmarks with known truth.", rich_markup_mode="rich")


@bench_app.callback()
def _root() -> None:
    """Benchmarks with known truth."""


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


@bench_app.command(epilog="Example: defuse bench planted --quick --data DIR --json planted.json")
def planted(
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of mnist.npz, fashion_mnist.npz, gtsrb.npz, gtsrb_meta.npz. Signs need none."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of cells and caches.")] = Path("runs/planted"),
    tasks: Annotated[str | None, typer.Option(help="Names, with commas [default: all]")] = None,
    methods: Annotated[str, typer.Option(help="Names, with commas.")] = "default,reference_only",
    levels: Annotated[str, typer.Option(help="seen, unseen: whether the reference data hold the bug's images.")] = (
        "seen,unseen"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random step.")] = 0,
    changes: Settings = None,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Four tasks and a small budget.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Where figures and cells go, beside others.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Plant bugs in classifiers, look for them, repair them, and score it on real images held out.

    With --set, preset default with these settings is scored too, as method "yours". Run the same command again after an
    interruption: finished cells are kept.
    """
    import sys

    from defuse.bench.planted import Planted, gathered, results
    from defuse.bench.table import cell_line, closing_lines
    from defuse.cli.bars import Bars
    from defuse.rundir import write_json

    chosen = Planted(
        folder=out,
        data=data,
        tasks=_listed(tasks),
        methods=_listed(methods),
        levels=_listed(levels),
        seed=seed,
        quick=quick,
        changes=tuple(changes or ()),
    )
    cells = []
    with Bars(quiet=quiet) as bars:
        for cell in chosen.cells(progress=bars):
            cells.append(cell)
            if not quiet:
                typer.echo(cell_line(cell))
    if json_file is not None:
        write_json(json_file, results(gathered(json_file, cells), " ".join(["defuse", *sys.argv[1:]])))
    if not quiet:
        for line in closing_lines(cells):
            typer.echo(line)


@bench_app.command(epilog="Example: defuse bench validity runs/mnist-default runs/mnist-paper --json validity.json")
def validity(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of finished runs.")],
    cache: Annotated[Path, typer.Option(help="Where oracles are kept, by what they were trained on.")] = Path(
        "runs/oracles"
    ),
    epochs: Annotated[int, typer.Option(min=1, help="Of an oracle's training.")] = 10,
    *,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Where figures and runs go, beside others.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Have two oracles, trained on test images too and asked by nothing else, confirm what runs report.

    Scored are the kept and misread fresh samples of every reported region, and up to 500 kept failures of each
    proposal. What the judges refused is left out.
    """
    import sys

    from defuse.bench.table import validity_lines
    from defuse.bench.validity import gathered, look, results
    from defuse.cli.bars import Bars
    from defuse.pipeline import Run
    from defuse.rundir import write_json

    command = " ".join(["defuse", *sys.argv[1:]])
    scored = []
    for folder in folders:
        config, out = settle(None, folder, None, None, None)
        with Bars(quiet=quiet) as bars, Run(config, out, progress=bars) as run:
            scored.append(look(run, cache, epochs=epochs, progress=bars))
        if not quiet:
            for line in validity_lines(scored[-1]):
                typer.echo(line)
    if json_file is not None:
        write_json(json_file, results(gathered(json_file, scored), command))


@bench_app.command(epilog="Example: defuse bench audit runs/mnist-default --to audit")
def audit(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    to: Annotated[Path, typer.Option(help="Folder for the page and its key.")] = Path("audit"),
    reported: Annotated[int, typer.Option(min=1, help="Images of regions.")] = 200,
    real: Annotated[int, typer.Option(min=0, help="Real test images among them.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw.")] = 0,
    *,
    quiet: Quiet = False,
) -> None:
    """Write a page on which a person says what reported images show, real ones among them, not knowing which is which.

    Do not look at key.json, or at the run's report, before answering.
    """
    from defuse.bench.audit import draw_sheet, write_sheet

    config, out = settle(None, folder, None, None, None)
    with open_run(config, out, quiet=quiet) as run:
        sheet = draw_sheet(run.regions, run.splits.test, reported=reported, real=real, seed=seed)
    page, key = write_sheet(to, sheet)
    if not quiet:
        typer.echo(f"{len(sheet.images)} images: {page}. Answer them, then: defuse bench audited {key} answers.json")


@bench_app.command(epilog="Example: defuse bench audited audit/key.json answers.json")
def audited(
    key_file: Annotated[Path, typer.Argument(metavar="KEY", help="key.json of the sheet.")],
    answers_file: Annotated[Path, typer.Argument(metavar="ANSWERS", help="answers.json, as the page saved it.")],
    *,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Say how many reported images show their label to the reader, and how many real ones the reader reads right."""
    from defuse.bench.audit import read_answers, read_key, score_audit
    from defuse.records import Rate

    key = read_key(key_file)
    found = score_audit(key, read_answers(answers_file, key))
    real, reader = (Rate(share.successes, share.trials) for share in (found.real, found.reader))
    lines = [
        f"Reported images that show the reader their label: {real}, {real.successes} of {real.trials}.",
        f"Images that show the reader no class: {found.cannot_tell}.",
        f"Real images that the reader reads right: {reader}, {reader.successes} of {reader.trials}.",
    ]
    for region, said in found.missed.items():
        lines.append(f"  {region}: {', '.join(f'{answer} ({count})' for answer, count in said.items())}")
    tell(found.model_dump(mode="json"), lines, as_json=as_json, quiet=quiet)
