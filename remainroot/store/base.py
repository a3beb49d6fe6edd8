# SPDX-License-Identifier: GPL-2.0-or-later
"""What a file's owner is, and what a store of owners does."""

from __future__ import annotations

from stat import S_IFMT, S_ISDIR

from remainroot.kernel import birth_time, file_handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os


class Owner:
    """Who a file belongs to. Immutable.

    `mode` is the whole st_mode to show, or 0: what the disk says. Only a placeholder (a device node that is a regular
    file on disk) has a mode and `rdev` of its own.
    """

    __slots__ = ("gid", "mode", "rdev", "uid")

    def __init__(self, uid: int, gid: int, mode: int = 0, rdev: int = 0) -> None:
        self.uid = uid
        self.gid = gid
        self.mode = mode
        self.rdev = rdev

    def shown(self, st: os.stat_result) -> Owner:
        """This owner with the mode and device number of the file on disk where it has none of its own."""
        return self if self.mode else Owner(self.uid, self.gid, st.st_mode, st.st_rdev)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Owner) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[int, int, int, int]:
        return (self.uid, self.gid, self.mode, self.rdev)

    def __repr__(self) -> str:
        return f"Owner({self.uid}:{self.gid} mode={self.mode:o} rdev={self.rdev:#x})"


def identity(fd: int) -> bytes:
    """What tells the file behind `fd` from another that gets its inode number later.

    Its handle, else its birth time.
    """
    return file_handle(fd) or birth_time(fd)


class Store:
    """Overrides: the owners of the files whose fake owner is not what everybody sees anyway.

    A file is named by an O_PATH descriptor `fd` and the `st` that fstat gave for it. `put` and `forget` return when
    the change is as safe as the backend makes it, or raise the OSError the task should see (ENOSPC).
    """

    def __init__(self) -> None:
        self.empty = True
        """No override was ever recorded: no lookup can hit."""
        self.group_directories = False
        """A directory may have a fake group, which a set-gid bit on it would pass on."""
        self.placeholders = False
        """A device placeholder may exist."""

    def note(self, st: os.stat_result, owner: Owner) -> None:
        """Keep the hints above true: called by backends for every override they record."""
        self.empty = False
        if owner.gid and S_ISDIR(st.st_mode):
            self.group_directories = True
        if owner.mode and S_IFMT(owner.mode) != S_IFMT(st.st_mode):
            self.placeholders = True

    def get(self, fd: int, st: os.stat_result) -> Owner | None:
        """The override of this file, or None."""
        raise NotImplementedError

    def put(self, fd: int, st: os.stat_result, owner: Owner) -> None:
        """Record that this file belongs to `owner`."""
        raise NotImplementedError

    def forget(self, fd: int, st: os.stat_result) -> None:
        """Remove this file's override, if it has one."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing will be asked any more."""
