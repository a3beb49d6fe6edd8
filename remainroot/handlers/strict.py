# SPDX-License-Identifier: GPL-2.0-or-later
"""`--strict`: what a user without root's power is refused, as the kernel would refuse it (path_resolution(7)).

A guard finds the files that a call is about as the caller would, and asks `remainroot.permissions` in the order in
which the kernel asks. Where it has no objection the call goes its way as without the option, and what is wrong with
it otherwise (no such file, a read-only mount) the kernel says. This is not a sandbox: between the question and the
call another task may exchange a file.
"""

from __future__ import annotations

import os
from errno import EACCES, EPERM
from stat import S_ISDIR, S_ISLNK, S_ISREG
from struct import Struct

from remainroot import permissions
from remainroot.credentials import CAP_DAC_READ_SEARCH, CAP_LEASE, CAP_SYS_ADMIN, CAP_SYS_CHROOT
from remainroot.dispatch import Refused, equals, otherwise
from remainroot.handlers.creation import KNOWN_FLAGS, MODE_BITS, MOST_HOW
from remainroot.handlers.programs import hides_scripts, interpreter
from remainroot.handlers.searching import CHANGE, Searcher, searches, setting
from remainroot.handlers.times import times_of
from remainroot.handlers.views import opened
from remainroot.kernel import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_SYMLINK_FOLLOW,
    AT_SYMLINK_NOFOLLOW,
    O_PATH,
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
)
from remainroot.permissions import EXECUTE, READ, WRITE
from remainroot.quick import ENTER, SEARCH, looking
from remainroot.tracee import open_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call, Outcome
    from remainroot.handlers.searching import File
    from remainroot.handlers.times import Wanted

_O_TMPFILE: Final = 0o20000000 | os.O_DIRECTORY
_CREATES: Final = os.O_CREAT | 0o20000000
_OPEN_HOW: Final = Struct("=QQQ")
_RESOLVE: Final = 0x3F
"""All RESOLVE_ flags."""
_ONE_OF: Final = RESOLVE_BENEATH | RESOLVE_IN_ROOT
_OF_PATHS: Final = O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""What openat2(2) takes beside O_PATH."""

# ---------------------------------------------------------------- looking


@searches("stat", "stat64", "oldstat", "chmod", "chown", "chown32", "statfs", "statfs64", "listxattr")
def path(searcher: Searcher) -> None:
    """Directories must be searched to find what a path names."""
    searcher.find_at(AT_FDCWD, 0)


@searches("lstat", "lstat64", "oldlstat", "lchown", "lchown32", "llistxattr")
def link_path(searcher: Searcher) -> None:
    """As `path`, of a symbolic link itself."""
    searcher.find_at(AT_FDCWD, 0, AT_SYMLINK_NOFOLLOW)


@searches("newfstatat", "fstatat64", "fchmodat2")
def path_and_flags(searcher: Searcher) -> None:
    """As `path`, relative to a descriptor; the fourth argument holds flags."""
    searcher.find_at(searcher.call.signed(0), 1, searcher.call.unsigned(3))


@searches("statx", "listxattrat")
def path_then_flags(searcher: Searcher) -> None:
    """As `path`, relative to a descriptor; the third argument holds flags."""
    searcher.find_at(searcher.call.signed(0), 1, searcher.call.unsigned(2))


@searches("fchownat", "file_getattr", "file_setattr")
def fchownat(searcher: Searcher) -> None:
    """As `path`, relative to a descriptor; the fifth argument holds flags."""
    searcher.find_at(searcher.call.signed(0), 1, searcher.call.unsigned(4))


@searches("fchmodat")
def fchmodat(searcher: Searcher) -> None:
    """As `path`, relative to a descriptor."""
    searcher.find_at(searcher.call.signed(0), 1)


@searches("readlink", quick=looking(SEARCH, path=0, fixed=AT_SYMLINK_NOFOLLOW))
def readlink(searcher: Searcher) -> None:
    """As `link_path`; what is a process' own is not shown to everybody: proc(5)."""
    _read_link(searcher, searcher.find_at(AT_FDCWD, 0, AT_SYMLINK_NOFOLLOW))


@searches("readlinkat", quick=looking(SEARCH, dirfd=0, path=1, fixed=AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
def readlinkat(searcher: Searcher) -> None:
    """As `readlink`, relative to a descriptor, which may be the link."""
    _read_link(searcher, searcher.find_at(searcher.call.signed(0), 1, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))


def _read_link(searcher: Searcher, file: File) -> None:
    if S_ISLNK(file.st.st_mode):
        searcher.may_jump(file)


@searches("name_to_handle_at")
def name_to_handle_at(searcher: Searcher) -> None:
    """As `path` or `link_path`, as flags say."""
    flags = searcher.call.unsigned(4)
    searcher.find_at(searcher.call.signed(0), 1, flags if flags & AT_SYMLINK_FOLLOW else flags | AT_SYMLINK_NOFOLLOW)


# ---------------------------------------------------------------- open


@searches("open")
def open_(searcher: Searcher) -> None:
    """open(2): what the access mode says, of the file or of the directory it would be created in."""
    _open(searcher, AT_FDCWD, 0, searcher.call.unsigned(1))


@searches("openat")
def openat(searcher: Searcher) -> None:
    """As `open`, relative to a descriptor."""
    _open(searcher, searcher.call.signed(0), 1, searcher.call.unsigned(2))


@searches("openat2")
def openat2(searcher: Searcher) -> None:
    """As `openat`; what a restricted way leads out of is the kernel's to say."""
    call = searcher.call
    if _OPEN_HOW.size <= call.ptr(3) <= MOST_HOW:
        how = call.read(call.ptr(2), call.ptr(3))
        flags, mode, resolve = _OPEN_HOW.unpack_from(how)
        known = not flags & ~KNOWN_FLAGS and not resolve & ~_RESOLVE and not any(how[_OPEN_HOW.size :])
        known &= not (flags & O_PATH and flags & ~_OF_PATHS) and resolve & _ONE_OF != _ONE_OF
        if known and not mode & (~MODE_BITS if flags & _CREATES else -1):
            searcher.restrict(call.signed(0), resolve)
            _open(searcher, call.signed(0), 1, flags)


@searches("creat")
def creat(searcher: Searcher) -> None:
    """As `open` with O_CREAT | O_WRONLY | O_TRUNC."""
    _open(searcher, AT_FDCWD, 0, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)


@otherwise("open", path=0)
def read(call: Call) -> Outcome:
    """open(2) to read: what procfs says of tasks is true from the start."""
    return opened(call, AT_FDCWD, 0, call.unsigned(1))


@otherwise("openat", dirfd=0, path=1)
def read_at(call: Call) -> Outcome:
    """As `read`, relative to a descriptor."""
    return opened(call, call.signed(0), 1, call.unsigned(2))


def _open(searcher: Searcher, dirfd: int, index: int, flags: int) -> None:
    name = searcher.call.path(index)
    follow = not flags & os.O_NOFOLLOW
    if flags & O_PATH:
        searcher.find(dirfd, name, follow=follow)
        return
    want = (READ, WRITE, READ | WRITE, READ | WRITE)[flags & os.O_ACCMODE]
    if flags & os.O_TRUNC:
        want |= WRITE
    if flags & _O_TMPFILE == _O_TMPFILE:
        directory = searcher.find(dirfd, name)
        if want & WRITE and S_ISDIR(directory.st.st_mode) and not directory.is_read_only:
            searcher.demand(directory, CHANGE)
    elif flags & os.O_CREAT:
        if not flags & os.O_DIRECTORY:
            _create_or_open(searcher, dirfd, name, flags, want)
    else:
        _open_existing(searcher, searcher.find(dirfd, name, follow=follow), flags, want)


def _create_or_open(searcher: Searcher, dirfd: int, name: bytes, flags: int, want: int) -> None:
    """O_CREAT: a new file in a directory that may be changed, or one that is there."""
    if name.endswith(b"/"):
        searcher.parent(dirfd, name)
        return  # EISDIR
    directory, file = searcher.destination(dirfd, name, follow=not flags & (os.O_NOFOLLOW | os.O_EXCL))
    if file is None:
        if not directory.is_read_only:
            searcher.demand(directory, CHANGE)
        return
    if flags & os.O_EXCL or S_ISDIR(file.st.st_mode):
        return  # EEXIST, EISDIR
    fifos, regular = setting("protected_fifos"), setting("protected_regular")
    found = searcher.owner(file)
    if not permissions.may_reuse(searcher.creds, searcher.owner(directory), found, fifos=fifos, regular=regular):
        raise Refused(EACCES)
    _open_existing(searcher, file, flags, want)


def _open_existing(searcher: Searcher, file: File, flags: int, want: int) -> None:
    mode = file.st.st_mode
    if S_ISLNK(mode) or (flags & os.O_DIRECTORY and not S_ISDIR(mode)):
        return  # ELOOP, ENOTDIR
    if want & WRITE:
        regular = S_ISREG(searcher.owner(file).mode)
        unwritable = file.is_read_only if flags & os.O_TRUNC and regular else searcher.is_frozen(file)
        if S_ISDIR(mode) or unwritable:
            return  # EISDIR, EROFS
    searcher.demand(file, want)
    searcher.may_inspect(file)
    if flags & os.O_NOATIME and not searcher.creds.owns(searcher.owner(file).uid):
        raise Refused(EPERM)


# ---------------------------------------------------------------- directories to be in


def _enter(searcher: Searcher, directory: File) -> None:
    if S_ISDIR(directory.st.st_mode):
        searcher.search(directory)


@searches("chdir", quick=looking(ENTER, path=0))
def chdir(searcher: Searcher) -> None:
    """chdir(2): the directory must be one to search."""
    _enter(searcher, searcher.find(AT_FDCWD, searcher.call.path(0)))


@searches("fchdir")
def fchdir(searcher: Searcher) -> None:
    """As `chdir`, of an open directory."""
    _enter(searcher, searcher.base(searcher.call.signed(0)))


@searches("chroot")
def chroot(searcher: Searcher) -> None:
    """chroot(2): as `chdir`, and CAP_SYS_CHROOT."""
    directory = searcher.find(AT_FDCWD, searcher.call.path(0))
    if S_ISDIR(directory.st.st_mode):
        searcher.search(directory)
        if not searcher.creds.capable_inside(CAP_SYS_CHROOT):
            raise Refused(EPERM)


# ---------------------------------------------------------------- contents, times, attributes


@searches("truncate", "truncate64")
def truncate(searcher: Searcher) -> None:
    """truncate(2): a regular file must be one to write."""
    file = searcher.find(AT_FDCWD, searcher.call.path(0))
    if S_ISREG(searcher.owner(file).mode) and not searcher.is_frozen(file):
        searcher.demand(file, WRITE)


def _set_times(searcher: Searcher, file: File, *, given: bool) -> None:
    """To now takes the owner or a file to write (EACCES); to a `given` time the owner (EPERM): utimensat(2)."""
    if searcher.creds.owns(searcher.owner(file).uid) or file.is_read_only:
        return
    if given:
        raise Refused(EPERM)
    searcher.demand(file, WRITE)


def _wanted(call: Call, index: int) -> Wanted | None:
    """The times that argument `index` tells; None where they change nothing, or the kernel says so first (EINVAL)."""
    try:
        times = times_of(call, index)
    except ValueError:
        return None
    return None if times.empty else times


@searches("utime", "utimes")
def utime(searcher: Searcher) -> None:
    """utime(2): takes the owner, or for the present time a file to write."""
    times = _wanted(searcher.call, 1)
    if times is not None:
        _set_times(searcher, searcher.find_at(AT_FDCWD, 0), given=times.given)


@searches("futimesat")
def futimesat(searcher: Searcher) -> None:
    """As `utime`, relative to a descriptor."""
    times = _wanted(searcher.call, 2)
    if times is not None:
        file = searcher.find_at(searcher.call.signed(0), 1, 0 if searcher.call.ptr(1) else AT_EMPTY_PATH)
        _set_times(searcher, file, given=times.given)


@searches("utimensat", "utimensat_time64")
def utimensat(searcher: Searcher) -> None:
    """As `utime`, each time given, the present or left as it is: utimensat(2)."""
    call = searcher.call
    times = _wanted(call, 2)
    if times is None:
        return
    by_number = not call.ptr(1)
    if by_number and (call.unsigned(3) or call.world.files.is_path_only(call.tid, call.signed(0))):
        return  # EINVAL, EBADF
    file = searcher.find_at(call.signed(0), 1, AT_EMPTY_PATH if by_number else call.unsigned(3))
    _set_times(searcher, file, given=times.given)


# ---------------------------------------------------------------- descriptors, handles

_F_SETFL, _F_SETLEASE, _F_SET_RW_HINT = 4, 1024, 1036
_LEASES: Final = (0, 1, 2)
"""F_RDLCK, F_WRLCK and F_UNLCK."""


@searches("fcntl", "fcntl64", when=equals(1, _F_SETFL, _F_SETLEASE, _F_SET_RW_HINT))
def fcntl(searcher: Searcher) -> None:
    """fcntl(2): O_NOATIME and a hint take the owner (EPERM), as a lease does (EACCES)."""
    call = searcher.call
    file = searcher.base(call.signed(0))
    if call.unsigned(1) == _F_SETFL:
        if not call.ptr(2) & os.O_NOATIME or searcher.creds.owns(searcher.owner(file).uid):
            return
        if not open_flags(call.tid, call.signed(0)) & (os.O_NOATIME | O_PATH):
            raise Refused(EPERM)
    elif call.unsigned(1) == _F_SET_RW_HINT:
        if not searcher.creds.owns(searcher.owner(file).uid):
            raise Refused(EPERM)
    elif searcher.creds.fsuid != searcher.owner(file).uid and not searcher.creds.capable(CAP_LEASE):
        if call.signed(2) not in _LEASES:
            return  # EINVAL
        if call.world.files.is_path_only(call.tid, call.signed(0)):
            return  # EBADF
        raise Refused(EACCES)


@searches("cachestat")
def cachestat(searcher: Searcher) -> None:
    """cachestat(2), Linux 6.5: takes the owner, a file that may be written, or a descriptor to write by."""
    file = searcher.base(searcher.call.signed(0))
    if searcher.creds.owns(searcher.owner(file).uid) or searcher.permits(file, WRITE):
        return
    if not open_flags(searcher.call.tid, searcher.call.signed(0)) & os.O_ACCMODE:
        raise Refused(EPERM)


_MAX_HANDLE: Final = 128


@searches("open_by_handle_at")
def open_by_handle_at(searcher: Searcher) -> None:
    """open_by_handle_at(2): looks nothing up, and takes CAP_DAC_READ_SEARCH."""
    call = searcher.call
    size = int.from_bytes(call.read(call.ptr(1), 4), "little")
    if 0 < size <= _MAX_HANDLE:
        searcher.base(call.signed(0))
        if not searcher.creds.capable(CAP_DAC_READ_SEARCH):
            raise Refused(EPERM)


# ---------------------------------------------------------------- watches

_IN_DONT_FOLLOW: Final = 0x0200_0000


@searches("inotify_add_watch")
def inotify_add_watch(searcher: Searcher) -> None:
    """inotify_add_watch(2): the file must be one to read."""
    follow = not searcher.call.unsigned(2) & _IN_DONT_FOLLOW
    searcher.demand(searcher.find(AT_FDCWD, searcher.call.path(1), follow=follow), READ)


_FAN_MARK_DONT_FOLLOW, _FAN_MARK_FLUSH = 4, 0x80
_FAN_MARK_OTHERS: Final = 0x110
"""FAN_MARK_MOUNT, FAN_MARK_FILESYSTEM and both: what is not one file."""


@searches("fanotify_mark")
def fanotify_mark(searcher: Searcher) -> None:
    """fanotify_mark(2): as inotify_add_watch; of more than one file it takes CAP_SYS_ADMIN."""
    call = searcher.call
    flags = call.unsigned(1)
    if flags & _FAN_MARK_FLUSH:
        return
    wide = call.abi.bits == 64  # else the mask takes two arguments
    dirfd, index = (call.signed(3), 4) if wide else (call.signed(4), 5)
    if flags & _FAN_MARK_OTHERS and not searcher.creds.capable(CAP_SYS_ADMIN):
        raise Refused(EPERM)
    if call.ptr(index):
        file = searcher.find(dirfd, call.path(index), follow=not flags & _FAN_MARK_DONT_FOLLOW)
    else:
        file = searcher.base(dirfd)
    searcher.demand(file, READ)


# ---------------------------------------------------------------- rings


@searches("io_uring_setup")
def io_uring_setup(searcher: Searcher) -> None:
    """io_uring_setup(2): EPERM without CAP_SYS_ADMIN, as where io_uring_disabled is 1: nobody sees what it opens."""
    if not searcher.creds.capable(CAP_SYS_ADMIN):
        raise Refused(EPERM)


# ---------------------------------------------------------------- programs

_MAX_INTERPRETERS: Final = 5


@searches("execve")
def execve(searcher: Searcher) -> None:
    """execve(2): the program, and the interpreter of a script, must be ones to execute."""
    _execute(searcher, searcher.find_at(AT_FDCWD, 0))


@searches("execveat")
def execveat(searcher: Searcher) -> None:
    """As `execve`, relative to a descriptor, which may be the program."""
    call = searcher.call
    dirfd = call.signed(0)
    file = searcher.find_at(dirfd, 1, call.unsigned(4))
    _execute(searcher, file, hidden=hides_scripts(call, dirfd, 1))


def _execute(searcher: Searcher, file: File, *, hidden: bool = False) -> None:
    """The program may be executed; `hidden`: no interpreter would find a script that is named so (ENOENT)."""
    for _ in range(_MAX_INTERPRETERS):
        if not S_ISREG(file.st.st_mode):
            return  # EACCES, ELOOP
        searcher.demand(file, EXECUTE)
        name = None if hidden else interpreter(file.fd)
        if name is None:
            return
        file = searcher.find(AT_FDCWD, name)
