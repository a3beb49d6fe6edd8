# SPDX-License-Identifier: GPL-2.0-or-later
"""Owners kept in a database, for the files that cannot carry extended attributes of ours.

A file is known by its handle (inode number and generation, name_to_handle_at(2)) and the time of its birth, not by its
device number, which may be another after the next mount. A file that gets the inode number of a removed one is
another key, and the old row is never met again (`remainroot owners prune` removes it).

On overlayfs the inode number of a file that was copied up changes with the next mount where the origin cannot be
recorded (as in a user namespace). A file there that is not found is looked for by the path and birth time it had under
another mount.

The journal is a write-ahead log without a flush for each change: what was acknowledged survives the death of every
process, and after a power cut the database is whole and lacks at most the last changes.
"""

from __future__ import annotations

import os
from _struct import Struct
from errno import EIO, ENOSPC, EROFS
from time import monotonic, sleep

from remainroot.errors import RemainrootError
from remainroot.kernel import file_handle, fs_type, raw_statx
from remainroot.store.base import Owner, Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from typing import Final, TypeVar

    T = TypeVar("T")

_MAGIC: Final = b"SQLite format 3\0"
_APPLICATION: Final = 0x7265_6D72
"""PRAGMA application_id of our databases: "remr"."""
_VERSION: Final = 1

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS owner (
  file BLOB PRIMARY KEY, uid INTEGER NOT NULL, gid INTEGER NOT NULL, mode INTEGER NOT NULL, rdev INTEGER NOT NULL,
  path BLOB NOT NULL, birth BLOB, mount INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS moved ON owner (birth) WHERE mount IS NOT NULL;
CREATE TABLE IF NOT EXISTS attribute (
  file BLOB NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL, path BLOB NOT NULL, PRIMARY KEY (file, name)
) WITHOUT ROWID;
"""

_ALL: Final = "SELECT file, path, uid, gid, mode, rdev FROM owner"

_STATX_BTIME: Final = 0x800
_STATX_MNT_ID: Final = 0x1000
_STATX_MNT_ID_UNIQUE: Final = 0x4000
_OVERLAYFS: Final = 0x794C7630
_FUSE: Final = 0x65735546
_mask: Final = Struct("=I")
_U64: Final = Struct("=Q")
_BUSY_SECONDS: Final = 10


class File:
    """What a row's key is made of."""

    __slots__ = ("birth", "key", "mount")

    def __init__(self, key: bytes, birth: bytes, mount: int | None) -> None:
        self.key = key
        self.birth = birth
        self.mount = mount
        """On overlayfs, the mount that the inode number in the key is of; else None."""


_moving: dict[int, int] = {}
"""Per device number: 0, or the magic number of a file system whose inode numbers or handles are not for good."""


def file_of(fd: int, st: os.stat_result) -> File:
    """The key of the file behind `fd`."""
    dev = st.st_dev
    moving = _moving.get(dev)
    if moving is None:
        kind = fs_type(fd) & 0xFFFF_FFFF
        moving = _moving[dev] = kind if kind in (_OVERLAYFS, _FUSE) else 0
    if not moving:
        raw = raw_statx(fd, 0, _STATX_BTIME)
        birth = raw[80:92]
        return File((file_handle(fd) or _U64.pack(st.st_ino)) + birth, birth, None)
    raw = raw_statx(fd, 0, _STATX_BTIME | _STATX_MNT_ID_UNIQUE)
    birth = raw[80:92]
    if moving == _FUSE:  # a handle there holds a number of the server's that lasts as long as its memory of the file
        return File(_U64.pack(st.st_ino) + birth, birth, None)
    mount = _U64.unpack_from(raw, 144)[0] if _mask.unpack_from(raw, 0)[0] & _STATX_MNT_ID_UNIQUE else dev
    return File((file_handle(fd) or _U64.pack(st.st_ino)) + birth, birth, mount)


def path_of(fd: int) -> bytes:
    """Where the file lies, as far as the kernel tells us."""
    try:
        return os.readlink(b"/proc/self/fd/%d" % fd)
    except OSError:
        return b""


def is_database(path: str) -> bool:
    """Whether `path` is there, and a database. RemainrootError if it is there and is none."""
    try:
        with open(path, "rb", buffering=0) as file:
            head = file.read(len(_MAGIC))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise RemainrootError(f"store: cannot read {path}: {error.strerror}") from None
    if head and head != _MAGIC:
        raise RemainrootError(f"store: {path} is not a database; name another file, or move it away")
    return bool(head)


def _code(error: sqlite3.Error) -> int:
    """Which of SQLite's primary results it is; 0 for an error of the binding's own."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


class Database:
    """The connection, opened when it is first needed: importing sqlite3 costs 5 ms that most runs can save."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self._connection: sqlite3.Connection | None = None
        is_database(self.path)

    def missing(self) -> bool:
        """There is no database, so nothing is in it."""
        return self._connection is None and not os.path.exists(self.path)

    def open(self) -> sqlite3.Connection:
        """The connection; makes the database and its directory if need be."""
        connection = self._connection
        if connection is None:
            os.makedirs(os.path.dirname(self.path), 0o700, exist_ok=True)
            connection = self._connection = self._patiently(self._connect)
        return connection

    def _patiently(self, act: Callable[[], T]) -> T:
        """What `act` gives; again and again while others are at the database. OSError as `failure` says.

        SQLite itself waits for them, but not where one makes the database or its log, or folds the log in; and it gives
        up (SQLITE_PROTOCOL) where they were too many at the log.
        """
        import sqlite3

        busy = sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL

        end = monotonic() + _BUSY_SECONDS
        while True:
            try:
                return act()
            except sqlite3.Error as error:
                if _code(error) not in busy or monotonic() > end:
                    raise self.failure(error) from error
            sleep(0.01)

    def _connect(self) -> sqlite3.Connection:
        import sqlite3

        mask = os.umask(0o077)
        try:
            connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
        finally:
            os.umask(mask)
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Set it up, and the tables of a new database."""
        connection.text_factory = bytes
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise RemainrootError(f"store: {self.path} is of a newer remainroot (format {version})")
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("PRAGMA synchronous = NORMAL")
        if version < _VERSION:
            marks = f"PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {_VERSION}"
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {marks}; COMMIT")

    def failure(self, error: sqlite3.Error) -> OSError:
        """The OSError that a task sees for `error`: ENOSPC, EROFS, else EIO, and the user is told of the last."""
        import sqlite3

        number = {sqlite3.SQLITE_FULL: ENOSPC, sqlite3.SQLITE_READONLY: EROFS}.get(_code(error), EIO)
        if number == EIO:
            os.write(2, f"remainroot: store {self.path}: {error}\n".encode(errors="surrogateescape"))
        return OSError(number, os.strerror(number))

    def all(self, sql: str, *values: bytes | str | int | None) -> list[tuple[bytes, ...]]:
        """The rows of a query."""
        connection = self.open()
        return self._patiently(lambda: connection.execute(sql, values).fetchall())

    def change(self, sql: str, *values: bytes | str | int | None) -> int:
        """Make a change, committed on return; the number of rows it touched."""
        connection = self.open()
        return self._patiently(lambda: connection.execute(sql, values).rowcount)

    def close(self) -> None:
        """Close the connection; the last one of all folds the log into the database."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Row:
    """A row as the tools see it."""

    __slots__ = ("file", "owner", "path")

    def __init__(self, file: bytes, path: bytes, owner: Owner) -> None:
        self.file = file
        self.path = path
        self.owner = owner


class SqliteStore(Store):
    """Every override in one database. Nothing is cached: another supervisor's change is seen at once."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.assume_anything()
        self.database = Database(path)

    def forget_devices(self) -> None:
        """Whether inode numbers are for good is to be found out again."""
        _moving.clear()

    # -- owners

    def get(self, fd: int, st: os.stat_result) -> Owner | None:
        """The row of this file."""
        database = self.database
        if database.missing():
            return None
        file = file_of(fd, st)
        rows = database.all("SELECT uid, gid, mode, rdev FROM owner WHERE file = ?", file.key)
        if rows:
            uid, gid, mode, rdev = rows[0]
            return Owner(int(uid), int(gid), int(mode), int(rdev))
        return None if file.mount is None else self._get_moved(fd, file)

    def _get_moved(self, fd: int, file: File) -> Owner | None:
        """The override that a file on overlayfs got under another mount, recorded anew under this one."""
        rows = self.database.all(
            "SELECT uid, gid, mode, rdev, file FROM owner"
            " WHERE birth = ? AND mount IS NOT NULL AND mount != ? AND path = ?",
            file.birth, file.mount, path_of(fd),
        )  # fmt: skip
        if len(rows) != 1:
            return None
        uid, gid, mode, rdev, old = rows[0]
        owner = Owner(int(uid), int(gid), int(mode), int(rdev))
        change = self.database.change
        change("UPDATE OR REPLACE owner SET file = ?, mount = ? WHERE file = ?", file.key, file.mount, old)
        change("UPDATE OR REPLACE attribute SET file = ? WHERE file = ?", file.key, old)
        return owner

    def put(self, fd: int, st: os.stat_result, owner: Owner) -> None:
        """Write the row."""
        file = file_of(fd, st)
        self.database.change(
            "INSERT OR REPLACE INTO owner VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            file.key, owner.uid, owner.gid, owner.mode, owner.rdev, path_of(fd), file.birth, file.mount,
        )  # fmt: skip

    def forget(self, fd: int, st: os.stat_result) -> None:
        """Remove the row."""
        if self.get(fd, st) is not None:
            self.database.change("DELETE FROM owner WHERE file = ?", file_of(fd, st).key)

    # -- attributes

    def attributes(self, fd: int, st: os.stat_result) -> dict[str, bytes]:
        """All rows of this file."""
        if self.database.missing():
            return {}
        rows = self.database.all("SELECT name, value FROM attribute WHERE file = ?", file_of(fd, st).key)
        return {name.decode(errors="surrogateescape"): value for name, value in rows}

    def put_attribute(self, fd: int, st: os.stat_result, name: str, value: bytes) -> None:
        """Write one."""
        raw = name.encode(errors="surrogateescape")
        sql = "INSERT OR REPLACE INTO attribute VALUES (?, ?, ?, ?)"
        self.database.change(sql, file_of(fd, st).key, raw, value, path_of(fd))

    def forget_attribute(self, fd: int, st: os.stat_result, name: str) -> None:
        """Remove one."""
        if not self.database.missing():
            raw = name.encode(errors="surrogateescape")
            self.database.change("DELETE FROM attribute WHERE file = ? AND name = ?", file_of(fd, st).key, raw)

    # -- all of it

    def rows(self) -> Iterator[Row]:
        """Every override, in no order."""
        if not self.database.missing():
            for file, path, uid, gid, mode, rdev in self.database.all(_ALL):
                yield Row(file, path, Owner(int(uid), int(gid), int(mode), int(rdev)))

    def remove(self, file: bytes) -> None:
        """Remove the override and the attributes of a row."""
        self.database.change("DELETE FROM owner WHERE file = ?", file)
        self.database.change("DELETE FROM attribute WHERE file = ?", file)

    def close(self) -> None:
        """Close the database."""
        self.database.close()
