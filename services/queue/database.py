"""The database: SQLite with a write-ahead log, or PostgreSQL by URL. Reads see a snapshot, writes are short."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import Connection, Dialect, create_engine, event, text
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, NoSuchModuleError, TimeoutError
from sqlalchemy.pool import ConnectionPoolEntry

from understudy.errors import UnderstudyError
from understudy.packages import package_missing
from understudy.services.queue import migrations

log = logging.getLogger("understudy.database")

_BUSY = 20.0  # seconds that a writer waits for another one
_IDLE = 1.0  # seconds after which a connection is checked before it is used again


class Database:
    """One per process. Raises ``database-unavailable`` when it can't be reached: try again later."""

    def __init__(self, url: str, upgrade: bool = False) -> None:
        """Makes the tables in an empty database. Raises ``database-version`` if its tables are older, unless `upgrade`,
        or newer than this code."""
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        # SQLite's waiting writers poll for the lock, and some starve: within a process, this lock queues them
        self._turn: AbstractContextManager[object] = Lock() if self.is_sqlite else nullcontext()
        more = {"max_overflow": 40, "connect_args": {"timeout": _BUSY}}
        if not self.is_sqlite:
            more = {"max_overflow": 16, "connect_args": {"connect_timeout": 5}}
        try:
            if self.is_sqlite and (path := url.partition(":///")[2]):
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._engine = create_engine(url, pool_size=8, pool_timeout=_BUSY, **more)
            self._alone = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        except (ArgumentError, NoSuchModuleError, ImportError, OSError) as error:
            if isinstance(error, ImportError) and error.name == "psycopg":
                raise package_missing("psycopg") from error
            raise UnderstudyError(
                "database-url-invalid",
                f"The database {_shown(url)} can't be used: {str(error).splitlines()[0]}.",
                "Give a URL like postgresql+psycopg://user:password@host/name, or none for SQLite.",
            ) from error
        if self.is_sqlite:
            event.listen(self._engine, "connect", _open_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        else:
            event.listen(self._engine, "checkin", _note_use)
            event.listen(self._engine, "checkout", partial(_check_idle, self._engine.dialect))
        with self.read() as connection:
            version = migrations.version(connection)
        if version != migrations.newest():
            self._create_or_upgrade(upgrade)

    def _create_or_upgrade(self, upgrade: bool) -> None:
        """Make the tables if there are none; change older ones if `upgrade`."""
        newest = migrations.newest()
        with self._transaction(write=True, upgrade=True) as connection:
            if not self.is_sqlite:  # of two processes that start at once the second finds the work done
                connection.execute(text("SELECT pg_advisory_xact_lock(20121020)"))
            version = migrations.version(connection)
            if version is None:
                migrations.create(connection)
            elif version < newest and upgrade:
                migrations.upgrade(connection)
            elif version < newest:
                raise UnderstudyError(
                    "database-version",
                    f"The tables of {_shown(self.url)} have version {version}, and this Understudy needs {newest}.",
                    "Stop servers and workers, back it up, and run 'understudy database upgrade'.",
                )
            elif version > newest:
                raise UnderstudyError(
                    "database-version",
                    f"The tables of {_shown(self.url)} have version {version}, and this Understudy knows {newest}.",
                    "Use the newer Understudy that made them, or restore a backup.",
                )
        self._engine.dispose()  # in this connection SQLite doesn't check foreign keys

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with _explained(self.url), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, committed at the end. On SQLite it is alone from its beginning; on PostgreSQL only the rows
        that it touched are."""
        with self._transaction(write=True) as connection:
            yield connection

    @contextmanager
    def statement(self) -> Iterator[Connection]:
        """For one statement that is a transaction by itself: nothing is sent before it or after it."""
        with _explained(self.url), self._alone.connect() as connection:
            yield connection

    @contextmanager
    def _transaction(self, **options: bool) -> Iterator[Connection]:
        with (
            self._turn,
            _explained(self.url),
            self._engine.connect().execution_options(**options) as connection,
            connection.begin(),
        ):
            yield connection

    def now(self, connection: Connection) -> float:
        """Seconds since 1970 by the clock that all users of the database share."""
        if self.is_sqlite:
            return time.time()
        return float(connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or 0.0)

    def close(self) -> None:
        self._engine.dispose()


def open_when_up(url: str, upgrade: bool = False) -> Database:
    """The database, as soon as it can be reached. A file is not waited for: where it can't be opened, it never can."""
    pause = 0.5
    while True:
        try:
            return Database(url, upgrade)
        except UnderstudyError as error:
            if error.code != "database-unavailable" or url.startswith("sqlite"):
                raise
            log.warning("waiting for the database: %s", str(error.__cause__).splitlines()[0])
        time.sleep(pause)
        pause = min(5.0, 2 * pause)


def _open_sqlite(connection: Any, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # transactions are begun by `_begin_sqlite`
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # A killed process loses nothing. A power cut may lose the last moments, as it does with uploads that the system
    # has not written yet; waiting for the disk at each commit costs seconds while others upload (docs/decisions.md).
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that begins with a read and then writes fails if another one has written in between. So writers take
    # the write lock at the beginning.
    if connection.get_execution_options().get("upgrade"):
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")  # a changed table is copied and dropped: nothing cascades
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("write") else "BEGIN")


def _note_use(_: Any, entry: ConnectionPoolEntry) -> None:
    entry.info["used"] = time.monotonic()


def _check_idle(dialect: Dialect, connection: Any, entry: ConnectionPoolEntry, _: Any) -> None:
    """Replace a connection that the other side has closed since its last use. One that was just used is not asked: that
    would be a fifth of all messages to the database."""
    if time.monotonic() - entry.info.get("used", float("-inf")) > _IDLE:
        try:
            dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error as error:
            raise DisconnectionError from error


@contextmanager
def _explained(url: str) -> Iterator[None]:
    try:
        yield
    except (DBAPIError, TimeoutError) as error:
        reason = str(getattr(error, "orig", error)).splitlines()[0] if str(error) else type(error).__name__
        if "disk is full" in reason or "No space left" in reason:
            raise UnderstudyError(
                "disk-full", "The server's disk is full.", "Try again later, or delete what you no longer need."
            ) from error
        if isinstance(error, TimeoutError) or type(error).__name__ in ("OperationalError", "InterfaceError"):
            raise UnderstudyError(
                "database-unavailable",
                "The server's database can't be reached at the moment.",
                "Try again in a minute; nothing that was accepted is lost.",
            ) from error
        raise


def _shown(url: str) -> str:
    """The URL without its password."""
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2].partition('?')[0]}"
