# SPDX-License-Identifier: GPL-2.0-or-later
"""Change of owner: chown(2) and its kin."""

from __future__ import annotations

import os
from errno import EBADF, EINVAL, EPERM
from stat import S_IMODE, S_ISDIR, S_ISGID, S_ISUID, S_IXGRP

from remainroot import quick
from remainroot.credentials import CAP_CHOWN, CAP_FSETID, KEEP
from remainroot.dispatch import ALWAYS, CONTINUE, DONE, Fail, handles
from remainroot.handlers.attributes import demand_unflagged, is_anothers
from remainroot.handlers.paths import Unresolved, find_fd, find_path, not_permitted
from remainroot.kernel import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, chown_fd
from remainroot.store.base import SET_ID, Owner, is_placeholder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.credentials import Credentials
    from remainroot.dispatch import Call, Outcome
    from remainroot.store.base import Store
    from remainroot.world import World


_IN_PROC: Final = rb"(?s).*/proc/(?:sys(?:/.*)?|\d+(?:/task/\d+)?(?P<rest>/.*)?)$"


@handles("chown", "chown32", quick=quick.chown(1, path=0), blind=ALWAYS)
def chown(call: Call) -> Outcome:
    """Change the owner of what a path names, the last link followed: chown(2)."""
    return _by_path(call, AT_FDCWD, 0, 0, call.id(1), call.id(2))


@handles("lchown", "lchown32", quick=quick.chown(1, path=0, fixed=AT_SYMLINK_NOFOLLOW), blind=ALWAYS)
def lchown(call: Call) -> Outcome:
    """As chown, of a symbolic link itself: lchown(2)."""
    return _by_path(call, AT_FDCWD, 0, AT_SYMLINK_NOFOLLOW, call.id(1), call.id(2))


@handles("fchownat", quick=quick.chown(2, dirfd=0, path=1, flags=4), blind=ALWAYS)
def fchownat(call: Call) -> Outcome:
    """Chown relative to a directory descriptor, with AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH: fchownat(2)."""
    flags = call.unsigned(4)
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        return Fail(EINVAL)
    return _by_path(call, call.signed(0), 1, flags, call.id(2), call.id(3))


@handles("fchown", "fchown32", quick=quick.chown(1, dirfd=0), blind=ALWAYS)
def fchown(call: Call) -> Outcome:
    """Change the owner of an open file: fchown(2)."""
    try:
        fd, st = find_fd(call, 0)
    except Unresolved:
        return CONTINUE
    try:
        outcome = _change(call, fd, st, call.id(1), call.id(2), path_only=call.signed(0))
    finally:
        os.close(fd)
    return outcome


def _by_path(call: Call, dirfd: int, index: int, flags: int, uid: int, gid: int) -> Outcome:
    try:
        fd, st = find_path(call, dirfd, index, flags)
    except Unresolved:
        return CONTINUE
    try:
        return _change(call, fd, st, uid, gid)
    finally:
        os.close(fd)


def may_chown(creds: Credentials, owner: Owner, uid: int, gid: int) -> bool:
    """Whether `creds` may give what is `owner`'s to `uid` and `gid` (KEEP: that one stays).

    chown(2): the owner of a file may give it to a group it is in; anything more needs CAP_CHOWN. Clearing a set-id
    bit on the way is a change of mode, which only the owner may make.
    """
    if creds.capable_of(CAP_CHOWN, *owner.ids):
        return True
    mine = creds.fsuid == owner.uid
    if uid != KEEP and not (mine and uid == owner.uid):
        return False
    return gid == KEEP or (mine and (gid == owner.gid or creds.in_group(gid)))


def mode_after_chown(creds: Credentials, owner: Owner) -> int:
    """The mode bits that survive a chown: set-user-ID goes, set-group-ID where the group may execute, for whoever asks.

    Without group execute the set-group-ID bit meant mandatory locking: it stays for a member of the group or
    CAP_FSETID.
    """
    mode = owner.mode
    if S_ISDIR(mode):
        return mode
    mode &= ~S_ISUID
    is_member = creds.in_group(owner.gid) or creds.capable_of(CAP_FSETID, *owner.ids)
    if mode & S_ISGID and (mode & S_IXGRP or not is_member):
        mode &= ~S_ISGID
    return mode


def _change(call: Call, fd: int, st: os.stat_result, uid: int, gid: int, path_only: int = -1) -> Outcome:
    """Give the file behind `fd` to `uid` and `gid`.

    `path_only`: the task's descriptor, refused if it was opened O_PATH.
    """
    world = call.world
    demand_unflagged(world.store, fd, st)
    override = world.override(fd, st)
    creds = call.creds
    owner = world.supposed_owner(fd, st, creds) if override is None else override.shown(st)
    uid, gid = creds.namespace.uids.named(uid), creds.namespace.gids.named(gid)
    new_uid = owner.uid if uid == KEEP else uid
    new_gid = owner.gid if gid == KEEP else gid
    simple = override is None and new_uid == world.real_uid == st.st_uid and new_gid == world.real_gid == st.st_gid
    if simple and not world.settings.unknown_is_real and creds.capable(CAP_CHOWN) and world.real_uid == 0:
        return CONTINUE
    if path_only >= 0 and world.files.is_path_only(call.tid, path_only):
        return Fail(EBADF)
    if not may_chown(creds, owner, uid, gid):
        return not_permitted(fd)
    mode = mode_after_chown(creds, owner)
    if mode != owner.mode and not creds.owns(owner.uid):
        return not_permitted(fd)
    try:
        # The real change of nothing: read-only and immutable files refuse it, set-id bits and file capabilities go,
        # ctime moves.
        chown_fd(fd, KEEP, KEEP)
    except OSError as error:
        if error.errno != EPERM or not is_anothers(world, fd, st):
            return Fail(error.errno or EPERM)
    if _keeps_owners(world, fd, st):
        _record(call, fd, st, override, Owner(new_uid, new_gid, mode, owner.rdev))
    return DONE


def _record(call: Call, fd: int, st: os.stat_result, override: Owner | None, new: Owner) -> None:
    """Keep what the file is to be shown with; `override`: with what it was."""
    world, mode = call.world, new.mode
    store = world.keeper(fd, st)
    if override is not None and is_placeholder(override, st):
        store.put(fd, st, new)
    elif mode != _left_on_disk(world, fd, st, mode) or (override is not None and override.mode and mode & SET_ID):
        store.put(fd, st, Owner(new.uid, new.gid, mode))
    elif _is_default(call, st, new.uid, new.gid):
        store.forget(fd, st)
    else:
        store.put(fd, st, Owner(new.uid, new.gid))
    if not S_ISDIR(mode):
        _clear_capability(store, fd, st)


def _keeps_owners(world: World, fd: int, st: os.stat_result) -> bool:
    """Whether the file is not one of a task in procfs, which is the task's again as soon as it is looked for.

    PermissionError for a task's directory itself, and the settings in /proc/sys: nobody may give them away.
    """
    if not world.files.lies_on_proc(fd, st):
        return True
    import re  # rarely needed

    match = re.match(_IN_PROC, os.readlink(b"/proc/self/fd/%d" % fd))
    if match is None:
        return True
    if match["rest"] is None:
        raise PermissionError(EPERM, "not to be given away")
    return match["rest"].startswith(b"/net/")


def _left_on_disk(world: World, fd: int, st: os.stat_result, mode: int) -> int:
    """The mode that the file has on disk after the chown, which should be `mode`."""
    if not st.st_mode & SET_ID or S_ISDIR(st.st_mode):
        return st.st_mode
    if st.st_mode & S_ISGID and not mode & (S_ISGID | S_IXGRP) and world.is_ours(st):
        os.chmod(f"/proc/self/fd/{fd}", S_IMODE(mode))  # the kernel takes us for a member of the group
    return os.fstat(fd).st_mode


def _clear_capability(store: Store, fd: int, st: os.stat_result) -> None:
    if not store.no_attributes and store.attributes(fd, st).get("security.capability"):
        store.forget_attribute(fd, st, "security.capability")


def _is_default(call: Call, st: os.stat_result, uid: int, gid: int) -> bool:
    default = call.world.default_owner(st)
    return default.uid == uid and default.gid == gid
