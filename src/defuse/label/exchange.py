"""Labelling in a spreadsheet: a CSV file to fill in, with one contact sheet per region beside it."""

import csv
import difflib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from defuse.errors import VerdictError
from defuse.label.aggregate import name_of
from defuse.records import Answer, Purpose, Region, Regions, RegionSamples, Verdict
from defuse.rundir import write_atomically, write_text
from defuse.tiles import encode, enlarge, montage
from defuse.types import ByteImages

TO_FILL = ("annotator", "answer", "label")
COLUMNS = ("region", "shows", "model_says", "support", "failure_rate", "sheet", *TO_FILL, "given")
_EDGE = 64
_COLUMNS_OF_SHEET = 10


def export_csv(path: Path, regions: Regions, class_names: Sequence[str], verdicts: Sequence[Verdict] = ()) -> None:
    """Write a table to fill in, and one contact sheet per region into the folder ``NAME-sheets`` beside it.

    One row per region: its name, the class it was found to show, what the model says, its support and failure rate,
    its contact sheet, and the empty columns ``annotator``, ``answer`` and ``label``. Where people's verdicts are given,
    a region has one filled row for each of them instead, with the time in the column ``given``; machines' verdicts and
    adjudications are left out. Several people may each fill in a copy, or add rows.

    Raises:
        RunError: a file cannot be written.
    """
    folder = path.with_name(f"{path.stem}-sheets")
    filled: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        if not verdict.machine and not verdict.adjudicates:
            filled.setdefault(verdict.region, []).append(verdict)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for region in regions.reported:
        sheet = _write_sheet(folder / f"{region.name}.png", regions.samples.get((region.name, Purpose.SHOW)))
        about = _about(region, class_names, sheet.relative_to(path.parent).as_posix() if sheet else "")
        answers = [_fill(verdict, class_names) for verdict in filled.get(region.name, [])]
        writer.writerows({**about, **answer} for answer in answers or [{}])
    write_text(path, text.getvalue())


def contact_sheet(images: ByteImages) -> bytes:
    """Return images (n, h, w, c), n >= 1, as one PNG, ten to a row, small ones enlarged to at least 64 pixels."""
    factor = max(1, -(-_EDGE // max(images.shape[1:3])))
    sheet = montage(enlarge(images, factor), min(_COLUMNS_OF_SHEET, len(images)), gap=4)
    return encode(sheet, optimize=True)


def import_csv(path: Path, regions: Regions, class_names: Sequence[str], *, time: str) -> tuple[Verdict, ...]:
    """Read the verdicts of people from a filled table.

    Only the columns ``region``, ``annotator``, ``answer``, ``label`` and, where it is there, ``given`` are read; other
    columns may be missing. A row without answer and label is one that nobody answered. The answer is ``class``,
    ``no clear class`` or ``not an error``; with a label it may be left empty. The label is a class name or a class
    index; where a name is also a number, the name counts. Comma and semicolon both separate.

    Args:
        path: the CSV file, UTF-8.
        regions: the regions that the table may speak of.
        class_names: one name per class.
        time: when the verdicts of rows without ``given`` were given, ISO 8601, UTC.

    Raises:
        VerdictError: naming file, line and column.
    """
    known = [region.name for region in regions.reported]
    verdicts = []
    for row in _rows(path):
        if not row["answer"] and not row["label"]:
            continue
        region = row["region"]
        if region not in known:
            raise row.wrong("region", f"one of the run's {len(known)} regions", _nearest(region, known))
        if not row["annotator"]:
            raise row.wrong("annotator", "a name", "say who answered")
        answer, label = _read_answer(row, class_names)
        verdicts.append(Verdict(region, row["annotator"], answer, label, machine=False, time=row["given"] or time))
    return tuple(verdicts)


def unheard(said: Iterable[Verdict], heard: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """Return those of a file's verdicts that were not ``heard`` before, whether they still stand or not.

    A file holds what people had said when it was written. Taken in again, that would come last, and so outdo what they
    have said, or taken back, since.
    """
    known = {_saying(verdict) for verdict in heard}
    return tuple(verdict for verdict in said if _saying(verdict) not in known)


def _saying(verdict: Verdict) -> tuple[object, ...]:
    return verdict.region, verdict.annotator, verdict.answer, verdict.label, verdict.time, verdict.adjudicates


@dataclass(frozen=True)
class _Row:
    """One line of the table, its cells stripped of spaces."""

    path: Path
    line: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    def wrong(self, column: str, expected: str, advice: str) -> VerdictError:
        return VerdictError(
            f"{self.path}: line {self.line}, column '{column}': expected {expected}, got {self[column]!r}; {advice}"
        )


def _rows(path: Path) -> Iterator[_Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise VerdictError(f"{path}: not found; write it with `defuse label export`") from None
    except (OSError, UnicodeDecodeError) as error:
        raise VerdictError(f"{path}: cannot be read ({error}); save it as CSV in UTF-8") from None
    header = text.partition("\n")[0]
    reader = csv.DictReader(
        io.StringIO(text, newline=""), delimiter=";" if header.count(";") > header.count(",") else ",", strict=True
    )
    needed = ("region", *TO_FILL)
    try:
        missing = [column for column in needed if column not in (reader.fieldnames or ())]
        if missing:
            raise VerdictError(f"{path}: line 1: no column '{missing[0]}'; expected {', '.join(needed)}")
        for cells in reader:
            read = {column: (cells.get(column) or "").strip() for column in (*needed, "given")}
            yield _Row(path, reader.line_num, read)
    except csv.Error as error:
        raise VerdictError(f"{path}: line {reader.line_num}: no valid CSV ({error}); save it as CSV again") from None


def _read_answer(row: _Row, class_names: Sequence[str]) -> tuple[Answer, int | None]:
    try:
        answer = Answer(row["answer"].casefold() or Answer.CLASS.value)
    except ValueError:
        raise row.wrong(
            "answer", " or ".join(f"'{each}'" for each in Answer), "correct it, or leave it empty"
        ) from None
    if answer is not Answer.CLASS:
        if row["label"]:
            raise row.wrong("label", f"nothing beside the answer '{answer}'", "clear one of the two")
        return answer, None
    text, names = row["label"], [name.strip() for name in class_names]
    if text and text in names:
        return answer, names.index(text)
    if text.isdecimal() and int(text) < len(names):
        return answer, int(text)
    raise row.wrong("label", f"a class name or an index from 0 to {len(names) - 1}", _nearest(text, names))


def _nearest(text: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(text, known, n=1)
    return f"did you mean {near[0]!r}?" if near else "correct it"


def _about(region: Region, class_names: Sequence[str], sheet: str) -> dict[str, str]:
    failure = region.evidence.failure
    return {
        "region": region.name,
        "shows": name_of(region.label, class_names),
        "model_says": name_of(region.predicted, class_names),
        "support": str(region.support),
        "failure_rate": f"{failure.value:.3f}" if failure.trials else "",
        "sheet": sheet,
    }


def _fill(verdict: Verdict, class_names: Sequence[str]) -> dict[str, str]:
    label = "" if verdict.label is None else name_of(verdict.label, class_names)
    return {"annotator": verdict.annotator, "answer": verdict.answer.value, "label": label, "given": verdict.time}


def _write_sheet(path: Path, samples: RegionSamples | None) -> Path | None:
    if samples is None or not len(samples):
        return None
    data = contact_sheet(samples.images)

    def write(temporary: Path) -> None:
        temporary.write_bytes(data)

    write_atomically(path, write)
    return path
