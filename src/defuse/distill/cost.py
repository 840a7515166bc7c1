"""What wrong answers cost: the user's table and single entries, and what a region costs by them."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass as record
from dataclasses import field
from pathlib import Path
from typing import Annotated, TypeAlias

import numpy as np
from jaxtyping import Float64
from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from defuse.classes import ClassPair, PairText, nearest_class, read_pair
from defuse.data.text import reason_of
from defuse.errors import ConfigError
from defuse.records import Evidence
from defuse.types import STRICT, Labels

MAX_COST = 1e9
"""More than any wrong answer may cost."""

SHOWN = 40
"""Characters of a wrong cell that a message shows."""

_DAMAGE = (OSError, ValueError, EOFError, MemoryError, OverflowError)
"""What NumPy raises on damaged or foreign files."""

CostMatrix: TypeAlias = Float64[np.ndarray, "k k"]
"""What an answer costs: rows are true classes, columns answers; 0 on the diagonal."""


def _keys_as_text(value: object) -> object:
    if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        raise ValueError("expected each LABEL:ANSWER in quotes (without, YAML reads 2:5 as the number 125)")
    return value


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Cost:
    """What a wrong answer costs, so that regions can be ranked by the harm that they do. Not in the paper.

    By default every wrong answer costs 1.

    Attributes:
        matrix: a CSV file or a ``.npy`` file, classes x classes; rows are true classes, columns answers. A CSV file
            may name the classes in its first row and its first column, then in any order.
        pairs: single costs, such as ``{"50:80": 10}``, which override the matrix: class names, or class indices where
            no name fits.
    """

    matrix: Path | None = None
    pairs: Annotated[dict[PairText, Annotated[float, Field(ge=0, le=MAX_COST)]], BeforeValidator(_keys_as_text)] = (
        field(default_factory=dict)
    )

    @property
    def given(self) -> bool:
        """Whether any cost differs from the default."""
        return self.matrix is not None or bool(self.pairs)

    def resolve(self, class_names: Sequence[str]) -> CostMatrix:
        """Return the cost of every answer.

        Raises:
            ConfigError: the file cannot be read, has another shape or other classes, or holds anything but costs from
                0 to ``MAX_COST`` with 0 on the diagonal; or a pair names an unknown class, one class twice, or the same
                pair as another.
        """
        costs = default_costs(len(class_names)) if self.matrix is None else _read(self.matrix, class_names)
        texts: dict[ClassPair, str] = {}
        for text, cost in self.pairs.items():
            pair = read_pair(text, class_names, "cost.pairs")
            if pair in texts:
                raise ConfigError(f"cost.pairs: {texts[pair]!r} and {text!r} are the same pair; drop one")
            texts[pair] = text
            costs[pair.label, pair.answer] = cost
        return costs


def default_costs(classes: int) -> CostMatrix:
    """Return a cost of 1 for every wrong answer."""
    return 1 - np.eye(classes)


def total_cost(evidence: Evidence, label: int, costs: CostMatrix) -> float:
    """Return what the classifier's answers on a region's kept evidence samples cost together."""
    return float(sum(count * costs[label, answer] for answer, count in evidence.answers))


def mean_cost(evidence: Evidence, label: int, costs: CostMatrix) -> float | None:
    """Return what an answer costs on average over a region's kept evidence samples; None where none was kept."""
    trials = evidence.failure.trials
    return total_cost(evidence, label, costs) / trials if trials else None


@record(frozen=True)
class _Row:
    """One line of a table, its cells stripped of spaces; ``skipped`` cells of it stand to their left."""

    line: int
    cells: list[str]
    skipped: int = 0


def _read(path: Path, class_names: Sequence[str]) -> CostMatrix:
    costs = _read_npy(path, class_names) if path.suffix == ".npy" else _read_csv(path, class_names)
    wrong = np.argwhere(~((costs >= 0) & (costs <= MAX_COST)))  # NaN is neither
    if len(wrong):
        label, answer = wrong[0].tolist()
        pair = f"{class_names[label]!r} read as {class_names[answer]!r}"
        raise ConfigError(f"{path}: expected costs from 0 to {MAX_COST:g}, got {costs[label, answer]:g} for {pair}")
    priced = np.flatnonzero(np.diag(costs))
    if len(priced):
        name, cost = class_names[priced[0]], costs[priced[0], priced[0]]
        raise ConfigError(f"{path}: expected 0 for every right answer (the diagonal), got {cost:g} for {name!r}")
    return costs


def _read_npy(path: Path, class_names: Sequence[str]) -> CostMatrix:
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError:
        raise _not_found(path) from None
    except _DAMAGE as error:
        raise ConfigError(f"{path}: cannot be read ({reason_of(error)}); write it with numpy.save") from None
    if array.dtype.kind not in "iuf":
        raise ConfigError(f"{path}: expected an array of numbers, got {array.dtype}")
    if array.shape != (len(class_names), len(class_names)):
        raise _misshapen(path, len(class_names), f"shape {array.shape}")
    return array.astype(np.float64)


def _read_csv(path: Path, class_names: Sequence[str]) -> CostMatrix:
    rows, size = _rows(path), len(class_names)
    widths = sorted({len(row.cells) for row in rows})
    square = len(rows) if widths == [len(rows)] else None
    if square == size + 1 or (rows and _names_classes(rows[0].cells)):
        return _named(path, rows, class_names)
    if square != size:
        wide = " to ".join(str(width) for width in dict.fromkeys((min(widths), max(widths)))) if rows else "0"
        raise _misshapen(path, size, f"{len(rows)} x {wide} cells")
    return _numbers(path, rows, size)


def _names_classes(first: Sequence[str]) -> bool:
    """Say whether a table's first row looks like class names: behind an empty corner, or not one number among them."""
    return len(first) > 1 and (not first[0] or not any(map(_is_number, first)))


def _rows(path: Path) -> list[_Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise _not_found(path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({reason_of(error)}); save it as CSV in UTF-8") from None
    first = text.partition("\n")[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return [_Row(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if cells]
    except csv.Error as error:
        raise ConfigError(f"{path}: line {reader.line_num}: no valid CSV ({error}); save it as CSV again") from None


def _named(path: Path, rows: Sequence[_Row], class_names: Sequence[str]) -> CostMatrix:
    """Return the costs of a table whose first row and first column name the classes."""
    answers = _order([(f"line {rows[0].line}", cell) for cell in rows[0].cells[1:]], path, class_names)
    labels = _order([(f"line {row.line}, column 1", row.cells[0]) for row in rows[1:]], path, class_names)
    costs = np.empty((len(class_names), len(class_names)))
    body = [_Row(row.line, row.cells[1:], skipped=1) for row in rows[1:]]
    costs[np.ix_(labels, answers)] = _numbers(path, body, len(class_names))
    return costs


def _order(cells: Sequence[tuple[str, str]], path: Path, class_names: Sequence[str]) -> Labels:
    """Return the class index of each name, given with where it stands; every class is there once."""
    places = {name.strip(): index for index, name in enumerate(class_names)}
    order: list[int] = []
    for where, name in cells:
        if name not in places:
            raise ConfigError(f"{path}: {where}: unknown class {name[:SHOWN]!r}; {nearest_class(name, class_names)}")
        if places[name] in order:
            raise ConfigError(f"{path}: {where}: class {name!r} is there twice; name each of the classes once")
        order.append(places[name])
    missing = [name for index, name in enumerate(class_names) if index not in order]
    if missing:
        raise ConfigError(f"{path}: no costs for class {missing[0]!r}; name all {len(class_names)} classes")
    return np.array(order, dtype=np.int64)


def _numbers(path: Path, rows: Sequence[_Row], size: int) -> CostMatrix:
    costs = np.empty((len(rows), size))
    for place, row in enumerate(rows):
        if len(row.cells) != size:
            found = len(row.cells) + row.skipped
            raise ConfigError(f"{path}: line {row.line}: expected {size + row.skipped} cells, got {found}")
        for column, cell in enumerate(row.cells):
            if not _is_number(cell):
                where = f"line {row.line}, column {column + row.skipped + 1}"
                raise ConfigError(f"{path}: {where}: expected a number, got {cell[:SHOWN]!r}")
            costs[place, column] = float(cell)
    return costs


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _not_found(path: Path) -> ConfigError:
    return ConfigError(f"{path}: not found; cost.matrix names a CSV file or a .npy file")


def _misshapen(path: Path, size: int, found: str) -> ConfigError:
    return ConfigError(
        f"{path}: expected {size} x {size} costs, true classes down and answers across (a CSV file may add a row and a "
        f"column of class names), got {found}"
    )
