"""What a command left in a folder."""

from pathlib import Path


def left(folder: Path) -> set[str]:
    """What a run left in its folder, but for the lock."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")} - {".lock"}


def half_written(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix == ".tmp"]
