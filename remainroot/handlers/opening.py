# SPDX-License-Identifier: GPL-2.0-or-later
"""Opening and truncating what is there already: who may leave no trace, what a device is, what becomes of set-id bits.

A user who writes to a file takes its set-id bits away (inode(7)), and no write is seen here. Those that root gave are
in the store, so that root's own writes do not end them; they are on disk alone again once a user may write. Those that
a user gave are on disk alone, and get into the store when root may write. Those of a file that really is another's stay
there until it has been written to since a user may (`World.loose_set_ids`).
"""

from __future__ import annotations

import os
from errno import EINVAL, ENXIO, EPERM
from stat import S_IFDIR, S_IFIFO, S_IFMT, S_IFREG, S_IFSOCK, S_IMODE, S_ISCHR, S_ISGID, S_ISREG, S_ISUID, S_IXGRP

from remainroot import quick
from remainroot.credentials import CAP_FOWNER, CAP_FSETID
from remainroot.dispatch import CONTINUE, Fail, InstallFd, handles
from remainroot.handlers.paths import Unresolved, find_path
from remainroot.kernel import AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_CLOEXEC
from remainroot.store.base import Owner, is_placeholder
from remainroot.world import DEVICES, NULL, ON_DISK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remainroot.dispatch import Call, Outcome
    from remainroot.world import World


def open_existing(call: Call, dirfd: int, index: int, flags: int) -> Outcome:
    """open(2) of a file that need not be created: EPERM for O_NOATIME, unless owner or CAP_FOWNER."""
    tasks, store = call.world.tasks, call.world.store
    if flags & os.O_TMPFILE == os.O_TMPFILE or (flags & os.O_CREAT and flags & os.O_EXCL):
        return CONTINUE
    creds = call.creds
    unseen = flags & os.O_NOATIME and not (tasks.untouched or creds.capable(CAP_FOWNER))
    writes = flags & (os.O_ACCMODE | os.O_TRUNC) and (store.placeholders or call.world.loose_set_ids)
    if not unseen and not writes and not store.placeholders:
        return CONTINUE
    try:
        fd, st = find_path(call, dirfd, index, AT_SYMLINK_NOFOLLOW if flags & os.O_NOFOLLOW else 0)
    except Unresolved:
        return CONTINUE
    try:
        kind = S_IFMT(st.st_mode)
        fits = kind in (S_IFREG, S_IFIFO, S_IFSOCK) or (kind == S_IFDIR and not flags & (os.O_ACCMODE | os.O_TRUNC))
        if unseen and fits and not creds.owns(call.world.owner(fd, st).uid):
            return Fail(EPERM)
        device = open_device(call, fd, st, flags)
        if device is not None:
            return device
        if writes:
            _before_write(call, fd, st)
    finally:
        os.close(fd)
    return CONTINUE


def open_device(call: Call, fd: int, st: os.stat_result, flags: int) -> Outcome | None:
    """An open of the file `fd`, if that is a device node's placeholder: the device, or ENXIO, as if it had no driver.

    None of any other file.
    """
    if not call.world.store.placeholders or not S_ISREG(st.st_mode):
        return None
    node = call.world.override(fd, st)
    if node is None or not is_placeholder(node, st):
        return None
    if flags & os.O_DIRECTORY:
        return CONTINUE  # ENOTDIR
    if node.rdev == NULL and not flags & (os.O_ACCMODE | os.O_TRUNC):
        return CONTINUE  # as empty as the placeholder, whose status is the node's
    call.check()
    given = _device(call.world, fd, st, node, flags)
    if given < 0:
        return Fail(ENXIO)
    return InstallFd(given, cloexec=bool(flags & os.O_CLOEXEC))


def _device(world: World, placeholder: int, st: os.stat_result, node: Owner, flags: int) -> int:
    """The device itself, opened with `flags`; -1 if there is none for everybody, or none where we are."""
    path = DEVICES.get(node.rdev) if S_ISCHR(node.mode) else None
    if path is None:
        return -1
    flags = flags & ~(os.O_CREAT | os.O_NOFOLLOW) | os.O_NOCTTY | O_CLOEXEC
    try:
        fd = world.open_for_node(placeholder, st, path, flags)
    except FileNotFoundError:
        return -1
    found = os.fstat(fd)
    if S_ISCHR(found.st_mode) and found.st_rdev == node.rdev:
        return fd
    os.close(fd)
    return -1


@handles("truncate", "truncate64", quick=quick.TRUNCATE)
def truncate(call: Call) -> Outcome:
    """truncate(2): the length is the kernel's; EINVAL for a device."""
    try:
        fd, st = find_path(call, AT_FDCWD, 0)
    except Unresolved:
        return CONTINUE
    try:
        found = call.world.override(fd, st)
        if found is not None and is_placeholder(found, st):
            return Fail(EINVAL)
        _before_write(call, fd, st)
    finally:
        os.close(fd)
    return CONTINUE


def _before_write(call: Call, fd: int, st: os.stat_result) -> None:
    if not call.creds.capable(CAP_FSETID):
        _let_disk_tell(call, fd, st)
    elif (st.st_dev, st.st_ino) in call.world.loose_set_ids:
        _let_store_tell(call, fd, st)


def _let_disk_tell(call: Call, fd: int, st: os.stat_result) -> None:
    """Have the set-id bits that the store keeps for a regular file on disk alone, where the kernel takes them away."""
    world = call.world
    found = world.override(fd, st)
    owner = world.default_owner(st) if found is None else found.shown(st)
    if not owner.mode & (S_ISUID | S_ISGID) or not S_ISREG(owner.mode):
        return
    mode = _left_to_disk(call, owner)
    kept = found is not None and found.mode & (S_ISUID | S_ISGID)
    if not kept and mode == S_IMODE(owner.mode):
        return
    if not world.is_ours(st):
        locks = not owner.mode & (S_ISUID | S_IXGRP) and call.creds.in_group(owner.gid)
        if kept and not locks:  # a set-group-ID bit that meant mandatory locking stays for a member
            world.loose_set_ids.setdefault((st.st_dev, st.st_ino), st.st_mtime_ns)
            world.store.note_key(st)
        return
    if world.workable(mode) != mode or os.fstatvfs(fd).f_flag & os.ST_RDONLY:
        return
    call.check()
    if S_IMODE(st.st_mode) != mode:
        os.chmod(f"/proc/self/fd/{fd}", mode)
    if kept:
        default = world.default_owner(st)
        if owner.ids == default.ids:
            world.store.forget(fd, st)
        else:
            world.store.put(fd, os.fstat(fd), Owner(*owner.ids))
    if mode & (S_ISUID | S_ISGID):
        world.loose_set_ids[st.st_dev, st.st_ino] = ON_DISK


def _left_to_disk(call: Call, owner: Owner) -> int:
    """The mode with the set-id bits that the kernel will take away when they have to go.

    A set-group-ID bit without group execution goes when somebody outside the group writes, but to the kernel all are in
    the group: so it goes at once.
    """
    mode = S_IMODE(owner.mode)
    if mode & (S_ISGID | S_IXGRP) == S_ISGID and not call.creds.in_group(owner.gid):
        mode &= ~S_ISGID
    return mode


def _let_store_tell(call: Call, fd: int, st: os.stat_result) -> None:
    """Keep the set-id bits that are on disk alone, for the kernel takes them away when root writes."""
    world = call.world
    call.check()
    owner = world.owner(fd, st)
    if S_ISREG(owner.mode) and owner.mode & (S_ISUID | S_ISGID) and world.is_ours(st):
        world.store.put(fd, st, Owner(owner.uid, owner.gid, owner.mode))
    world.loose_set_ids.pop((st.st_dev, st.st_ino), None)
