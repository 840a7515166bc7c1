"""Words for messages: always on one line, always fit for a terminal."""

import unicodedata

_HIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode's categories of control characters, half characters (bytes that were no text), and ends of lines."""


def printable(name: object) -> str:
    """Return a name (of a file, mostly) in which what cannot be shown on one line is written as an escape."""
    return "".join(ascii(letter)[1:-1] if unicodedata.category(letter) in _HIDDEN else letter for letter in str(name))


def reason_of(error: Exception) -> str:
    """Return one line that says what went wrong."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return printable(" ".join(text.split())) or type(error).__name__
