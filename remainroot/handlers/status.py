# SPDX-License-Identifier: GPL-2.0-or-later
"""What a file looks like: stat(2), statx(2) and every older variant.

The kernel answers for a file without an override; only where the owner differs is the struct written here.
"""

from __future__ import annotations

import os
from stat import S_ISREG

from remainroot import quick
from remainroot.abi.stat import patch_statx
from remainroot.dispatch import CONTINUE, DONE, Replace, handles
from remainroot.handlers.paths import Unresolved, find_fd, find_path
from remainroot.handlers.views import substitute
from remainroot.kernel import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, raw_statx
from remainroot.namespaces import INITIAL
from remainroot.store.base import Owner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remainroot.dispatch import Call, Outcome

_AT_NO_AUTOMOUNT = 0x800
_AT_STATX_SYNC_TYPE = 0x6000
_STATX_RESERVED = 0x80000000


@handles("stat", "stat64", "oldstat", quick=quick.stat(1, path=0))
def stat(call: Call) -> Outcome:
    """The status of what a path names: stat(2)."""
    return _by_path(call, AT_FDCWD, 0, 0, 1)


@handles("lstat", "lstat64", "oldlstat", quick=quick.stat(1, path=0, fixed=AT_SYMLINK_NOFOLLOW))
def lstat(call: Call) -> Outcome:
    """As stat, of a symbolic link itself: lstat(2)."""
    return _by_path(call, AT_FDCWD, 0, AT_SYMLINK_NOFOLLOW, 1)


@handles("newfstatat", "fstatat64", quick=quick.stat(2, dirfd=0, path=1, flags=3))
def newfstatat(call: Call) -> Outcome:
    """Stat relative to a directory descriptor: fstatat(2)."""
    flags = call.unsigned(3)
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | _AT_NO_AUTOMOUNT | _AT_STATX_SYNC_TYPE):
        return CONTINUE
    return _by_path(call, call.signed(0), 1, flags, 2)


@handles("fstat", "fstat64", "oldfstat", quick=quick.stat(1, dirfd=0))
def fstat(call: Call) -> Outcome:
    """The status of an open file: fstat(2)."""
    try:
        fd, st = find_fd(call, 0)
    except Unresolved:
        return CONTINUE
    try:
        return _answer(call, fd, st, 1, call.signed(0))
    finally:
        os.close(fd)


def _by_path(call: Call, dirfd: int, index: int, flags: int, buffer: int) -> Outcome:
    try:
        fd, st = _find(call, dirfd, index, flags)
    except Unresolved:
        return CONTINUE
    try:
        return _answer(call, fd, st, buffer, _descriptor(call, st, dirfd, index, flags))
    finally:
        os.close(fd)


def _descriptor(call: Call, st: os.stat_result, dirfd: int, index: int, flags: int) -> int:
    """The descriptor that the call asks about, if it is one of an empty regular file, as those of procfs are, or -1."""
    if not flags & AT_EMPTY_PATH or dirfd < 0 or st.st_size or not S_ISREG(st.st_mode):
        return -1
    return -1 if call.ptr(index) and call.path(index) else dirfd


def _find(call: Call, dirfd: int, index: int, flags: int) -> tuple[int, os.stat_result]:
    """As find_path; since Linux 6.11 a null pointer is an empty path too, with AT_EMPTY_PATH."""
    if flags & AT_EMPTY_PATH and not call.ptr(index):
        if dirfd < 0:
            raise Unresolved
        return find_fd(call, 0)
    return find_path(call, dirfd, index, flags)


def _owner(call: Call, fd: int, st: os.stat_result) -> Owner | None:
    """Whose the file is, as the caller's namespace calls its ids; None where the kernel's answer is right."""
    owner = call.world.correction(fd, st, call.tid)
    if not call.world.tasks.nested:
        return owner
    namespace = call.creds.namespace
    if namespace is INITIAL:
        return owner
    owner = owner or Owner(st.st_uid, st.st_gid, st.st_mode, st.st_rdev)
    return Owner(namespace.uids.shown(owner.uid), namespace.gids.shown(owner.gid), owner.mode, owner.rdev)


def _answer(call: Call, fd: int, st: os.stat_result, buffer: int, number: int) -> Outcome:
    owner = _owner(call, fd, st)
    instead = _instead(call, fd, st, number)
    dates = call.world.dates
    dated = None if dates is None else dates.shown(fd, st)
    if instead is not None or dated is not None:
        owner = owner or Owner(st.st_uid, st.st_gid, st.st_mode, st.st_rdev)
        st = dated or st
    if owner is None:
        return CONTINUE
    return _give(call, call.ptr(buffer), call.abi.stat_layouts[call.name](st, owner), instead)


def _instead(call: Call, fd: int, st: os.stat_result, number: int) -> Replace | None:
    """What the task's descriptor `number` (-1: none) is to be exchanged for, if it is of a text that is not right."""
    if number < 0 or st.st_size or not S_ISREG(st.st_mode) or not call.world.files.lies_on_proc(fd, st):
        return None
    found = substitute(call, fd, st, number)
    return None if found is None else Replace(number, found[0], cloexec=found[1])


def _give(call: Call, address: int, answer: bytes, instead: Replace | None) -> Outcome:
    if instead is None:
        call.write(address, answer)
        return DONE
    try:
        call.write(address, answer)
    except OSError:
        os.close(instead.fd)
        raise
    return instead


@handles("statx", quick=quick.stat(4, dirfd=0, path=1, flags=2, mask=3))
def statx(call: Call) -> Outcome:
    """Extended status: statx(2)."""
    flags, mask = call.unsigned(2), call.unsigned(3)
    known = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | _AT_NO_AUTOMOUNT | _AT_STATX_SYNC_TYPE
    if flags & ~known or mask & _STATX_RESERVED or flags & _AT_STATX_SYNC_TYPE == _AT_STATX_SYNC_TYPE:
        return CONTINUE  # EINVAL
    try:
        fd, st = _find(call, call.signed(0), 1, flags)
    except Unresolved:
        return CONTINUE
    try:
        owner = _owner(call, fd, st)
        instead = _instead(call, fd, st, _descriptor(call, st, call.signed(0), 1, flags))
        kept = call.world.store.flags(fd, st)
        times = (None, None) if call.world.dates is None else call.world.dates.get(fd, st)
        if instead is not None or kept or times != (None, None):
            owner = owner or Owner(st.st_uid, st.st_gid, st.st_mode, st.st_rdev)
        if owner is None:
            return CONTINUE
        raw = raw_statx(fd, flags & _AT_STATX_SYNC_TYPE, mask)
    finally:
        os.close(fd)
    return _give(call, call.ptr(4), patch_statx(raw, owner, kept, times), instead)
