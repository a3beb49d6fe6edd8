# SPDX-License-Identifier: GPL-2.0-or-later
"""Change of mode: chmod(2) and its kin.

The bits live on disk. In the store are those of device placeholders, set-id bits that root gave, and those of files
that really are another's (their ids are not mapped, as a host's file's in a container), which we cannot change.
"""

from __future__ import annotations

import os
from errno import EBADF, EPERM
from stat import S_IFMT, S_IMODE, S_ISDIR, S_ISGID, S_ISLNK, S_ISREG

from remainroot import quick
from remainroot.credentials import CAP_FSETID
from remainroot.dispatch import CONTINUE, DONE, Fail, handles
from remainroot.handlers.attributes import demand_unflagged, is_anothers
from remainroot.handlers.paths import Unresolved, find_fd, find_path, not_permitted
from remainroot.kernel import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW
from remainroot.store.base import SET_ID, Owner, is_placeholder
from remainroot.world import ON_DISK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remainroot.dispatch import Call, Outcome
    from remainroot.world import World


@handles("chmod", quick=quick.chmod(1, path=0))
def chmod(call: Call) -> Outcome:
    """Change the mode of what a path names: chmod(2)."""
    return _by_path(call, AT_FDCWD, 0, 0, call.unsigned(1))


@handles("fchmodat", quick=quick.chmod(2, dirfd=0, path=1))
def fchmodat(call: Call) -> Outcome:
    """Chmod relative to a directory descriptor; the syscall has no flags: fchmodat(2)."""
    return _by_path(call, call.signed(0), 1, 0, call.unsigned(2))


@handles("fchmodat2", quick=quick.chmod(2, dirfd=0, path=1, flags=3))
def fchmodat2(call: Call) -> Outcome:
    """Fchmodat with AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH, Linux 6.6."""
    flags = call.unsigned(3)
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        return CONTINUE  # EINVAL, or ENOSYS
    return _by_path(call, call.signed(0), 1, flags, call.unsigned(2))


@handles("fchmod", quick=quick.chmod(1, dirfd=0))
def fchmod(call: Call) -> Outcome:
    """Change the mode of an open file: fchmod(2)."""
    try:
        fd, st = find_fd(call, 0)
    except Unresolved:
        return CONTINUE
    try:
        if call.world.files.is_path_only(call.tid, call.signed(0)):
            return Fail(EBADF)
        return _change(call, fd, st, call.unsigned(1))
    finally:
        os.close(fd)


def _by_path(call: Call, dirfd: int, index: int, flags: int, mode: int) -> Outcome:
    try:
        fd, st = find_path(call, dirfd, index, flags)
    except Unresolved:
        return CONTINUE
    try:
        return _change(call, fd, st, mode)
    finally:
        os.close(fd)


def _change(call: Call, fd: int, st: os.stat_result, mode: int) -> Outcome:
    """chmod(2): EPERM unless owner or CAP_FOWNER; set-group-ID goes unless member of the file's group or CAP_FSETID."""
    if S_ISLNK(st.st_mode):
        return CONTINUE  # EOPNOTSUPP
    world = call.world
    demand_unflagged(world.store, fd, st)
    override = world.override(fd, st)
    creds = call.creds
    owner = world.supposed_owner(fd, st, creds) if override is None else override.shown(st)
    if not creds.owns(owner.uid):
        return not_permitted(fd)
    mode = S_IMODE(mode)
    wanted = mode
    if mode & S_ISGID and not creds.in_group(owner.gid) and not creds.capable_of(CAP_FSETID, *owner.ids):
        mode &= ~S_ISGID
    call.check()
    if override is not None and is_placeholder(override, st):
        _change_on_disk(world, fd, st, mode & ~SET_ID)  # for access(2), which the kernel answers
        world.store.put(fd, st, Owner(override.uid, override.gid, S_IFMT(override.mode) | mode, override.rdev))
        return DONE
    keep = S_ISREG(st.st_mode) and mode & SET_ID and creds.capable_of(CAP_FSETID, *owner.ids)
    if S_ISREG(st.st_mode) and mode & SET_ID and not keep:
        world.loose_set_ids[st.st_dev, st.st_ino] = ON_DISK
    copied = override is not None and (override.mode or world.store.keeps_modes)
    if mode == wanted and not keep and not copied and _is_quite_ours(world, st, mode):
        return CONTINUE
    _change_on_disk(world, fd, st, mode)
    now = os.fstat(fd)
    if keep or S_IMODE(now.st_mode) != mode:
        world.store.put(fd, now, Owner(owner.uid, owner.gid, S_IFMT(st.st_mode) | mode))
    elif override is not None and copied:
        world.store.put_after_chmod(fd, now, Owner(override.uid, override.gid))
    return DONE


def _is_quite_ours(world: World, st: os.stat_result, mode: int) -> bool:
    """Whether the kernel's chmod of it does what is asked.

    It leaves what is another's, drops the set-group-ID bit of another's group, and root may need permissions itself.
    """
    if not world.is_ours(st) or (mode & S_ISGID and st.st_gid != world.real_gid):
        return False
    return world.workable(mode, directory=S_ISDIR(st.st_mode)) == mode


def _change_on_disk(world: World, fd: int, st: os.stat_result, mode: int) -> None:
    """As far as the kernel lets us: another's file stays as it is."""
    disk = world.workable(mode, directory=S_ISDIR(st.st_mode)) if world.is_ours(st) else mode
    try:
        os.chmod(f"/proc/self/fd/{fd}", disk)
    except PermissionError as error:
        if error.errno != EPERM or not is_anothers(world, fd, st):
            raise
