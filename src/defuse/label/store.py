"""Where verdicts are kept: an SQLite file to which events are only ever added."""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from defuse.errors import VerdictError
from defuse.records import Answer, Regions, Verdict

_VERSION = "1"

_SCHEMA = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE verdicts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    region TEXT NOT NULL,
    annotator TEXT NOT NULL,
    answer TEXT NOT NULL,
    label INTEGER,
    machine INTEGER NOT NULL,
    time TEXT NOT NULL
) STRICT;
CREATE TRIGGER keep_rows BEFORE DELETE ON verdicts BEGIN SELECT RAISE(ABORT, 'verdicts are never deleted'); END;
CREATE TRIGGER keep_values BEFORE UPDATE ON verdicts BEGIN SELECT RAISE(ABORT, 'verdicts are never changed'); END;
"""

_COLUMNS = "region, annotator, answer, label, machine, time"


def regions_fingerprint(regions: Regions) -> str:
    """Return a hash of the reported regions' names, classes and Gaussians: what a verdict speaks of."""
    digest = hashlib.sha256()
    for region in regions.reported:
        digest.update(f"{region.name}/{region.label}/{region.predicted}/".encode())
        digest.update(np.asarray(region.mean, dtype=np.float64).tobytes())
        digest.update(np.asarray(region.covariance, dtype=np.float64).tobytes())
    return digest.hexdigest()[:16]


class VerdictStore:
    """All verdicts on one set of regions. Nothing is ever changed or deleted; a later verdict supersedes.

    The file is made on first use. A verdict is on disk when ``append`` returns. Use it as a context manager, or call
    ``close``.

    Args:
        path: the SQLite file.
        regions: what the verdicts speak of; the file keeps their fingerprint and refuses others.

    Raises:
        VerdictError: the file is damaged, is no verdict store, belongs to other regions, or cannot be opened.
    """

    def __init__(self, path: Path, regions: Regions) -> None:
        self.path = path
        self._names = {region.name for region in regions.reported}
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=30)
        try:
            with self._explained():
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = FULL")
                self._claim(regions_fingerprint(regions))
        except BaseException:
            self.close()
            raise

    def append(self, verdicts: Iterable[Verdict]) -> None:
        """Store verdicts, all of them or, when it fails, none.

        Raises:
            VerdictError: a verdict names no annotator or an unknown region, or the file cannot be written.
        """
        rows = [self._row(verdict) for verdict in verdicts]
        with self._explained(), self._transaction():
            # The column names are a constant of this module, the values are bound.
            self._connection.executemany(f"INSERT INTO verdicts ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", rows)  # noqa: S608

    def all(self) -> tuple[Verdict, ...]:
        """Return every verdict ever given, oldest first."""
        with self._explained():
            rows = self._connection.execute(f"SELECT {_COLUMNS} FROM verdicts ORDER BY id").fetchall()  # noqa: S608 - a constant
            return tuple(
                Verdict(region, annotator, Answer(answer), label, bool(machine), time)
                for region, annotator, answer, label, machine, time in rows
            )

    def current(self) -> tuple[Verdict, ...]:
        """Return the last verdict of each annotator on each region, oldest first.

        A machine and a person of the same name are two annotators.
        """
        last: dict[tuple[str, str, bool], Verdict] = {}
        for verdict in self.all():
            key = (verdict.region, verdict.annotator, verdict.machine)
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

    def _claim(self, regions: str) -> None:
        """Make the tables of a new file, or check that the file belongs to these regions."""
        with self._transaction():
            tables = {
                name for (name,) in self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }
            if not tables:
                for statement in _statements(_SCHEMA):
                    self._connection.execute(statement)
                about = [("version", _VERSION), ("regions", regions)]
                self._connection.executemany("INSERT INTO about VALUES (?, ?)", about)
            elif not {"about", "verdicts"} <= tables:
                raise VerdictError(f"{self.path}: a database, but no verdict store; name another file")
            about_file = dict(self._connection.execute("SELECT key, value FROM about"))
        if about_file.get("version") != _VERSION:
            raise VerdictError(
                f"{self.path}: expected a verdict store of version {_VERSION}, got {about_file.get('version')}; "
                "open it with the Defuse that wrote it"
            )
        if about_file.get("regions") != regions:
            raise VerdictError(
                f"{self.path}: its verdicts speak of other regions ({about_file.get('regions')}) than this run's "
                f"({regions}); move the file away and label again"
            )

    def _row(self, verdict: Verdict) -> tuple[str, str, str, int | None, int, str]:
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
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn whatever SQLite and the disk complain about into one line that names the file."""
        try:
            yield
        except (sqlite3.Error, OSError, ValueError) as error:
            raise VerdictError(
                f"{self.path}: cannot be used as a verdict store ({error}); check the disk, or move the file away"
            ) from None


def _statements(script: str) -> Iterator[str]:
    """Split a script into complete statements; ``executescript`` would end the transaction."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
