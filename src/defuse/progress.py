"""How long steps tell the outside how far they are, without knowing whether anyone watches."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Called often by anything that may last over two seconds."""

    def __call__(self, task: str, done: int, total: int, note: str = "") -> None:
        """Say that ``done`` of ``total`` units of ``task`` are done; ``note`` holds a few live figures."""


def silent(task: str, done: int, total: int, note: str = "") -> None:
    """Report to nobody."""
