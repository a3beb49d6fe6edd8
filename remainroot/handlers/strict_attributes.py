# SPDX-License-Identifier: GPL-2.0-or-later
"""`--strict`: whose extended attributes a user may read and set (xattr(7))."""

from __future__ import annotations

import os
from errno import EPERM
from stat import S_ISDIR, S_ISREG, S_ISVTX
from struct import Struct

from remainroot.dispatch import Refused
from remainroot.handlers.searching import Searcher, searches
from remainroot.kernel import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW
from remainroot.permissions import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call
    from remainroot.handlers.searching import File

_XATTR_NAME_MAX: Final = 255
_XATTR_SIZE_MAX: Final = 1 << 16
_XATTR_ARGS: Final = Struct("=QII")
_PAGE: Final = 4096


def _is_wrong(call: Call, verb: str, index: int) -> bool:
    """Whether the kernel refuses the call, its name in argument `index`, before it looks for the file."""
    if not 0 < len(call.path(index)) <= _XATTR_NAME_MAX:
        return True  # ERANGE
    if verb == "remove":
        return index == 3 and bool(call.unsigned(2) & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
    if index == 3:
        size = call.ptr(5)
        if not _XATTR_ARGS.size <= size <= _PAGE or call.unsigned(2) & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
            return True  # EINVAL, E2BIG
        given = call.read(call.ptr(4), size)
        address, length, flags = _XATTR_ARGS.unpack_from(given)
        if any(given[_XATTR_ARGS.size :]):
            return True  # E2BIG
    else:
        address, length, flags = call.ptr(2), call.ptr(3), call.unsigned(4) if verb == "set" else 0
    if verb == "set" and not (wrong := flags & ~(os.XATTR_CREATE | os.XATTR_REPLACE) or length > _XATTR_SIZE_MAX):
        call.read(address, length)  # EFAULT
    return bool(wrong if verb == "set" else flags)  # EINVAL, E2BIG


def _attribute(searcher: Searcher, file: File, index: int, want: int) -> None:
    """Attributes that begin with "user." are what the mode bits are about (xattr(7)), and those of no known kind."""
    name, owner = searcher.call.path(index), searcher.owner(file)
    if name.startswith((b"security.", b"system.", b"trusted.")) or (want == WRITE and file.is_read_only):
        return
    if name.startswith(b"user."):
        if not (S_ISREG(owner.mode) or S_ISDIR(owner.mode)):
            return  # EPERM, ENODATA
        sticky = want == WRITE and S_ISDIR(owner.mode) and owner.mode & S_ISVTX
        if sticky and not searcher.creds.owns(owner.uid):
            raise Refused(EPERM)
    searcher.demand(file, want)


def _attributesearches(verb: str, want: int) -> None:
    """Declare the guards of a family of extended attribute calls."""

    def by_path(searcher: Searcher) -> None:
        if not _is_wrong(searcher.call, verb, 1):
            _attribute(searcher, searcher.find_at(AT_FDCWD, 0), 1, want)

    def by_link(searcher: Searcher) -> None:
        if not _is_wrong(searcher.call, verb, 1):
            _attribute(searcher, searcher.find_at(AT_FDCWD, 0, AT_SYMLINK_NOFOLLOW), 1, want)

    def by_descriptor(searcher: Searcher) -> None:
        call = searcher.call
        if _is_wrong(call, verb, 1):
            return
        file = searcher.base(call.signed(0))
        if not call.world.files.is_path_only(call.tid, call.signed(0)):  # EBADF
            _attribute(searcher, file, 1, want)

    def at(searcher: Searcher) -> None:
        call = searcher.call
        if _is_wrong(call, verb, 3):
            return
        dirfd, flags = call.signed(0), call.unsigned(2)
        file = searcher.find_at(dirfd, 1, flags)
        is_itself = dirfd >= 0 and flags & AT_EMPTY_PATH and not (call.ptr(1) and call.path(1))
        if not (is_itself and call.world.files.is_path_only(call.tid, dirfd)):  # EBADF
            _attribute(searcher, file, 3, want)

    checks = (("", by_path, ""), ("l", by_link, ""), ("f", by_descriptor, ""), ("", at, "at"))
    for prefix, check, suffix in checks:
        check.__doc__ = "A file must be one to read or write for its user attributes to be: xattr(7)."
        searches(f"{prefix}{verb}xattr{suffix}")(check)


_attributesearches("get", READ)
_attributesearches("set", WRITE)
_attributesearches("remove", WRITE)
