"""Classes as a user writes them: by name, or by index where no name fits."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator

from defuse.errors import ConfigError


@dataclass(frozen=True)
class ClassPair:
    """A confusion: images of the class ``label``, read as ``answer``; both are class indices, and differ."""

    label: int
    answer: int


def _as_text(value: object) -> object:
    if isinstance(value, int | float):
        raise ValueError("expected LABEL:ANSWER in quotes (without, YAML reads 2:5 as the number 125)")  # noqa: TRY004 -- pydantic passes on no other
    return value


PairText = Annotated[str, BeforeValidator(_as_text)]
"""A confusion as text, such as ``50:80``: images of class 50, read as 80."""


def find_class(text: str, class_names: Sequence[str]) -> int | None:
    """Return the index of the class that a text names, else the class index that it is; None where it is neither."""
    known = {str(index): index for index in range(len(class_names))}
    known |= {name.strip(): index for index, name in enumerate(class_names)}
    known |= {name: index for index, name in enumerate(class_names)}
    return known.get(text, known.get(text.strip()))


def nearest_class(text: str, class_names: Sequence[str]) -> str:
    """Return what to say of a class that is not there: the nearest name, or which names there are."""
    names = {name.strip().casefold(): name for name in class_names}
    near = difflib.get_close_matches(text.strip().casefold(), names, n=1, cutoff=0.5)
    count = len(class_names)
    return f"did you mean {names[near[0]]!r}?" if near else f"use one of the {count} class names, or 0 to {count - 1}"


def read_pair(text: str, class_names: Sequence[str], where: str) -> ClassPair:
    """Return the confusion that a text such as ``50:80`` means. Names may hold spaces and colons.

    Args:
        text: label and answer with a colon between, each a class name, or a class index where no name fits.
        class_names: one name per class index.
        where: what to name in error messages.

    Raises:
        ConfigError: there is no colon, a class is unknown, both are the same, or names allow more than one reading.
    """
    parts = text.split(":")
    cuts = [(":".join(parts[:cut]), ":".join(parts[cut:])) for cut in range(1, len(parts))]
    if not cuts:
        raise ConfigError(f"{where}: expected LABEL:ANSWER, two classes with a colon between, got {text!r}")
    found = [(find_class(label, class_names), find_class(answer, class_names)) for label, answer in cuts]
    pairs = {ClassPair(label, answer) for label, answer in found if label is not None and answer is not None}
    if not pairs:
        raise ConfigError(f"{where}: {_unknown(cuts, found, class_names)} (in {text!r})")
    if len(pairs) > 1:
        raise ConfigError(f"{where}: {text!r} can be read in more than one way; write class indices")
    pair = pairs.pop()
    if pair.label == pair.answer:
        raise ConfigError(f"{where}: expected two different classes, got {text!r}; a right answer is no error")
    return pair


def _unknown(
    cuts: Sequence[tuple[str, str]], found: Sequence[tuple[int | None, int | None]], class_names: Sequence[str]
) -> str:
    """Name the unknown class in the reading that knows most."""
    best = min(range(len(cuts)), key=lambda place: found[place].count(None))
    wrong = cuts[best][found[best].index(None)].strip()
    return f"unknown class {wrong!r}; {nearest_class(wrong, class_names)}"
