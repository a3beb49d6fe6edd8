# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that tasks create: they belong to the creator's file-system ids, or to a set-gid directory's group (inode(7)).

Where that is what the kernel will do by itself (root in an ordinary directory) it does. Elsewhere the file is made
here, in the directory the task means and with its umask, and its owner is recorded before the call is answered. A
task that has confined itself with Landlock makes its files itself, for we never do for it what it may not do. Whose
they are is recorded as soon as they are there (`remainroot/births.py`).
"""

from __future__ import annotations

import os
from errno import EEXIST, EPERM
from stat import (
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFIFO,
    S_IFMT,
    S_IFREG,
    S_IFSOCK,
    S_IMODE,
    S_ISDIR,
    S_ISGID,
    S_ISREG,
)
from struct import Struct

from remainroot import quick, readers
from remainroot.credentials import CAP_MKNOD
from remainroot.dispatch import CONTINUE, DONE, Fail, InstallFd, handles, has_bits
from remainroot.handlers.opening import open_existing
from remainroot.handlers.paths import not_permitted
from remainroot.handlers.places import Place, place_of
from remainroot.handlers.views import opened
from remainroot.kernel import AT_FDCWD, EXHAUSTED, O_CLOEXEC, O_PATH, RESOLVE_IN_ROOT
from remainroot.quick import WRITTEN_NAMES
from remainroot.store.base import SET_ID, Owner
from remainroot.tracee import umask_of
from remainroot.world import NULL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from remainroot.dispatch import Call, Outcome
    from remainroot.quick import Quick

    Maker = Callable[[int, bytes, int], None]

_O_TMPFILE_BIT: Final = 0o20000000
_RESOLVE_CACHED: Final = 0x20
_MAX_LINKS: Final = 40
_OPEN_HOW: Final = Struct("=QQQ")
MOST_HOW: Final = 4096
KNOWN_FLAGS: Final = (
    os.O_ACCMODE | os.O_CREAT | os.O_EXCL | os.O_NOCTTY | os.O_TRUNC | os.O_APPEND | os.O_NONBLOCK | os.O_SYNC
    | os.O_ASYNC | os.O_DIRECT | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NOATIME | os.O_CLOEXEC | os.O_TMPFILE
    | O_PATH | 0o500000
)  # fmt: skip
"""What openat2(2) takes; open(2) does not mind others. (O_LARGEFILE is one bit here, another on ARM.)"""
MODE_BITS: Final = 0o7777
_NAME_MAX: Final = 255
_DEVICE_BIT: Final = 0o20000
"""In the types of both kinds of device, and in that of no other file that mknod(2) makes."""
_NOTABLE: Final = _DEVICE_BIT | SET_ID
"""What in a mode makes a file more than the kernel can make it."""


def _kernel_does_it(call: Call, mode: int = 0o700, *, directory: bool = False) -> bool:
    """Whether what the caller creates will look right by itself.

    It does if it is root's, no directory can pass anything on, it has no set-id bits (see store.base.Owner), and root
    can use it with its mode.
    """
    world = call.world
    if world.weak:
        mode &= ~umask_of(call.tid)  # shadow's tools create their files under umask 0777
    if (mode & SET_ID or world.workable(mode, directory=directory) != mode) and not call.state.confined:
        return False
    hands_down = world.store.group_directories or world.store.default_lists or world.settings.unknown_is_real
    if world.tasks.untouched:
        return not hands_down
    creds = call.creds
    return creds.fsuid == 0 and creds.fsgid == 0 and not hands_down


def _create(call: Call, dirfd: int, path: bytes, make: Maker, mode: int, owner_mode: int = 0, rdev: int = 0) -> Outcome:
    """Have `make(directory, name, mode)` create something under the task's umask, and record whose it is."""
    place = place_of(call, dirfd, path)
    if place is None:
        return CONTINUE
    try:
        mask = umask_of(call.tid)
        regular = S_ISREG(mode) and not owner_mode
        if place.leaves_to_kernel(place.cut(S_IMODE(mode), mask)) if regular else place.ordinary and not owner_mode:
            return CONTINUE
        if call.state.confined:
            return _leave_to_task(call, place)
        shown = owner_mode and place.cut(owner_mode, mask)
        if S_ISDIR(shown) and place.set_gid:
            shown |= S_ISGID
        owner = Owner(place.owner.uid, place.owner.gid, shown, rdev)
        if regular:
            owner = place.owner_of(place.cut(S_IMODE(place.mode(mode)), mask))
        call.check()
        previous = os.umask(call.world.workable_umask(mask))
        try:
            disk = mode if make is _make_directory else place.mode(mode)
            if not (rdev and place.make_whole(disk, owner)):
                make(place.directory, place.name, disk)
        finally:
            os.umask(previous)
        place.record(owner)
    finally:
        os.close(place.directory)
    return DONE


def _leave_to_task(call: Call, place: Place, kind: int = 0) -> Outcome:
    """Have the task make what `place` names (of this type), and whose it is recorded as soon as it is there."""
    if not place.ordinary and not place.exists():
        call.world.births.expect(call.tid, os.dup(place.directory), place.name, place.owner, place.acl, kind)
    return CONTINUE


# ---------------------------------------------------------------- open


_OPEN_BITS: Final = (os.O_CREAT, _O_TMPFILE_BIT, os.O_WRONLY, os.O_RDWR, os.O_TRUNC, os.O_NOATIME)


_ANY_OPEN_BIT: Final = os.O_CREAT | _O_TMPFILE_BIT | os.O_ACCMODE | os.O_TRUNC | os.O_NOATIME


def _quick_open(flags: int, mode: int, path: int, dirfd: int = -1) -> Quick:
    """An open without set-id bits; O_TMPFILE names the directory itself, and is not quick."""
    clear, clear_too = (mode, SET_ID), (flags, _O_TMPFILE_BIT)
    return quick.create(path=path, dirfd=dirfd, clear=clear, clear_too=clear_too, open_flags=flags)


@handles("open", when=has_bits(1, *_OPEN_BITS), quick=_quick_open(1, 2, path=0), readers=readers.ANY)
def open_(call: Call) -> Outcome:
    """open(2) to create, to write, or with O_NOATIME; of some programs each (see `remainroot.readers`)."""
    return _open(call, AT_FDCWD, 0, call.unsigned(1), call.unsigned(2))


@handles("openat", when=has_bits(2, *_OPEN_BITS), quick=_quick_open(2, 3, dirfd=0, path=1), readers=readers.ANY)
def openat(call: Call) -> Outcome:
    """openat(2), as open."""
    return _open(call, call.signed(0), 1, call.unsigned(2), call.unsigned(3))


@handles("creat", quick=quick.create(path=0, clear=(1, SET_ID)))
def creat(call: Call) -> Outcome:
    """creat(2): open with O_CREAT | O_WRONLY | O_TRUNC."""
    return _open(call, AT_FDCWD, 0, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, call.unsigned(1))


@handles("openat2")
def openat2(call: Call) -> Outcome:
    """openat2(2); with restrictions on the resolution the kernel opens it, and a new file is recorded afterwards."""
    if _kernel_does_it(call):
        return CONTINUE
    size = call.ptr(3)
    if not _OPEN_HOW.size <= size <= MOST_HOW:
        return CONTINUE  # EINVAL, E2BIG
    how = call.read(call.ptr(2), size)
    flags, mode, resolve = _OPEN_HOW.unpack_from(how)
    if flags & ~KNOWN_FLAGS or mode & ~MODE_BITS or any(how[_OPEN_HOW.size :]):
        return CONTINUE
    if resolve:
        return _open_restricted(call, flags, mode, resolve)
    return _open(call, call.signed(0), 1, flags, mode)


def _open_restricted(call: Call, flags: int, mode: int, resolve: int) -> Outcome:
    """The way is the kernel's to go; where it would lead without restrictions is where a new file may be."""
    if flags & O_PATH or not flags & (os.O_CREAT | _O_TMPFILE_BIT) or resolve & _RESOLVE_CACHED:
        return CONTINUE  # of what is cached nothing can be made: EAGAIN
    try:
        path = call.path(1)
    except OSError:
        return CONTINUE  # EFAULT, or EINVAL for the restrictions
    if flags & _O_TMPFILE_BIT:
        return _open_nameless(call, call.signed(0), path, flags, mode, resolve)
    place = place_of(call, call.signed(0), path.lstrip(b"/") if resolve & RESOLVE_IN_ROOT else path)
    if place is None:
        return CONTINUE
    try:
        for _ in range(_MAX_LINKS):
            if not place.exists():
                return _leave_to_task(call, place, S_IFREG)
            if flags & (os.O_EXCL | os.O_NOFOLLOW) or not place.led_on():
                break
    finally:
        os.close(place.directory)
    return CONTINUE


def _open(  # noqa: PLR0911  # each way out is one rule
    call: Call, dirfd: int, index: int, flags: int, mode: int
) -> Outcome:
    if flags & O_PATH:
        return CONTINUE
    if not flags & _ANY_OPEN_BIT:
        return opened(call, dirfd, index, flags)
    if flags & os.O_ACCMODE:
        found = _pretended_file(call, dirfd, index, flags)
        if found is not None:
            return found
    if not flags & (os.O_CREAT | _O_TMPFILE_BIT) or _kernel_does_it(call, mode):
        return open_existing(call, dirfd, index, flags)
    try:
        path = call.path(index)
    except OSError:
        return CONTINUE
    if flags & _O_TMPFILE_BIT:
        return _open_nameless(call, dirfd, path, flags, mode & MODE_BITS)
    place = place_of(call, dirfd, path)
    if place is None:
        return CONTINUE
    try:
        for _ in range(_MAX_LINKS):
            if not place.exists():
                return _open_new(call, place, flags, mode & MODE_BITS)
            if flags & (os.O_EXCL | os.O_NOFOLLOW) or not place.led_on():
                break
        return open_existing(call, dirfd, index, flags)
    finally:
        os.close(place.directory)


def _pretended_file(call: Call, dirfd: int, index: int, flags: int) -> Outcome | None:
    """An open to write of a file on procfs that takes what the kernel would not; None of any other."""
    try:
        if call.path(index).rpartition(b"/")[2] not in WRITTEN_NAMES:
            return None
    except OSError:
        return None
    from remainroot.handlers import task_files

    return task_files.open_to_write(call, dirfd, index, flags)


def _open_new(call: Call, place: Place, flags: int, mode: int) -> Outcome:
    """Create the regular file that `place` names, open it and hand it over."""
    mask = umask_of(call.tid)
    mode = place.mode(mode)
    if flags & os.O_DIRECTORY or place.leaves_to_kernel(place.cut(mode, mask)):
        return CONTINUE
    if call.state.confined:
        return _leave_to_task(call, place)
    call.check()
    previous = os.umask(call.world.workable_umask(mask))
    try:
        ours = os.O_CREAT | os.O_EXCL | O_CLOEXEC  # EXCL follows no link either
        fd = os.open(place.name, flags | ours, call.world.workable(mode), dir_fd=place.directory)
    except OSError as error:
        if error.errno == EEXIST and not flags & os.O_EXCL:
            return CONTINUE  # somebody was faster
        raise
    finally:
        os.umask(previous)
    return _hand_over(place, fd, place.owner_of(place.cut(mode, mask)), flags)


def _open_nameless(
    call: Call, dirfd: int, path: bytes, flags: int, mode: int, resolve: int = 0
) -> Outcome:
    """O_TMPFILE: `path` is the directory. What has no name cannot be recorded later."""
    if call.state.confined:
        return CONTINUE
    files = call.world.files
    try:
        if resolve:
            directory = files.resolve_restricted(call.tid, dirfd, path, resolve)
        else:
            directory = files.resolve(call.tid, dirfd, path)
    except OSError as error:
        if error.errno in EXHAUSTED:
            raise
        return CONTINUE
    place = Place(call, directory, b"")
    mask = umask_of(call.tid)
    previous = os.umask(call.world.workable_umask(mask))
    try:
        mode = place.mode(mode)
        permissions = place.cut(mode, mask)
        if place.leaves_to_kernel(permissions):
            return CONTINUE
        fd = os.open(f"/proc/self/fd/{directory}", flags | O_CLOEXEC, call.world.workable(mode))
    finally:
        os.umask(previous)
        os.close(directory)
    return _hand_over(place, fd, place.owner_of(permissions), flags)


def _hand_over(place: Place, fd: int, owner: Owner, flags: int) -> Outcome:
    try:
        place.record_open(fd, owner)
    except BaseException:
        os.close(fd)
        if place.name:
            place.remove()
        raise
    return InstallFd(fd, cloexec=bool(flags & O_CLOEXEC))


# ---------------------------------------------------------------- directories, links, nodes


def _make_directory(directory: int, name: bytes, mode: int) -> None:
    os.mkdir(name, mode, dir_fd=directory)


@handles("mkdir", quick=quick.create(path=0))
def mkdir(call: Call) -> Outcome:
    """mkdir(2)."""
    return _mkdir(call, AT_FDCWD, 0, call.unsigned(1))


@handles("mkdirat", quick=quick.create(dirfd=0, path=1))
def mkdirat(call: Call) -> Outcome:
    """mkdirat(2)."""
    return _mkdir(call, call.signed(0), 1, call.unsigned(2))


def _mkdir(call: Call, dirfd: int, index: int, mode: int) -> Outcome:
    mode &= 0o1777
    if _kernel_does_it(call, mode, directory=True):
        return CONTINUE
    try:
        path = call.path(index).rstrip(b"/") or b"/"
    except OSError:
        return CONTINUE
    disk = call.world.workable(mode, directory=True)
    own = call.world.weak and call.world.workable(mode & ~umask_of(call.tid), directory=True) != mode
    return _create(call, dirfd, path, _make_directory, disk, S_IFDIR | mode if own else 0)


@handles("symlink", quick=quick.create(path=1))
def symlink(call: Call) -> Outcome:
    """symlink(2)."""
    return _symlink(call, AT_FDCWD, 1)


@handles("symlinkat", quick=quick.create(dirfd=1, path=2))
def symlinkat(call: Call) -> Outcome:
    """symlinkat(2)."""
    return _symlink(call, call.signed(1), 2)


def _symlink(call: Call, dirfd: int, index: int) -> Outcome:
    if _kernel_does_it(call):
        return CONTINUE
    try:
        target, path = call.path(0), call.path(index)
    except OSError:
        return CONTINUE
    if not target:
        return CONTINUE  # ENOENT

    def make(directory: int, name: bytes, mode: int) -> None:
        del mode
        os.symlink(target, name, dir_fd=directory)

    return _create(call, dirfd, path, make, 0)


@handles("mknod", quick=quick.create(path=0, clear=(1, _NOTABLE), node=1), blind=has_bits(1, _DEVICE_BIT))
def mknod(call: Call) -> Outcome:
    """mknod(2)."""
    return _mknod(call, AT_FDCWD, 0, call.unsigned(1), call.unsigned(2))


@handles(
    "mknodat", quick=quick.create(dirfd=0, path=1, clear=(2, _NOTABLE), node=2), blind=has_bits(2, _DEVICE_BIT)
)
def mknodat(call: Call) -> Outcome:
    """mknodat(2)."""
    return _mknod(call, call.signed(0), 1, call.unsigned(2), call.unsigned(3))


def _mknod(  # noqa: PLR0911  # each way out is one rule
    call: Call, dirfd: int, index: int, mode: int, dev: int
) -> Outcome:
    """A device becomes an empty regular file that every stat shows as the device; EPERM without CAP_MKNOD.

    But anybody may make an overlay's whiteout, 0:0, and the kernel makes a real one.
    """
    kind = S_IFMT(mode) or S_IFREG
    device = kind == S_IFBLK or (kind == S_IFCHR and dev != 0)
    if not device:
        if kind not in (S_IFREG, S_IFCHR, S_IFIFO, S_IFSOCK):
            return CONTINUE
        if _kernel_does_it(call, S_IMODE(mode)) if kind == S_IFREG else _kernel_does_it(call):
            return CONTINUE
    elif not call.creds.capable(CAP_MKNOD):
        place = place_of(call, dirfd, call.path(index))
        if place is None:
            return CONTINUE
        try:
            if place.exists():
                return Fail(EEXIST)
            return CONTINUE if len(place.name) > _NAME_MAX else not_permitted(place.directory)
        finally:
            os.close(place.directory)
    elif call.state.confined:
        return Fail(EPERM)
    try:
        path = call.path(index)
    except OSError:
        return CONTINUE

    def make(directory: int, name: bytes, mode: int) -> None:
        os.mknod(name, call.world.workable(mode) if kind == S_IFREG else mode, dir_fd=directory)

    if device:
        permissions, number = S_IMODE(mode), os.makedev(*_split(dev))
        call.world.readable_nodes |= kind == S_IFBLK or number != NULL
        return _create(call, dirfd, path, make, S_IFREG | permissions, kind | permissions, number)
    return _create(call, dirfd, path, make, kind | S_IMODE(mode))


def _split(dev: int) -> tuple[int, int]:
    """Major and minor number of the 32-bit device number that mknod takes: mmmM MMmm."""
    return dev >> 8 & 0xFFF, (dev & 0xFF) | (dev >> 12 & 0xFFF00)


# ---------------------------------------------------------------- sockets

_AF_UNIX: Final = 1
_SUN_PATH: Final = 108


@handles("bind", quick=quick.CREATE_SOMEWHERE)
def bind(call: Call) -> Outcome:
    """bind(2) of a unix socket to a path: the new file belongs to the caller."""
    return bind_address(call, call.ptr(1), call.unsigned(2))


def bind_address(call: Call, address: int, length: int) -> Outcome:
    """The task binds itself, for the address stays with its socket; the file is recorded as soon as it is there."""
    if _kernel_does_it(call) or not 2 < length <= _SUN_PATH + 2:
        return CONTINUE
    try:
        data = call.read(address, length)
    except OSError:
        return CONTINUE
    path = data[2:].split(b"\0", 1)[0]
    if int.from_bytes(data[:2], "little") != _AF_UNIX or not path:
        return CONTINUE
    place = place_of(call, AT_FDCWD, path)
    if place is None:
        return CONTINUE
    try:
        return _leave_to_task(call, place, S_IFSOCK)
    finally:
        os.close(place.directory)


# ---------------------------------------------------------------- whiteouts

_RENAME_WHITEOUT: Final = 4


@handles("renameat2", when=has_bits(4, _RENAME_WHITEOUT))
def renameat2(call: Call) -> Outcome:
    """renameat2(2) that leaves a whiteout behind: that belongs to the caller."""
    if _kernel_does_it(call):
        return CONTINUE
    place = place_of(call, call.signed(0), call.path(1))
    if place is not None and not place.ordinary and place.exists():
        call.world.births.expect(call.tid, place.directory, place.name, place.owner, place.acl, S_IFCHR)
    elif place is not None:
        os.close(place.directory)
    return CONTINUE


