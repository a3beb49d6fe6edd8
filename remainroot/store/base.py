# SPDX-License-Identifier: GPL-2.0-or-later
"""What a file's owner is, and what a store of owners does."""

from __future__ import annotations

from stat import S_IFMT, S_ISDIR, S_ISGID, S_ISUID

from remainroot.kernel import birth_time, file_handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from typing import Final

    from remainroot._fast import Keys, Owners


SET_ID: Final = S_ISUID | S_ISGID
"""The bits of a mode that let a program run as its owner, or its group."""
FLAGS: Final = "flags"
"""The attribute for the flags of chattr(1) that are kept for a file: 4 bytes, little-endian, of IMMUTABLE and APPEND.

No extended attribute can have this name, for theirs begin with a namespace.
"""
IMMUTABLE: Final = 0x10
APPEND: Final = 0x20
"""FS_IMMUTABLE_FL and FS_APPEND_FL, and STATX_ATTR_IMMUTABLE and STATX_ATTR_APPEND."""


class Owner:
    """Who a file belongs to. Immutable.

    `mode` is the whole st_mode to show, or 0: what the disk says. A placeholder (a device node that is a regular file
    on disk) has its mode and `rdev` here. So has a regular file to which root gave set-id bits: in a user namespace the
    kernel takes them away when root writes to it, which real root's capabilities prevent. And so has what root itself
    could not use with its mode on disk (see World.workable), and a file that really is another's, whose mode is not
    ours to change. An id that is `codec.KEEP` is the one on disk.
    """

    __slots__ = ("gid", "mode", "rdev", "uid")

    def __init__(self, uid: int, gid: int, mode: int = 0, rdev: int = 0) -> None:
        self.uid = uid
        self.gid = gid
        self.mode = mode
        self.rdev = rdev

    @property
    def ids(self) -> tuple[int, int]:
        """User and group."""
        return self.uid, self.gid

    def shown(self, st: os.stat_result) -> Owner:
        """This owner with the mode and device number of the file on disk where it has none of its own."""
        if is_placeholder(self, st):
            return self
        return Owner(self.uid, self.gid, self.mode or st.st_mode, st.st_rdev)

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


def is_placeholder(owner: Owner, st: os.stat_result) -> bool:
    """Whether `owner` makes of the file on disk one of another type."""
    return owner.mode != 0 and S_IFMT(owner.mode) != S_IFMT(st.st_mode)


class Store:
    """Overrides: the owners of the files whose fake owner is not what everybody sees anyway.

    A file is named by an O_PATH descriptor `fd` and the `st` that fstat gave for it. What changes something returns
    when the change is as safe as the backend makes it, or raises the OSError the task should see (ENOSPC).

    A store also keeps attributes: extended attributes that real root could give to a file and we cannot, and FLAGS.
    They have nothing to do with how the store itself keeps owners.
    """

    xattrs: tuple[str, ...] = ()
    """The extended attributes that owners are written in, on the files that can carry them."""

    carried = False
    """A regular file or directory of root's, where there are user attributes, has its owner in `xattrs` or has none:
    the compiled loop looks itself, and writes one where it is `user.rootlesscontainers` alone (not `keeps_modes`)."""

    table: Owners | None = None
    """All overrides, where they are in a table that the compiled loop reads and writes by itself."""

    def __init__(self) -> None:
        self._keys: Keys | None = None
        self.empty = True
        """No override was ever recorded: no lookup can hit."""
        self.group_directories = False
        """A directory may have a fake group, which a set-gid bit on it would pass on, or that bit in its override."""
        self.default_lists = False
        """A directory may have a default access list of which names are kept here, to pass on to what is made in it."""
        self.placeholders = False
        """An override may have a mode of its own."""
        self.no_attributes = True
        """No attribute was ever recorded: no lookup can hit."""
        self.keeps_modes = False
        """An override holds a copy of the file's mode: after a chmod of a file that has one, `put_after_chmod`."""

    def note(self, st: os.stat_result, owner: Owner) -> None:
        """Keep the hints above true: called by backends for every override they record."""
        self.empty = False
        if self.table is None:
            self.note_key(st)
        if S_ISDIR(st.st_mode) and (owner.gid or owner.mode & S_ISGID):
            self.group_directories = True
        if owner.mode:
            self.placeholders = True

    def note_key(self, st: os.stat_result) -> None:
        """This file is not to be answered about without us (`watched_by`)."""
        if self._keys is not None:
            self._keys.add(st.st_dev, st.st_ino)

    def assume_anything(self) -> None:
        """Set the hints for a store that holds what earlier or other runs recorded."""
        self.empty = False
        self.group_directories = True
        self.default_lists = True
        self.placeholders = True
        self.no_attributes = False

    def watched_by(self, keys: Keys) -> bool:
        """Tell the compiled loop (`remainroot.quick`) which files it need not ask about; called before it runs.

        From now on `note` puts each file that gets an override or an attribute into `keys` (overrides in a `table` are
        found there). True is the promise that no file has one that is not there; else others write to the same store.
        """
        self._keys = keys
        return False

    def get(self, fd: int, st: os.stat_result) -> Owner | None:
        """The override of this file, or None."""
        raise NotImplementedError

    def put(self, fd: int, st: os.stat_result, owner: Owner) -> None:
        """Record that this file belongs to `owner`."""
        raise NotImplementedError

    def put_after_chmod(self, fd: int, st: os.stat_result, owner: Owner) -> None:
        """As `put`, of a file whose mode has just been changed: where `owner` has none, no former one is kept."""
        self.put(fd, st, owner)

    def forget(self, fd: int, st: os.stat_result) -> None:
        """Remove this file's override, if it has one."""
        raise NotImplementedError

    # -- attributes

    def hides(self, name: str) -> bool:
        """Whether the extended attribute `name` is the store's own, which no task is to see or touch."""
        del name
        return False

    def attributes(self, fd: int, st: os.stat_result) -> dict[str, bytes]:
        """All attributes kept for this file."""
        raise NotImplementedError

    def put_attribute(self, fd: int, st: os.stat_result, name: str, value: bytes) -> None:
        """Keep `value` as this file's attribute `name`."""
        raise NotImplementedError

    def forget_attribute(self, fd: int, st: os.stat_result, name: str) -> None:
        """Remove this file's attribute `name`, if it is kept."""
        raise NotImplementedError

    def flags(self, fd: int, st: os.stat_result) -> int:
        """The flags kept for this file."""
        if self.no_attributes:
            return 0
        return int.from_bytes(self.attributes(fd, st).get(FLAGS, b""), "little") & (IMMUTABLE | APPEND)

    def forget_devices(self) -> None:
        """What is known of a device may be true of another that has its number now."""

    # -- the end

    def save(self) -> None:
        """CMD has ended: what is to be written then is written. May be called again when the last task has gone."""

    def close(self) -> None:
        """Nothing will be asked any more."""
