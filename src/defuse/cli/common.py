"""What the commands share: their common options, and opening the run that these mean."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from defuse.config import Config
    from defuse.pipeline import Run

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


def settle(
    config: Path | None,
    out: Path | None,
    preset: str | None,
    seed: int | None,
    changes: list[str] | None,
    focus: str | None = None,
) -> tuple["Config", Path]:
    """Return the configuration and the folder that a command's arguments mean."""
    from defuse.config import build_config, read_config
    from defuse.errors import ConfigError, RunError
    from defuse.rundir import RunDir
    from defuse.workspace import stored_config

    if out is not None and (first := RunDir(out).first_round()):
        raise RunError(
            f"{out}: a later round of {first}, on the model that the round before left; go on with "
            f"`defuse run --rounds {out.name} --out {first}`, or look at {RunDir(out).report}"
        )
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
def open_run(config: "Config", out: Path, *, quiet: bool, redo: bool = False) -> Iterator["Run"]:
    """Open a run with a progress display."""
    from defuse.cli.bars import Bars
    from defuse.pipeline import Run

    with Bars(quiet=quiet) as bars, Run(config, out, progress=bars, redo=redo) as run:
        yield run


def tell(value: Any, lines: list[str], *, as_json: bool, quiet: bool) -> None:
    """Print a command's result: as JSON, as lines, or not at all."""
    if as_json:
        typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
    elif not quiet:
        for line in lines:
            typer.echo(line)
