"""The commands that label: by judges, by files that people fill in, by the page."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from defuse.cli.common import AsJson, Quiet, open_run, settle, tell

if TYPE_CHECKING:
    from defuse.records import Regions, Verdict

label_app = typer.Typer(
    no_args_is_help=True, help="Label regions: by judges, or by people, on a page or through files."
)

LabelRun = Annotated[Path, typer.Argument(help="Folder of a run.")]


class Format(StrEnum):
    """Files that verdicts go through."""

    CSV = "csv"
    JSON = "json"
    LABEL_STUDIO = "label-studio"


FileFormat = Annotated[
    Format | None, typer.Option("--format", help="csv, json or label-studio [default: by the file's ending]")
]


@label_app.command("auto", epilog="Example: defuse label auto runs/mnist-default")
def label_auto(folder: LabelRun, *, quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Let the judges label, unless people have; shows every region's decision."""
    _show_labels(folder, quiet=quiet, as_json=as_json)


@label_app.command("serve", epilog="Example: defuse label serve runs/mnist-default")
def label_serve(
    folder: LabelRun,
    agreeing: Annotated[int, typer.Option(min=1, help="A region is settled once so many people agree.")] = 2,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Any but this machine's own is open to the network, unencrypted.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    *,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Only show the regions and who said what; write nothing.")
    ] = False,
    open_to_network: Annotated[
        bool, typer.Option("--open-to-network", help="Needed beside a --host that others can reach.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the link.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the link as JSON on stdout.")] = False,
) -> None:
    """Serve the page on which people label regions, until Ctrl-C. Run `defuse report --out RUN` afterwards."""
    from defuse.errors import ConfigError

    try:
        from defuse.web import is_local, opened, serve
    except ModuleNotFoundError as error:
        raise ConfigError(f"label serve: needs {error.name}; install it with `pip install 'defuse[label]'`") from None
    from defuse.label import StopRule
    from defuse.rundir import RunDir

    if not is_local(host):
        if not open_to_network:
            raise ConfigError(f"--host {host}: others could reach this page; add --open-to-network if they should")
        sys.stderr.write(
            f"defuse: warning: {host} can be reached by others, and what is sent is not encrypted; whoever has the "
            "link can label\n"
        )
    regions = 0

    def announce(link: str) -> None:
        what = "look at" if read_only else "label"
        lines = [link] if quiet else [f"Open this link to {what} {regions} regions; Ctrl-C ends it:", f"  {link}"]
        tell({"link": link, "regions": regions, "read_only": read_only}, lines, as_json=as_json, quiet=False)
        sys.stdout.flush()

    with opened(RunDir(folder), StopRule(agreeing=agreeing), read_only=read_only) as desk:
        regions = len(desk.gallery.exhibits)
        serve(desk, host=host, port=port, tell=announce)


@label_app.command("export", epilog="Example: defuse label export runs/mnist-default regions.csv")
def label_export(
    folder: LabelRun,
    to: Annotated[Path, typer.Argument(help="CSV or JSON file to write; contact sheets go beside it.")],
    form: FileFormat = None,
    *,
    images_as_files: Annotated[
        bool, typer.Option("--images-as-files", help="label-studio: contact sheets as files, not in the tasks.")
    ] = False,
    blind: Annotated[bool, typer.Option("--blind", help="Leave out what people have said so far.")] = False,
    quiet: Quiet = False,
) -> None:
    """Write people's verdicts, or what they need to give some: a table (csv), a record (json), tasks (label-studio)."""
    from defuse.label import export_csv, export_json, export_label_studio

    kind = _format(form, to)
    settled, folder = settle(None, folder, None, None, None)
    with open_run(settled, folder, quiet=quiet) as opened, opened.verdicts() as store:
        regions, names = opened.regions, opened.splits.class_names
        verdicts = () if blind else store.current()
        if kind is Format.CSV:
            export_csv(to, regions, names, verdicts)
        elif kind is Format.JSON:
            export_json(to, regions, names, verdicts)
        else:
            export_label_studio(to, regions, names, verdicts, inline=not images_as_files)
        count = len(regions.reported)
    advice = {
        Format.CSV: f"wrote {to} with {count} regions; fill in annotator, answer, label",
        Format.JSON: f"wrote {to} with the verdicts of people on {count} regions",
        Format.LABEL_STUDIO: f"wrote {to} with {count} tasks; set up Label Studio with {to.with_suffix('.xml')}",
    }
    tell(None, [advice[kind]], as_json=False, quiet=quiet)


@label_app.command("import", epilog="Example: defuse label import runs/mnist-default regions.csv")
def label_import(
    folder: LabelRun,
    table: Annotated[Path, typer.Argument(help="The filled CSV file, or JSON.")],
    form: FileFormat = None,
    *,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Take in what people said; their verdicts outrank the judges'. Run `defuse correct` afterwards."""
    from dataclasses import replace
    from datetime import UTC, datetime

    from defuse.label import import_key, unheard

    now = datetime.now(UTC).isoformat(timespec="seconds")
    kind = _format(form, table)
    settled, folder = settle(None, folder, None, None, None)
    with open_run(settled, folder, quiet=quiet) as opened, opened.verdicts() as store:
        read = _read(kind, table, opened.regions, opened.splits.class_names, now)
        verdicts = unheard(read, store.all())
        if kind is Format.CSV:  # a row's time is that of the verdict it was written with, which may have been changed
            store.append([replace(verdict, time=now) for verdict in verdicts])
        else:
            with store.together():
                for verdict in verdicts:
                    store.add(verdict, import_key(verdict))
    _show_labels(folder, quiet=quiet, as_json=as_json)


def _read(
    kind: Format, path: Path, regions: "Regions", class_names: tuple[str, ...], now: str
) -> tuple["Verdict", ...]:
    from defuse.label import import_csv, import_json, import_label_studio

    if kind is Format.CSV:
        return import_csv(path, regions, class_names, time=now)
    if kind is Format.JSON:
        return import_json(path, regions, class_names)
    return import_label_studio(path, regions, class_names)


def _format(form: Format | None, path: Path) -> Format:
    if form is not None:
        return form
    return Format.JSON if path.suffix.casefold() == ".json" else Format.CSV


def _show_labels(folder: Path, *, quiet: bool, as_json: bool) -> None:
    from defuse.cli.show import label_lines, label_values

    settled, folder = settle(None, folder, None, None, None)
    with open_run(settled, folder, quiet=quiet) as opened:
        values: list[dict[str, Any]] = label_values(opened)
    tell(values, label_lines(values), as_json=as_json, quiet=quiet)
