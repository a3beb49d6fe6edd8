# SPDX-License-Identifier: GPL-2.0-or-later
"""What the file handlers share: from the arguments of a call to an O_PATH descriptor of the file that is meant."""

from __future__ import annotations

import os
from errno import EPERM

from remainroot.dispatch import CONTINUE, Fail
from remainroot.kernel import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, EXHAUSTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remainroot.dispatch import Call, Outcome


class Unresolved(Exception):  # noqa: N818  # not an error: the kernel will answer, and say which errno
    """The path names nothing we can find; the kernel is to answer the call."""


def find(call: Call, dirfd: int, path: bytes, flags: int = 0) -> tuple[int, os.stat_result]:
    """An O_PATH descriptor (the caller's to close) of what `dirfd`, `path` and the AT_* `flags` mean, and its status.

    Raises Unresolved for a path the kernel should answer about: it says ENOENT, ENOTDIR, ELOOP better than we can.
    OSError where we could not look (`EXHAUSTED`): the kernel knows nothing of owners.
    """
    files = call.world.files
    tid = call.tid
    try:
        if not path and flags & AT_EMPTY_PATH:
            fd = files.base(tid, AT_FDCWD) if dirfd == AT_FDCWD else files.descriptor(tid, dirfd)
            return call.world.behind(fd, os.fstat(fd))
        follow = not flags & AT_SYMLINK_NOFOLLOW
        fd = files.resolve(tid, dirfd, path, follow=follow)
        st = os.fstat(fd)
        if files.lies_on_proc(fd, st):
            os.close(fd)
            fd = files.resolve_again(tid, dirfd, path, follow=follow)
            st = os.fstat(fd)
    except OSError as error:
        raise _unresolved(error) from None
    return call.world.behind(fd, st)


def _unresolved(error: OSError) -> Exception:
    return error if error.errno in EXHAUSTED else Unresolved()


def find_path(call: Call, dirfd: int, index: int, flags: int = 0) -> tuple[int, os.stat_result]:
    """As `find`, for the path whose address is argument `index`; one that cannot be read is Unresolved too (EFAULT)."""
    try:
        path = call.path(index)
    except OSError:
        raise Unresolved from None
    return find(call, dirfd, path, flags)


def find_fd(call: Call, index: int) -> tuple[int, os.stat_result]:
    """As `find`, for the file that descriptor argument `index` names."""
    try:
        fd = call.world.files.descriptor(call.tid, call.signed(index))
    except OSError as error:
        raise _unresolved(error) from None
    return call.world.behind(fd, os.fstat(fd))


def not_permitted(fd: int) -> Outcome:
    """EPERM for a change of the file behind `fd`; on a read-only mount the kernel answers, for EROFS comes first."""
    return CONTINUE if os.fstatvfs(fd).f_flag & os.ST_RDONLY else Fail(EPERM)
