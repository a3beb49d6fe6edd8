# SPDX-License-Identifier: GPL-2.0-or-later
"""Owners that last: on the files themselves where the kernel lets them carry it, else in a database.

Which of the two is asked follows from the file, so that one question is enough for nearly all: a regular file or
directory of ours, on a file system that has user attributes, has its owner in an attribute or has none.

Where an attribute finds no room (a full disk, a file that has as many as its file system lets it have), a real root
could give the file away all the same: its owner goes to the database, too, and from then on that is asked about each
file. A file beside the database tells later runs.
"""

from __future__ import annotations

import os
from errno import E2BIG, EACCES, EDQUOT, ENODATA, ENOSPC, EOPNOTSUPP, EPERM, EROFS
from stat import S_ISDIR, S_ISREG

from remainroot.errors import RemainrootError
from remainroot.store.base import FLAGS, Owner, Store
from remainroot.store.memory import MemoryStore
from remainroot.store.sqlite import SqliteStore
from remainroot.store.xattr import ATTRIBUTES, XattrStore, carries_xattrs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_XATTR_REPLACE: Final = 2
_REFUSED: Final = (EOPNOTSUPP, EPERM, EACCES)
_NO_ROOM: Final = (ENOSPC, EDQUOT, E2BIG)
CROWDED: Final = "-crowded"
"""Ends the name of the file beside the database that says: a file may have its owner there for want of room."""
SYSTEM_DIRECTORY: Final = "/var/lib/remainroot"
DATABASE: Final = "owners.db"


def default_database() -> str:
    """Where the database lies if nobody says: the first of these directories that is there or can be made.

    $XDG_STATE_HOME/remainroot if that is set; /var/lib/remainroot for root; ~/.local/state/remainroot.
    RemainrootError if there is none.
    """
    home = os.path.expanduser("~")
    state = os.environ.get("XDG_STATE_HOME", "")
    candidates = [f"{state}/remainroot"] if state.startswith("/") else []
    if os.geteuid() == 0:
        candidates.append(SYSTEM_DIRECTORY)
    if home.startswith("/"):
        candidates.append(f"{home}/.local/state/remainroot")
    for directory in candidates:
        if _can_hold(directory):
            return f"{directory}/{DATABASE}"
    raise RemainrootError(
        f"store: no place for the database (tried {', '.join(candidates)}); name one with --store durable:FILE"
    )


def _can_hold(directory: str) -> bool:
    """Whether a file can be made in `directory`, as it is or once it and its parents are made."""
    while not os.path.isdir(directory):
        if os.path.lexists(directory):
            return False
        directory = os.path.dirname(directory)
    return os.access(directory, os.W_OK | os.X_OK)


class DurableStore(Store):
    """An XattrStore first; for what it cannot keep a SqliteStore, or (no `database`) memory."""

    xattrs: tuple[str, ...] = XattrStore.xattrs

    def __init__(self, database: str, spelling: str = "rootlesscontainers", *, always_both: bool = False) -> None:
        super().__init__()
        self.assume_anything()
        self.xattr = XattrStore(spelling)
        self.other: Store = SqliteStore(database) if database else MemoryStore()
        self.keeps_modes = self.xattr.keeps_modes
        self._uid = os.geteuid()
        self._crowded = f"{os.path.abspath(database)}{CROWDED}" if database else ""
        self._always_both = always_both = always_both or os.path.exists(self._crowded)
        self.carried = self._uid == 0 and not always_both
        self.carrying: dict[int, bool] = {}
        """By device number: whether its file system knows user attributes."""

    def _carries(self, fd: int, st: os.stat_result) -> bool:
        """Whether an attribute is the only place where this file's owner can be.

        To replace an attribute that is not there changes nothing, and tells whether the file system knows any.
        """
        if st.st_uid != self._uid or self._always_both:
            return False
        known = self.carrying.get(st.st_dev)
        if known is None:
            try:
                os.setxattr(f"/proc/self/fd/{fd}", ATTRIBUTES, b"", _XATTR_REPLACE)
            except OSError as error:
                if error.errno not in (ENODATA, EOPNOTSUPP, EROFS):
                    return False
                known = self.carrying[st.st_dev] = error.errno != EOPNOTSUPP
            else:
                known = True
        return known

    def forget_devices(self) -> None:
        """Whether files can carry attributes is to be found out again."""
        self.carrying.clear()
        self.other.forget_devices()

    # -- owners

    def get(self, fd: int, st: os.stat_result) -> Owner | None:
        """Ask the file, and the database where that may know better."""
        if S_ISREG(st.st_mode) or S_ISDIR(st.st_mode):
            found = self.xattr.get(fd, st)
            if found is not None or self._carries(fd, st):
                return found
        return self.other.get(fd, st)

    def put(self, fd: int, st: os.stat_result, owner: Owner) -> None:
        """Write it on the file, else in the database."""
        if carries_xattrs(st):
            try:
                self.xattr.put(fd, st, owner)
            except OSError as error:
                if error.errno in _NO_ROOM:
                    self._ask_both()
                    self.other.put(fd, st, owner)
                    self.xattr.forget(fd, st)
                    return
                if error.errno not in _REFUSED:
                    raise
            else:
                return
        self.other.put(fd, st, owner)

    def _ask_both(self) -> None:
        """From now on the database may know of any file. OSError if later runs cannot be told."""
        if not self._always_both and self._crowded:
            os.makedirs(os.path.dirname(self._crowded), 0o700, exist_ok=True)
            os.close(os.open(self._crowded, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._always_both = True
        self.carried = False

    def forget(self, fd: int, st: os.stat_result) -> None:
        """Remove it from wherever it may be."""
        if carries_xattrs(st):
            self.xattr.forget(fd, st)
            if self._carries(fd, st):
                return
        self.other.forget(fd, st)

    # -- attributes

    def hides(self, name: str) -> bool:
        """The attribute store's own names."""
        return self.xattr.hides(name)

    def attributes(self, fd: int, st: os.stat_result) -> dict[str, bytes]:
        """What is kept for this file, here and there."""
        kept = self.xattr.attributes(fd, st) if carries_xattrs(st) else {}
        if not carries_xattrs(st) or not self._carries(fd, st):
            kept = self.other.attributes(fd, st) | kept
        return kept

    def put_attribute(self, fd: int, st: os.stat_result, name: str, value: bytes) -> None:
        """Keep one, as an override is kept."""
        if carries_xattrs(st):
            try:
                self.xattr.put_attribute(fd, st, name, value)
            except OSError as error:
                if error.errno in _NO_ROOM and name == FLAGS:
                    self._ask_both()
                    self.other.put_attribute(fd, st, name, value)
                    return
                if error.errno not in _REFUSED:
                    raise
            else:
                return
        self.other.put_attribute(fd, st, name, value)

    def forget_attribute(self, fd: int, st: os.stat_result, name: str) -> None:
        """Remove one."""
        self.xattr.forget_attribute(fd, st, name)
        if not carries_xattrs(st) or not self._carries(fd, st):
            self.other.forget_attribute(fd, st, name)

    def close(self) -> None:
        """Close the database."""
        self.other.close()
