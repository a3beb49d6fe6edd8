# SPDX-License-Identifier: GPL-2.0-or-later
"""The file whose extended attributes a call is about, what is kept for it, and its access lists (acl(5))."""

from __future__ import annotations

import os
from errno import EACCES, EEXIST, EINVAL, ENODATA, ENOTSUP, EPERM, EROFS
from stat import S_IMODE, S_ISDIR, S_ISGID, S_ISLNK, S_ISREG

from remainroot import acl
from remainroot.credentials import CAP_FSETID
from remainroot.dispatch import CONTINUE, DONE, Fail
from remainroot.kernel import PIPEFS_MAGIC, PROC_SUPER_MAGIC, SOCKFS_MAGIC, chown_fd, fs_type, raw_statx
from remainroot.namespaces import INITIAL, NO_ID
from remainroot.store.base import APPEND, IMMUTABLE, SET_ID, Owner, is_placeholder
from remainroot.store.codec import KEEP
from remainroot.world import is_mapped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call, Outcome
    from remainroot.store.base import Store
    from remainroot.world import World

_CREATE: Final = 1
_REPLACE: Final = 2
_STATX_ATTRIBUTES: Final = 8
"""The lowest byte of stx_attributes: statx(2)."""
_WITHOUT: Final = frozenset({PROC_SUPER_MAGIC, PIPEFS_MAGIC, SOCKFS_MAGIC})
"""File systems of no attributes that list them all the same: procfs, and those of pipes and sockets."""


class File:
    """The file a call is about: its owner, and the attributes that the store keeps for it."""

    __slots__ = ("call", "fd", "owner", "path", "placeholder", "st")

    def __init__(self, call: Call, fd: int, st: os.stat_result) -> None:
        self.call = call
        self.fd = fd
        self.st = st
        self.path = f"/proc/self/fd/{fd}"
        world = call.world
        override = world.override(fd, st)
        self.owner = world.default_owner(st) if override is None else override.shown(st)
        self.placeholder = override is not None and is_placeholder(override, st)

    def kept(self) -> dict[str, bytes]:
        """All attributes that the store keeps for it."""
        store = self.call.world.store
        return {} if store.no_attributes else store.attributes(self.fd, self.st)

    def keep(self, name: str, value: bytes, flags: int) -> None:
        """Keep an attribute as setxattr(2) sets one."""
        self.writable()
        present = name in self.kept()
        if flags & _CREATE and present:
            raise OSError(EEXIST, os.strerror(EEXIST))
        if flags & _REPLACE and not present:
            raise OSError(ENODATA, os.strerror(ENODATA))
        self.call.check()
        move_ctime(self.fd)
        self.call.world.store.put_attribute(self.fd, self.st, name, value)

    def drop(self, name: str) -> bool:
        """Remove a kept attribute; False if there is none."""
        if name not in self.kept():
            return False
        self.writable()
        self.call.check()
        move_ctime(self.fd)
        self.call.world.store.forget_attribute(self.fd, self.st, name)
        return True

    @property
    def is_read_only(self) -> bool:
        """Whether the kernel refuses changes before it asks who wants them."""
        return bool(os.fstatvfs(self.fd).f_flag & os.ST_RDONLY)

    def writable(self) -> None:
        """OSError(EROFS) on a read-only file system, OSError(ENOTSUP) on one without attributes."""
        if self.is_read_only:
            raise OSError(EROFS, os.strerror(EROFS))
        self.demand_attributes()
        os.listxattr(self.path)

    def demand_attributes(self) -> None:
        """OSError(ENOTSUP) on a file system that has no attributes, and lists none."""
        if fs_type(self.fd) in _WITHOUT:
            raise OSError(ENOTSUP, os.strerror(ENOTSUP))

    def loses_group(self, name: str) -> bool:
        """Whether this list takes the set-group-ID bit away: an access list, of who is not in the group: chmod(2)."""
        creds, owner = self.call.creds, self.owner
        allowed = creds.in_group(owner.gid) or creds.capable_of(CAP_FSETID, *owner.ids)
        return name == acl.ACCESS and bool(owner.mode & S_ISGID) and not allowed

    def mode_changed(self, name: str) -> None:
        """The list `name` has changed the mode on disk: bring the override up to date that has a copy of it."""
        lost = S_ISGID if self.loses_group(name) else 0
        if lost:
            os.chmod(self.path, S_IMODE(os.fstat(self.fd).st_mode) & ~lost)
        store = self.call.world.store
        override = store.get(self.fd, self.st)
        if override is not None and (override.mode or store.keeps_modes):
            now = os.fstat(self.fd)
            kept = override.mode & SET_ID & ~lost if S_ISREG(now.st_mode) else 0
            owner = Owner(override.uid, override.gid, now.st_mode | kept if kept else 0)
            store.put_after_chmod(self.fd, now, owner)

    def flags(self) -> int:
        """Those of chattr(1) that the store keeps for it."""
        return self.call.world.store.flags(self.fd, self.st)

    def demand_unflagged(self) -> None:
        """OSError(EPERM) if it is immutable or append-only."""
        demand_unflagged(self.call.world.store, self.fd, self.st)

    def may_change(self) -> bool:
        """It is the caller's, or the caller is as good as its owner."""
        return self.call.creds.owns(self.owner.uid)


def demand_unflagged(store: Store, fd: int, st: os.stat_result) -> None:
    """OSError(EPERM) if the file is kept to be immutable or append-only: neither owner, mode nor attributes change."""
    if store.flags(fd, st):
        raise OSError(EPERM, os.strerror(EPERM))


def is_anothers(world: World, fd: int, st: os.stat_result) -> bool:
    """Whether the kernel, which has refused a change (EPERM), would have let real root make it: the file is not ours.

    Nobody may change what is immutable or append-only on disk. About procfs the kernel is believed: it refuses even
    root the modes of tasks' files and of settings.
    """
    if world.is_ours(st) or fs_type(fd) == PROC_SUPER_MAGIC:
        return False
    return not raw_statx(fd, 0, 0)[_STATX_ATTRIBUTES] & (IMMUTABLE | APPEND)


def move_ctime(fd: int) -> None:
    """Have the file's ctime tell of a change that is only remembered: inode(7). A file of nobody's here keeps its own.

    A chown of nothing cannot undo what another task does meanwhile, but would take set-id bits and capabilities away.
    """
    path = f"/proc/self/fd/{fd}"
    mode = os.fstat(fd).st_mode
    set_id = mode & SET_ID and not S_ISDIR(mode)
    try:
        if set_id or (S_ISREG(mode) and "security.capability" in os.listxattr(path)):
            os.chmod(path, S_IMODE(mode))
        else:
            chown_fd(fd, KEEP, KEEP)
    except PermissionError:
        pass


def set_acl(file: File, name: str, value: bytes) -> Outcome:  # noqa: PLR0911  # the ways out are the rules
    """What set_posix_acl() in the kernel does, in its order."""
    entries = acl.parse(value)
    if not entries:
        return remove_acl(file, name) if entries == [] or not value else CONTINUE  # EINVAL, EOPNOTSUPP
    namespace = file.call.creds.namespace
    entries = acl.translated(entries, namespace.uids.down, namespace.gids.down)
    if any(number == NO_ID for _, _, number in acl.named(entries)):
        return Fail(EINVAL)
    value = acl.pack(entries)
    file.demand_unflagged()
    mode = file.owner.mode
    if S_ISLNK(mode):
        return Fail(ENOTSUP)
    if name == acl.DEFAULT and not S_ISDIR(mode):
        return Fail(EACCES)
    if not file.may_change():
        return Fail(EPERM)
    if not acl.is_valid(entries):
        return Fail(EINVAL)
    if file.placeholder:
        _set_placeholder_acl(file, name, entries)
        return DONE
    names = acl.named(entries)
    if all(is_mapped("uid" if tag == acl.USER else "gid", number) for tag, _, number in names):
        os.setxattr(file.path, name, value)
        file.drop(name)
        file.mode_changed(name)
        return DONE
    before = file.kept().get(name)
    file.keep(name, value, 0)
    if name == acl.DEFAULT:
        file.call.world.store.default_lists = True
    try:
        os.setxattr(file.path, name, acl.pack(acl.skeleton(entries)))
    except OSError:
        if before is None:
            file.drop(name)
        else:
            file.keep(name, before, 0)
        raise
    file.mode_changed(name)
    return DONE


def _set_placeholder_acl(file: File, name: str, entries: list[acl.Entry]) -> None:
    """A device has its mode in the store, and so its list."""
    if any(entry[0] == acl.MASK for entry in entries):
        file.keep(name, acl.pack(entries), 0)
    else:
        file.drop(name)
    owner = file.owner
    mode = owner.mode & ~0o777 | acl.mode_of(entries)
    if file.loses_group(name):
        mode &= ~S_ISGID
    move_ctime(file.fd)
    file.call.world.store.put(file.fd, file.st, Owner(owner.uid, owner.gid, mode, owner.rdev))


def current_acl(file: File, name: str, value: bytes | None) -> bytes | None:
    """The list whose names are kept as `value`, with the permissions of the moment; None: the kernel knows what is."""
    entries = acl.parse(value) if value is not None else None
    if entries is None:
        return None
    if file.placeholder:
        return acl.pack(acl.of_mode(entries, file.owner.mode))
    try:
        current = acl.parse(os.getxattr(file.path, name))
    except OSError:
        return None
    if current is None or acl.named(current):
        return None  # somebody else has set another since
    return acl.pack(acl.merged(entries, current))


def acl_as_told(file: File, name: str, value: bytes | None) -> bytes | None:
    """`current_acl` with the ids of the caller's namespace; who has none there is nobody. None: the kernel tells it."""
    found = current_acl(file, name, value)
    namespace = file.call.creds.namespace
    if namespace is INITIAL:
        return found
    if found is None and not file.placeholder:
        found = os.getxattr(file.path, name)
    entries = acl.parse(found) if found is not None else None
    return None if entries is None else acl.pack(acl.translated(entries, namespace.uids.up, namespace.gids.up))


def remove_acl(file: File, name: str) -> Outcome:
    """As above, without a list."""
    file.demand_unflagged()
    if S_ISLNK(file.owner.mode) or (name == acl.DEFAULT and not S_ISDIR(file.owner.mode)):
        return DONE if file.placeholder else CONTINUE
    if not file.may_change():
        return Fail(EPERM)
    file.drop(name)
    return DONE if file.placeholder else CONTINUE
