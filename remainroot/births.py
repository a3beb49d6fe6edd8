# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that the kernel is about to make for a task and whose owner is recorded as soon as they are there.

bind(2) needs this: a socket's name must be made by the task's own call, for the address stays with the socket. So does
whatever a task makes that has confined itself with Landlock, what openat2(2) makes under restrictions, and the whiteout
that renameat2(2) leaves behind. The next call of anybody that asks for an owner, or the next one of the task itself,
finds the new file and records it.
"""

from __future__ import annotations

import os
from errno import EROFS
from stat import S_IFDIR, S_IFMT, S_ISDIR, S_ISLNK

from remainroot import acl
from remainroot.kernel import O_CLOEXEC, O_PATH, fs_type, is_mount_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from remainroot.store.base import Owner
    from remainroot.world import World

_IN_MEMORY: Final = (0x0102_1994, 0x8584_58F6, 0x1980_0202)
"""TMPFS_MAGIC, RAMFS_MAGIC, MQUEUE_MAGIC: statfs(2)."""
_DEVPTS: Final = 0x1CD1


class _Birth:
    __slots__ = ("access", "before", "kind", "name", "owner", "parent", "root", "then", "tid")

    def __init__(
        self,
        tid: int,
        parent: int,
        name: bytes,
        owner: Owner,
        access: bytes | None,
        before: os.stat_result | None,
        kind: int,
        then: Callable[[os.stat_result], None] | None,
    ) -> None:
        self.kind = kind
        self.then = then
        self.tid = tid
        self.parent = parent
        self.name = name
        self.owner = owner
        self.access = access
        self.before = before
        self.root = False

    def is_what_was(self, st: os.stat_result) -> bool:
        """Whether the file with this status is the one that something is to be mounted on."""
        before = self.before
        return before is not None and (before.st_dev, before.st_ino) == (st.st_dev, st.st_ino)


class Births:
    """The files expected. `pending` is false when there are none, which is almost always."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.pending: list[_Birth] = []

    def expect(
        self,
        tid: int,
        parent: int,
        name: bytes,
        owner: Owner,
        access: bytes | None = None,
        kind: int = 0,
        *,
        mounted: bool = False,
        then: Callable[[os.stat_result], None] | None = None,
    ) -> None:
        """Task `tid` is making `name` in the directory `parent` (now ours to close); it will be `owner`'s.

        `access`: the list that names whom the directory's default list names, or None. `kind`: the type (S_IFMT) that
        it must be of, for another file may have the name first, or instead; 0: any. `mounted`: it is there, and what
        is expected is mounted on it; then an OSError, and nothing to expect, where it is not. `then` is told its status
        instead of recording an owner.
        """
        try:
            before = os.stat(name, dir_fd=parent) if mounted else None
        except OSError:
            os.close(parent)
            raise
        self.pending.append(_Birth(tid, parent, name, owner, access, before, kind, then))

    def expect_root(self, tid: int, owner: Owner, then: Callable[[os.stat_result], None] | None = None) -> None:
        """Task `tid` is about to be given a descriptor of the root of a new file system, which will be `owner`'s.

        If that is one in memory; another has owners of its own. It will be the lowest number that is free. `then` is
        told its status instead of recording an owner.
        """
        parent = os.open(f"/proc/{tid}/fd", O_PATH | O_CLOEXEC | os.O_DIRECTORY)
        taken = {int(name) for name in os.listdir(f"/proc/{tid}/fd")}
        number = next(number for number in range(len(taken) + 1) if number not in taken)
        birth = _Birth(tid, parent, b"%d" % number, owner, None, None, S_IFDIR, then)
        birth.root = True
        self.pending.append(birth)

    def settle(self, tid: int) -> None:
        """Record those that are there now. An expectation of `tid` itself is over: its call has ended."""
        waiting, self.pending = self.pending, []
        for birth in waiting:
            if not self._adopt(birth) and birth.tid != tid and os.path.exists(f"/proc/{birth.tid}"):
                self.pending.append(birth)
            else:
                os.close(birth.parent)

    def _adopt(self, birth: _Birth) -> bool:
        try:
            fd = os.open(birth.name, O_PATH | O_CLOEXEC | (0 if birth.root else os.O_NOFOLLOW), dir_fd=birth.parent)
        except OSError:
            return False
        try:
            st = os.fstat(fd)
            kinds = _IN_MEMORY if birth.then is None else (_DEVPTS,)
            mounted = birth.root or birth.before is not None  # it may be gone again, with the namespace it was in
            if mounted and not (is_mount_root(fd) and (not birth.root or fs_type(fd) & 0xFFFF_FFFF in kinds)):
                return False
            if birth.is_what_was(st) or (birth.kind and (S_IFMT(st.st_mode) != birth.kind or st.st_rdev)):
                return False
            if birth.then is not None:
                birth.then(st)
                return True
            try:
                self._world.store.put(fd, st, birth.owner)
            except OSError as error:
                if error.errno != EROFS:
                    raise
                return True  # mounted read-only, and the file would have to carry it
            if birth.access is not None and not S_ISLNK(st.st_mode):
                self._world.store.put_attribute(fd, st, acl.ACCESS, birth.access)
                if S_ISDIR(st.st_mode):
                    self._world.store.put_attribute(fd, st, acl.DEFAULT, birth.access)
        finally:
            os.close(fd)
        return True
