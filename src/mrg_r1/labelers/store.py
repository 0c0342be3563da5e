"""Labels of texts, kept in a file from run to run, without the texts.

Keys are digests: nobody reads a report in the file. Who has a report can tell whether its labels
are there, so the file is to be kept where reports may be kept. A text takes about 40 bytes;
nothing is forgotten, and deleting the file loses nothing but time.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from mrg_r1.errors import DataError
from mrg_r1.findings import FINDINGS, Labels

_SCHEMA = """
CREATE TABLE IF NOT EXISTS labelers (id INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS labels (
    labeler INTEGER NOT NULL, digest BLOB NOT NULL, statuses INTEGER NOT NULL,
    PRIMARY KEY (labeler, digest)
) WITHOUT ROWID;
"""
_PATIENCE = 60.0
"""Seconds to wait for another process that writes."""


class LabelStore:
    """Labels by labeler and text, in a file that several processes may share.

    Each call opens the file anew, so that a store survives forks, threads and pickling. SQLite's
    rollback journal is kept: its write-ahead log does not work on network file systems.

    Args:
        path: the file; it is made if it is not there.
        identity: the labeler's; its labels are apart from those of all others.

    Raises:
        DataError: the file cannot be opened, or is no such store.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.path = path
        with self._opened() as database:
            database.executescript(_SCHEMA)
            database.execute("INSERT OR IGNORE INTO labelers (identity) VALUES (?)", (identity,))
            query = "SELECT id FROM labelers WHERE identity = ?"
            (self._labeler,) = database.execute(query, (identity,)).fetchone()

    def get(self, reports: Iterable[str]) -> dict[str, Labels]:
        """The labels of those reports that are known.

        Raises:
            DataError: the file cannot be read.
        """
        query = "SELECT statuses FROM labels WHERE labeler = ? AND digest = ?"
        found: dict[str, Labels] = {}
        with self._opened() as database:
            for report in reports:
                row = database.execute(query, (self._labeler, _digest(report))).fetchone()
                if row:
                    found[report] = _unpacked(row[0])
        return found

    def put(self, labels: Mapping[str, Labels]) -> None:
        """Adds labels, all or none.

        Raises:
            DataError: the file cannot be written.
        """
        rows = [(self._labeler, _digest(text), _packed(found)) for text, found in labels.items()]
        with self._opened() as database:
            database.executemany("INSERT OR IGNORE INTO labels VALUES (?, ?, ?)", rows)

    @contextmanager
    def _opened(self) -> Generator[sqlite3.Connection]:
        """The database within a transaction."""
        try:
            with closing(sqlite3.connect(self.path, timeout=_PATIENCE)) as database, database:
                yield database
        except (sqlite3.Error, ValueError) as error:
            raise DataError(
                f"{self.path}: no label cache ({error}); delete it, or name another file"
            ) from None


def _digest(report: str) -> bytes:
    """Half a SHA-256, which two texts of any real collection do not share."""
    return hashlib.sha256(report.encode("utf-8", "surrogatepass")).digest()[:16]


def _packed(labels: Labels) -> int:
    """14 statuses in 28 bits, the first in the lowest."""
    return sum(status << 2 * index for index, status in enumerate(labels.statuses))


def _unpacked(packed: int) -> Labels:
    return Labels.from_classes([packed >> 2 * index & 3 for index in range(len(FINDINGS))])
