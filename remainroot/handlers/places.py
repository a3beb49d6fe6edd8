# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a task is about to create something: the directory, the name, and who the new file will belong to."""

from __future__ import annotations

import os
from stat import S_IFREG, S_IMODE, S_ISDIR, S_ISGID, S_ISLNK, S_ISREG, S_IXGRP

from remainroot import acl
from remainroot.credentials import CAP_FSETID
from remainroot.kernel import AT_FDCWD, EXHAUSTED, O_CLOEXEC, O_PATH, untimed_status
from remainroot.store.base import SET_ID, Owner
from remainroot.world import ON_DISK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call

_O_PATH_NOFOLLOW: Final = O_PATH | O_CLOEXEC | os.O_NOFOLLOW
_PERMISSIONS: Final = 0o777


class Place:
    """Where something is to be created: the directory (an O_PATH descriptor), the name, and who it will belong to."""

    __slots__ = ("acl", "call", "directory", "group", "name", "owner", "set_gid", "set_gid_kept")

    def __init__(self, call: Call, directory: int, name: bytes) -> None:
        self.call = call
        self.enter(directory, name)

    def enter(self, directory: int, name: bytes) -> None:
        """It is `name` in `directory` (now ours to close)."""
        call = self.call
        self.directory = directory
        self.name = name
        st = untimed_status(directory)
        creds = call.creds
        world = call.world
        on_disk = bool(st.st_mode & S_ISGID)
        self.set_gid, self.group = False, creds.fsgid
        if on_disk or not (world.is_ours(st) and st.st_gid == world.real_gid):
            shown = world.owner(directory, st)
            if shown.mode & S_ISGID:
                self.set_gid, self.group = True, shown.gid
        self.set_gid_kept = self.set_gid and not on_disk  # of another's directory, or group: in the override alone
        self.owner = Owner(creds.fsuid, self.group)
        store = call.world.store
        self.acl = None if store.no_attributes else store.attributes(directory, st).get(acl.DEFAULT)

    @property
    def ordinary(self) -> bool:
        """The kernel would give it the right owner, and the right access list."""
        owner = self.owner
        settings = self.call.world.settings
        shows_otherwise = settings.whole_identity or settings.unknown_is_real
        if self.set_gid_kept or self.acl is not None or shows_otherwise:
            return False
        return owner.uid == 0 and owner.gid == 0

    def leaves_to_kernel(self, mode: int) -> bool:
        """The kernel would make a regular file of this mode as it is to be."""
        return self.ordinary and not mode & SET_ID and self.call.world.workable(mode) == mode

    def owner_of(self, mode: int) -> Owner:
        """Who a new regular file of this mode will belong to; set-id bits that root gives are root's to keep."""
        kept = mode & SET_ID and self.call.creds.capable_of(CAP_FSETID, *self.owner.ids)
        if kept or self.call.world.workable(mode) != mode:
            return Owner(self.owner.uid, self.owner.gid, S_IFREG | mode)
        return self.owner

    def led_on(self) -> bool:
        """Whether the name is a symbolic link to nothing: then go on to where it leads (open(2) creates the target)."""
        try:
            target = os.readlink(self.name, dir_fd=self.directory)
            directory, name = self.call.world.files.parent(self.call.tid, AT_FDCWD, target, at=self.directory)
        except OSError:
            return False
        os.close(self.directory)
        self.enter(directory, name)
        return True

    def exists(self) -> bool:
        """Whether the name is taken, be it by a link to nothing."""
        try:
            os.stat(self.name, dir_fd=self.directory, follow_symlinks=False)
        except OSError:
            return False
        return True

    def mode(self, mode: int) -> int:
        """The mode of a new file that is no directory.

        A stranger to the directory's group gets no set-gid program there.
        """
        both = S_ISGID | S_IXGRP
        if self.set_gid and mode & both == both:
            creds = self.call.creds
            if not creds.in_group(self.group) and not creds.capable_inside(CAP_FSETID):
                mode &= ~S_ISGID
        return mode

    def cut(self, mode: int, mask: int) -> int:
        """What the directory's default list leaves of the mode, or where it has none, the task's umask: acl(5)."""
        try:
            entries = acl.parse(self.acl or os.getxattr(f"/proc/self/fd/{self.directory}", acl.DEFAULT))
        except OSError:
            entries = None
        return mode & (~mask if entries is None else acl.mode_of(entries) | ~_PERMISSIONS)

    def make_whole(self, mode: int, owner: Owner) -> bool:
        """Make a regular file that has its owner before it has its name, so that nothing can come between.

        False where that cannot be done: no nameless files there, or something is wrong with the name.
        """
        fd = -1
        try:
            fd = os.open(f"/proc/self/fd/{self.directory}", os.O_TMPFILE | os.O_RDWR | O_CLOEXEC, mode)
            self.record_open(fd, owner)
            os.link(f"/proc/self/fd/{fd}", self.name, dst_dir_fd=self.directory)
        except OSError:
            return False
        finally:
            if fd >= 0:
                os.close(fd)
        return True

    def record(self, owner: Owner) -> None:
        """Record `owner` for what was made here; it is removed if that fails."""
        try:
            fd = os.open(self.name, _O_PATH_NOFOLLOW, dir_fd=self.directory)
            try:
                self.record_open(fd, owner)
            finally:
                os.close(fd)
        except OSError:
            self.remove()
            raise

    def remove(self) -> None:
        """Undo the creation of what could not be recorded."""
        try:
            os.unlink(self.name, dir_fd=self.directory)
        except IsADirectoryError:
            os.rmdir(self.name, dir_fd=self.directory)

    def record_open(self, fd: int, owner: Owner) -> None:
        """Record `owner`, and the names that the directory's default list hands down (the kernel does the rest)."""
        store = self.call.world.store
        st = untimed_status(fd)
        if self.set_gid_kept and S_ISDIR(st.st_mode):
            os.chmod(f"/proc/self/fd/{fd}", S_IMODE(st.st_mode) | S_ISGID)  # as the kernel would pass it on
            st = untimed_status(fd)
        default = self.call.world.default_owner(st)
        if owner.mode or owner.uid != default.uid or owner.gid != default.gid:
            store.put(fd, st, owner)
        if S_ISREG(st.st_mode) and st.st_mode & SET_ID and not owner.mode:
            self.call.world.loose_set_ids[st.st_dev, st.st_ino] = ON_DISK
        if self.acl is not None and not S_ISLNK(st.st_mode):
            store.put_attribute(fd, st, acl.ACCESS, self.acl)
            if S_ISDIR(st.st_mode):
                store.put_attribute(fd, st, acl.DEFAULT, self.acl)


def place_of(call: Call, dirfd: int, path: bytes) -> Place | None:
    """The place `path` names, or None where the kernel should answer (it says what is wrong with the path)."""
    try:
        directory, name = call.world.files.parent(call.tid, dirfd, path)
    except OSError as error:
        if error.errno in EXHAUSTED:
            raise
        return None
    return Place(call, directory, name)
