"""The verdict store's tables, and how those of version 1 become those of version 2."""

import sqlite3
from collections.abc import Iterator

VERSION = "2"

FIRST = """
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
"""Version 1, to which version 2 adds; a new file takes both steps."""

SECOND = """
ALTER TABLE verdicts ADD COLUMN shown TEXT NOT NULL DEFAULT '[]';
ALTER TABLE verdicts ADD COLUMN crossed TEXT NOT NULL DEFAULT '[]';
ALTER TABLE verdicts ADD COLUMN page TEXT NOT NULL DEFAULT '';
ALTER TABLE verdicts ADD COLUMN adjudicates INTEGER NOT NULL DEFAULT 0;
ALTER TABLE verdicts ADD COLUMN key TEXT;
CREATE UNIQUE INDEX once ON verdicts (key);
CREATE TABLE undos (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    verdict INTEGER NOT NULL UNIQUE REFERENCES verdicts (id),
    time TEXT NOT NULL,
    key TEXT UNIQUE
) STRICT;
CREATE TRIGGER keep_undos BEFORE DELETE ON undos BEGIN SELECT RAISE(ABORT, 'undos are never deleted'); END;
CREATE TRIGGER keep_undone BEFORE UPDATE ON undos BEGIN SELECT RAISE(ABORT, 'undos are never changed'); END;
"""

_SAID = "region, annotator, answer, label, machine, time"
COLUMNS = f"{_SAID}, shown, crossed, page, adjudicates"
ALL = {
    "1": f"SELECT {_SAID}, '[]', '[]', '', 0 FROM verdicts ORDER BY id",  # noqa: S608 -- constants
    VERSION: f"SELECT {COLUMNS} FROM verdicts ORDER BY id",  # noqa: S608 -- as above
}
"""How every verdict is read, by the file's version."""

STANDING = {
    "1": ALL["1"],
    VERSION: f"SELECT {COLUMNS} FROM verdicts WHERE id NOT IN (SELECT verdict FROM undos) ORDER BY id",  # noqa: S608 -- as above
}
"""How those are read that were not taken back."""

ADD = f"INSERT INTO verdicts ({COLUMNS}, key) VALUES ({', '.join('?' * 11)}) ON CONFLICT (key) DO NOTHING"  # noqa: S608 -- as above

LAST = """
SELECT id FROM verdicts
WHERE annotator = ? AND machine = 0 AND id NOT IN (SELECT verdict FROM undos) ORDER BY id DESC LIMIT 1
"""

TAKEN_BACK = "SELECT 1 FROM undos WHERE key = ?"

UNDO = "INSERT INTO undos (verdict, time, key) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"


def create(connection: sqlite3.Connection) -> None:
    """Make the tables of a new file, within the caller's transaction."""
    for statement in _statements(FIRST + SECOND):
        connection.execute(statement)


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring a file of version 1 to version 2, within the caller's transaction; no verdict changes."""
    for statement in _statements(SECOND):
        connection.execute(statement)
    connection.execute("UPDATE about SET value = ? WHERE key = 'version'", (VERSION,))


def _statements(script: str) -> Iterator[str]:
    """Split a script into complete statements; ``executescript`` would end the transaction."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
