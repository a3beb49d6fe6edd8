# SPDX-License-Identifier: GPL-2.0-or-later
"""`--strict`, of names: made, removed, moved (path_resolution(7)). See `remainroot.handlers.strict`."""

from __future__ import annotations

import os
from errno import EPERM
from stat import S_IFMT, S_ISDIR

from remainroot import permissions
from remainroot.dispatch import Refused
from remainroot.handlers.searching import CHANGE, searches, setting
from remainroot.kernel import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW
from remainroot.permissions import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call
    from remainroot.handlers.searching import File, Searcher

# ---------------------------------------------------------------- new names


def make(searcher: Searcher, dirfd: int, name: bytes, *, directory: bool = False) -> None:
    """Something new is to get this name."""
    place, last = searcher.parent(dirfd, name)
    if last in (b".", b"..") or searcher.child(place, last) is not None:
        return  # EEXIST
    if (name.endswith(b"/") and not directory) or place.is_read_only:
        return  # ENOENT, EROFS
    searcher.demand(place, CHANGE)


@searches("mkdir")
def mkdir(searcher: Searcher) -> None:
    """mkdir(2): the directory it is made in must be one to write and search."""
    make(searcher, AT_FDCWD, searcher.call.path(0), directory=True)


@searches("mkdirat")
def mkdirat(searcher: Searcher) -> None:
    """As `mkdir`, relative to a descriptor."""
    make(searcher, searcher.call.signed(0), searcher.call.path(1), directory=True)


_MAKEABLE: Final = (0, 0o100000, 0o020000, 0o060000, 0o010000, 0o140000)


@searches("mknod")
def mknod(searcher: Searcher) -> None:
    """As `mkdir`, for mknod(2)."""
    if S_IFMT(searcher.call.unsigned(1)) in _MAKEABLE:
        make(searcher, AT_FDCWD, searcher.call.path(0))


@searches("mknodat")
def mknodat(searcher: Searcher) -> None:
    """As `mknod`, relative to a descriptor."""
    if S_IFMT(searcher.call.unsigned(2)) in _MAKEABLE:
        make(searcher, searcher.call.signed(0), searcher.call.path(1))


@searches("symlink")
def symlink(searcher: Searcher) -> None:
    """As `mkdir`, for symlink(2)."""
    if searcher.call.path(0):
        make(searcher, AT_FDCWD, searcher.call.path(1))


@searches("symlinkat")
def symlinkat(searcher: Searcher) -> None:
    """As `symlink`, relative to a descriptor."""
    if searcher.call.path(0):
        make(searcher, searcher.call.signed(1), searcher.call.path(2))


@searches("link")
def link(searcher: Searcher) -> None:
    """link(2): as `mkdir`, and protected_hardlinks of proc(5)."""
    _link(searcher, searcher.find_at(AT_FDCWD, 0, AT_SYMLINK_NOFOLLOW), AT_FDCWD, searcher.call.path(1))


@searches("linkat")
def linkat(searcher: Searcher) -> None:
    """As `link`, relative to descriptors; a link is followed if AT_SYMLINK_FOLLOW says so."""
    flags = searcher.call.unsigned(4)
    if flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH):
        return
    how = flags & AT_EMPTY_PATH | (0 if flags & AT_SYMLINK_FOLLOW else AT_SYMLINK_NOFOLLOW)
    _link(searcher, searcher.find_at(searcher.call.signed(0), 1, how), searcher.call.signed(2), searcher.call.path(3))


def _link(searcher: Searcher, file: File, dirfd: int, name: bytes) -> None:
    place, last = searcher.parent(dirfd, name)
    if last in (b".", b"..") or searcher.child(place, last) is not None or name.endswith(b"/"):
        return  # EEXIST, ENOENT
    if place.is_read_only or place.mount != file.mount:
        return  # EROFS, EXDEV
    accessible = searcher.permits(file, READ | WRITE)
    protected = bool(setting("protected_hardlinks"))
    if not permissions.may_link(searcher.creds, searcher.owner(file), accessible=accessible, protected=protected):
        raise Refused(EPERM)
    searcher.demand(place, CHANGE)


# ---------------------------------------------------------------- names that go


def _may_delete(searcher: Searcher, directory: File, file: File) -> None:
    """The directory may be changed, and its sticky bit does not keep the file."""
    searcher.demand(directory, CHANGE)
    if permissions.is_kept_by_sticky(searcher.creds, searcher.owner(directory), searcher.owner(file)):
        raise Refused(EPERM)


def _remove(searcher: Searcher, dirfd: int, name: bytes, *, directory: bool) -> None:
    place, last = searcher.parent(dirfd, name)
    if last in (b".", b"..") or (name.endswith(b"/") and not directory) or place.is_read_only:
        return
    file = searcher.child(place, last)
    if file is not None:
        _may_delete(searcher, place, file)


@searches("unlink")
def unlink(searcher: Searcher) -> None:
    """unlink(2): the directory must be one to write and search; if it is sticky, it or the file the caller's."""
    _remove(searcher, AT_FDCWD, searcher.call.path(0), directory=False)


@searches("rmdir")
def rmdir(searcher: Searcher) -> None:
    """As `unlink`, for rmdir(2)."""
    _remove(searcher, AT_FDCWD, searcher.call.path(0), directory=True)


_AT_REMOVEDIR: Final = 0x200


@searches("unlinkat")
def unlinkat(searcher: Searcher) -> None:
    """As `unlink` or `rmdir`, relative to a descriptor."""
    flags = searcher.call.unsigned(2)
    if not flags & ~_AT_REMOVEDIR:
        _remove(searcher, searcher.call.signed(0), searcher.call.path(1), directory=bool(flags))


@searches("rename")
def rename(searcher: Searcher) -> None:
    """rename(2): as `unlink` for both names; a directory that moves gets another "..": it must be one to write."""
    _rename(searcher, (AT_FDCWD, searcher.call.path(0)), (AT_FDCWD, searcher.call.path(1)), 0)


@searches("renameat")
def renameat(searcher: Searcher) -> None:
    """As `rename`, relative to descriptors."""
    _rename(searcher, *_two(searcher.call), 0)


_NOREPLACE, _EXCHANGE, _WHITEOUT = 1, 2, 4


@searches("renameat2")
def renameat2(searcher: Searcher) -> None:
    """As `renameat`; names may be exchanged."""
    flags = searcher.call.unsigned(4)
    if flags in (0, _NOREPLACE, _EXCHANGE, _WHITEOUT, _NOREPLACE | _WHITEOUT):
        _rename(searcher, *_two(searcher.call), flags)


def _two(call: Call) -> tuple[tuple[int, bytes], tuple[int, bytes]]:
    return (call.signed(0), call.path(1)), (call.signed(2), call.path(3))


def _rename(searcher: Searcher, old: tuple[int, bytes], new: tuple[int, bytes], flags: int) -> None:
    from_place, from_name = searcher.parent(*old)
    to_place, to_name = searcher.parent(*new)
    if {from_name, to_name} & {b".", b".."} or from_place.mount != to_place.mount or from_place.is_read_only:
        return  # EBUSY, EXDEV, EROFS
    source, target = searcher.child(from_place, from_name), searcher.child(to_place, to_name)
    if source is None or (target is None and flags & _EXCHANGE) or (target is not None and flags & _NOREPLACE):
        return  # ENOENT, EEXIST
    is_directory = S_ISDIR(source.st.st_mode)
    slash = new[1].endswith(b"/")
    if flags & _EXCHANGE and slash and target is not None and not S_ISDIR(target.st.st_mode):
        return  # ENOTDIR
    slash = old[1].endswith(b"/") or (slash and not flags & _EXCHANGE)
    if (slash and not is_directory) or _same(source, target) or _is_within(source, to_place):
        return  # ENOTDIR, nothing to do, EINVAL
    if target is not None and _is_within(target, from_place):
        return  # ENOTEMPTY
    _may_delete(searcher, from_place, source)
    moves = not _same(from_place, to_place)
    if target is None:
        searcher.demand(to_place, CHANGE)
    else:
        _may_delete(searcher, to_place, target)
        to_directory = S_ISDIR(target.st.st_mode)
        if not flags & _EXCHANGE and to_directory != is_directory:
            return  # ENOTDIR, EISDIR
        if flags & _EXCHANGE and moves and to_directory and not is_directory:
            searcher.demand(target, WRITE)
    if moves and is_directory:
        searcher.demand(source, WRITE)
        if flags & _EXCHANGE and target is not None and S_ISDIR(target.st.st_mode):
            searcher.demand(target, WRITE)


def _same(one: File, other: File | None) -> bool:
    return other is not None and (one.st.st_dev, one.st.st_ino) == (other.st.st_dev, other.st.st_ino)


def _is_within(outer: File, directory: File) -> bool:
    """Whether `outer` is an ancestor of `directory`, or the same."""
    if not S_ISDIR(outer.st.st_mode):
        return False
    looked_for = (outer.st.st_dev, outer.st.st_ino)
    above = b"."
    last = (0, 0)
    while True:
        st = os.stat(above, dir_fd=directory.fd)
        here = (st.st_dev, st.st_ino)
        if here == looked_for:
            return True
        if here == last:
            return False
        last = here
        above = b"../" + above
