"""Finding the reader for what a user names."""

from collections.abc import Sequence
from pathlib import Path

from defuse.data.npz import NpzReader
from defuse.data.reader import Reader
from defuse.data.signs import SIGN_NAMES, SignsReader
from defuse.errors import DataError

SIGNS = "signs"
"""The word for rendered traffic signs; a file of that name is reached as ``./signs``."""

READABLE = f"an .npz file, or the word {SIGNS!r} for rendered traffic signs"


def open_source(source: str | Path, class_names: Sequence[str] | None = None) -> Reader:
    """Return the reader for a data set; nothing is read yet.

    Args:
        source: a path, where ``~`` is the home folder, or the word ``signs``.
        class_names: one name per class index, for a source that holds none or other ones.

    Raises:
        DataError: nothing here reads such a source; or signs, which have names, are given others.
    """
    if source == SIGNS:
        if class_names is not None and tuple(class_names) != SIGN_NAMES:
            raise DataError(f"{SIGNS}: has class names of its own ({', '.join(SIGN_NAMES)}); leave class_names out")
        return SignsReader()
    path = Path(source).expanduser()
    if path.suffix.lower() != ".npz":
        what = "a folder" if path.is_dir() else f"a file that ends in {path.suffix!r}" if path.suffix else "that"
        raise DataError(f"{source}: cannot read {what}; what can be read: {READABLE}")
    return NpzReader(path, None if class_names is None else tuple(class_names))
