"""Where verdicts are kept: an SQLite file to which events are only ever added."""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import numpy as np

from defuse.errors import VerdictError
from defuse.label import schema
from defuse.records import Answer, Regions, Verdict


def regions_fingerprint(regions: Regions) -> str:
    """Return a hash of the reported regions' names, classes and Gaussians: what a verdict speaks of."""
    digest = hashlib.sha256()
    for region in regions.reported:
        digest.update(f"{region.name}/{region.label}/{region.predicted}/".encode())
        digest.update(np.asarray(region.mean, dtype=np.float64).tobytes())
        digest.update(np.asarray(region.covariance, dtype=np.float64).tobytes())
    return digest.hexdigest()[:16]


def people_in(path: Path) -> bool:
    """Return whether any person's verdict stands in a store, whatever regions it speaks of.

    Raises:
        VerdictError: the file is damaged or is no verdict store.
    """
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode={_read_mode(path)}", uri=True)) as store:
            (version,) = store.execute("SELECT value FROM about WHERE key = 'version'").fetchone()
            return any(not _verdict(row).machine for row in store.execute(schema.STANDING[str(version)]))
    except (sqlite3.Error, KeyError, TypeError, ValueError) as error:
        raise VerdictError(f"{path}: cannot be read as a verdict store ({error}); move the file away") from None


class VerdictStore:
    """All verdicts on one set of regions. Nothing is ever changed or deleted; a later verdict supersedes.

    The file is made on first use; one of version 1 is brought to version 2. A verdict is on disk when ``append`` or
    ``together`` ends. Use it as a context manager, or call ``close``.

    Args:
        path: the SQLite file.
        regions: what the verdicts speak of; the file keeps their fingerprint and refuses others.
        read_only: whether an existing file is only read, of whatever version.

    Raises:
        VerdictError: the file is damaged, is no verdict store, belongs to other regions, or cannot be opened.
    """

    def __init__(self, path: Path, regions: Regions, *, read_only: bool = False) -> None:
        self.path = path
        self._names = {region.name for region in regions.reported}
        with self._explained():
            if not read_only:
                path.parent.mkdir(parents=True, exist_ok=True)
            address = f"file:{quote(str(path.absolute()))}?mode={_read_mode(path) if read_only else 'rwc'}"
            self._connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=30)
        try:
            with self._explained():
                if not read_only:
                    self._connection.execute("PRAGMA journal_mode = WAL")
                    self._connection.execute("PRAGMA synchronous = FULL")
                    with self.together():
                        self._claim(regions_fingerprint(regions))
                self._version = self._check(regions_fingerprint(regions))
        except BaseException:
            self.close()
            raise

    def append(self, verdicts: Iterable[Verdict]) -> None:
        """Store verdicts, all of them or, when it fails, none.

        Raises:
            VerdictError: a verdict names no annotator or an unknown region, or the file cannot be written.
        """
        rows = [(*self._row(verdict), None) for verdict in verdicts]
        with self.together():
            self._connection.executemany(schema.ADD, rows)

    def add(self, verdict: Verdict, key: str) -> bool:
        """Store one verdict unless an event of this key is there already; return whether it was stored.

        Within ``together`` it is on disk once that block has ended.

        Raises:
            VerdictError: as ``append``.
        """
        row = self._row(verdict)
        with self._explained():
            return self._connection.execute(schema.ADD, (*row, key)).rowcount == 1

    def undo(self, annotator: str, key: str, *, time: str) -> bool:
        """Take back the person's last verdict that stands, as an event of its own; return whether there was one.

        The verdict stays in the file. An undo whose key is there already changes nothing.

        Args:
            annotator: the person.
            key: of this event.
            time: when it was taken back, ISO 8601, UTC.

        Raises:
            VerdictError: the file cannot be written.
        """
        with self._explained():
            last = self._connection.execute(schema.LAST, (annotator,)).fetchone()
            return last is not None and self._connection.execute(schema.UNDO, (*last, time, key)).rowcount == 1

    def took_back(self, key: str) -> bool:
        """Return whether an undo of this key is there.

        Raises:
            VerdictError: the file cannot be read.
        """
        with self._explained():
            return self._connection.execute(schema.TAKEN_BACK, (key,)).fetchone() is not None

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write all events of the block or, when it fails, none; they are on disk when it ends.

        Raises:
            VerdictError: the file cannot be written.
        """
        with self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def all(self) -> tuple[Verdict, ...]:
        """Return every verdict ever given, also those taken back, oldest first."""
        return self._read(schema.ALL)

    def standing(self) -> tuple[Verdict, ...]:
        """Return every verdict that was not taken back, superseded ones too, oldest first."""
        return self._read(schema.STANDING)

    def current(self) -> tuple[Verdict, ...]:
        """Return the last standing verdict of each annotator on each region, oldest first.

        A machine and a person of the same name are two annotators; an opinion and an adjudication are two verdicts.
        """
        last: dict[tuple[str, str, bool, bool], Verdict] = {}
        for verdict in self.standing():
            key = (verdict.region, verdict.annotator, verdict.machine, verdict.adjudicates)
            last.pop(key, None)
            last[key] = verdict
        return tuple(last.values())

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, query: dict[str, str]) -> tuple[Verdict, ...]:
        with self._explained():
            return tuple(_verdict(row) for row in self._connection.execute(query[self._version]))

    def _claim(self, regions: str) -> None:
        """Make the tables of a new file; bring those of a version 1 that belongs to these regions up to date."""
        tables = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables:
            schema.create(self._connection)
            about = [("version", schema.VERSION), ("regions", regions)]
            self._connection.executemany("INSERT INTO about VALUES (?, ?)", about)
        elif self._check(regions) != schema.VERSION:
            schema.upgrade(self._connection)

    def _check(self, regions: str) -> str:
        """Return the file's version, once it is clear that it is a verdict store of these regions."""
        tables = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not {"about", "verdicts"} <= tables:
            raise VerdictError(f"{self.path}: a database, but no verdict store; name another file")
        about = dict(self._connection.execute("SELECT key, value FROM about"))
        version = str(about.get("version"))
        if version not in schema.ALL:
            raise VerdictError(
                f"{self.path}: expected a verdict store of version {' or '.join(schema.ALL)}, got {version}; "
                "open it with the Defuse that wrote it"
            )
        if about.get("regions") != regions:
            raise VerdictError(
                f"{self.path}: its verdicts speak of other regions ({about.get('regions')}) than this run's "
                f"({regions}); move the file away and label again"
            )
        return version

    def _row(self, verdict: Verdict) -> tuple[str | int | None, ...]:
        if verdict.region not in self._names:
            raise VerdictError(
                f"verdict on {verdict.region}: not among the {len(self._names)} regions; label this run's regions"
            )
        if not verdict.annotator.strip():
            raise VerdictError(f"verdict on {verdict.region}: the annotator has no name; give one")
        return (
            verdict.region,
            verdict.annotator,
            verdict.answer.value,
            verdict.label,
            int(verdict.machine),
            verdict.time,
            json.dumps(verdict.shown),
            json.dumps(verdict.crossed),
            verdict.page,
            int(verdict.adjudicates),
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn whatever SQLite and the disk complain about into one line that names the file."""
        try:
            yield
        except (sqlite3.Error, OSError, ValueError, TypeError) as error:
            raise VerdictError(
                f"{self.path}: cannot be used as a verdict store ({error}); check the disk, or move the file away"
            ) from None


def _read_mode(path: Path) -> str:
    """Return how to open a file for reading: without leaving any file beside it, where nobody else has it open."""
    return "ro" if path.with_name(f"{path.name}-wal").exists() else "ro&immutable=1"


def _verdict(row: tuple[Any, ...]) -> Verdict:
    region, annotator, answer, label, machine, time, shown, crossed, page, adjudicates = row
    return Verdict(
        region,
        annotator,
        Answer(answer),
        label,
        machine=bool(machine),
        time=time,
        shown=tuple(json.loads(shown)),
        crossed=tuple(json.loads(crossed)),
        page=page,
        adjudicates=bool(adjudicates),
    )
