# SPDX-License-Identifier: GPL-2.0-or-later
"""The flags of chattr(1): immutable and append-only are kept by the store, all others are the file's own.

Only real root's CAP_LINUX_IMMUTABLE may set these two. They are asked for and set by ioctl(2) (ioctl_iflags(2),
ioctl_xfs_fsgetxattr(2)) and by file_getattr(2) and file_setattr(2), and shown by statx(2) (`status`). What is refused
where one is set, `attributes.File.demand_unflagged` says.
"""

from __future__ import annotations

import os
from errno import EOPNOTSUPP, EPERM
from fcntl import ioctl as device_control
from stat import S_ISDIR, S_ISREG

from remainroot.credentials import CAP_LINUX_IMMUTABLE
from remainroot.dispatch import CONTINUE, DONE, Fail, equals, handles
from remainroot.handlers.attributes import File, move_ctime
from remainroot.handlers.paths import Unresolved, find_fd, find_path
from remainroot.kernel import AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, duplicate_fd, file_getattr, file_setattr, fs_type
from remainroot.store.base import APPEND, FLAGS, IMMUTABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from remainroot.dispatch import Call, Outcome

_EXT4: Final = 0xEF53
_PAGE: Final = 4096


class _Form:
    """How a call tells of a file's flags: a struct of `size` bytes that begins with a word of them.

    `immutable` and `append` are the two bits in it, `told` what a change does not set (the number of extents); `get`
    and `set` are the ioctls, if it has any.
    """

    __slots__ = ("append", "get", "immutable", "set", "size", "told")

    def __init__(self, size: int, immutable: int, append: int, told: slice, get: int = 0, set_: int = 0) -> None:
        self.size = size
        self.immutable = immutable
        self.append = append
        self.told = told
        self.get = get
        self.set = set_

    def flags(self, raw: bytes) -> int:
        """Which of the two it says are set."""
        word = int.from_bytes(raw[:4], "little")
        return (IMMUTABLE if word & self.immutable else 0) | (APPEND if word & self.append else 0)

    def with_flags(self, raw: bytes, flags: int) -> bytes:
        """The same with these two flags, and no others of the two."""
        word = int.from_bytes(raw[:4], "little") & ~(self.immutable | self.append)
        word |= (self.immutable if flags & IMMUTABLE else 0) | (self.append if flags & APPEND else 0)
        return word.to_bytes(4, "little") + raw[4:]

    def same(self, one: bytes, other: bytes) -> bool:
        """Whether a change from one to the other would change nothing."""
        start, stop = self.told.start, self.told.stop
        return one[:start] == other[:start] and one[stop:] == other[stop:]


_IFLAGS: Final = _Form(4, IMMUTABLE, APPEND, slice(4, 4), 0x8008_6601, 0x4008_6602)
"""FS_IOC_GETFLAGS, FS_IOC_SETFLAGS."""
_FSXATTR: Final = _Form(28, 0x08, 0x10, slice(8, 12), 0x801C_581F, 0x401C_5820)
"""FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR: struct fsxattr."""
_FILE_ATTR: Final = _Form(24, 0x08, 0x10, slice(12, 16))
"""struct file_attr, the first version of it."""
_FORMS: Final = {command: form for form in (_IFLAGS, _FSXATTR) for command in (form.get, form.set)}
_SHORT: Final = {0x8004_6601: _IFLAGS.get, 0x4004_6602: _IFLAGS.set}
"""The first two of a program whose longs have 32 bits."""


_TIOCSPTLCK: Final = 0x4004_5431
_NS_GET_OWNER_UID: Final = 0xB704
_OTHERS: Final = (_TIOCSPTLCK, _NS_GET_OWNER_UID, 0x8901, 0x8902, 0x8903, 0x8904)
"""The last ones are FIOSETOWN, SIOCSPGRP, FIOGETOWN, SIOCGPGRP."""


@handles("ioctl", when=equals(1, *_FORMS, *_SHORT, *_OTHERS))
def ioctl(call: Call) -> Outcome:
    """The flags of a file, as chattr(1) has them: FS_IOC_{GET,SET}FLAGS and FS_IOC_FS{GET,SET}XATTR of ioctl(2).

    And whose a new terminal is, and a user namespace; whom a socket's signals go to.
    """
    command = call.unsigned(1)
    if command in _OTHERS:
        return _other(call, command)
    if call.abi.bits == 32:
        command = _SHORT.get(command, command)
    form = _FORMS.get(command)
    if form is None:
        return CONTINUE
    try:
        fd, st = find_fd(call, 0)
    except Unresolved:
        return CONTINUE
    try:
        if S_ISREG(st.st_mode) or S_ISDIR(st.st_mode):
            return _answer(File(call, fd, st), form, command)
        return CONTINUE  # a driver's command of the same number
    finally:
        os.close(fd)


def _other(call: Call, command: int) -> Outcome:
    if command == _TIOCSPTLCK:
        from remainroot.handlers.terminals import unlock

        return unlock(call)
    if command == _NS_GET_OWNER_UID:
        from remainroot.handlers.user_namespaces import tell_owner

        return tell_owner(call)
    from remainroot.handlers.file_owner import owner_of_socket

    return owner_of_socket(call)


def _answer(file: File, form: _Form, command: int) -> Outcome:
    call = file.call
    if command == form.get:
        if not file.flags():
            return CONTINUE
        call.write(call.ptr(2), form.with_flags(*_shown(form, file, _control(call, command, bytes(form.size)))))
        return DONE
    new = call.read(call.ptr(2), form.size)
    try:
        old = _control(call, form.get, bytes(form.size))
    except OSError:
        return CONTINUE  # not every file system has flags
    return _change(file, form, old, new, lambda raw: _control(call, command, raw))


def _control(call: Call, command: int, raw: bytes) -> bytes:
    """The ioctl `command` on the task's file."""
    fd = duplicate_fd(call.tid, call.signed(0))
    try:
        return device_control(fd, command, raw)
    finally:
        os.close(fd)


def _shown(form: _Form, file: File, raw: bytes) -> tuple[bytes, int]:
    """What the file says of itself, and all of the two flags that it has."""
    return raw, form.flags(raw) | file.flags()


def _change(file: File, form: _Form, old: bytes, new: bytes, write: Callable[[bytes], object]) -> Outcome:
    """Have the file say what it can of `new`, and keep the rest.

    As the kernel: who owns a file changes its flags, but these two only with CAP_LINUX_IMMUTABLE.
    """
    call = file.call
    kept, own, wanted = file.flags(), form.flags(old), form.flags(new)
    if os.fstatvfs(file.fd).f_flag & os.ST_RDONLY or own & ~wanted:
        return CONTINUE  # EROFS; what real root set, it keeps
    if not file.may_change():
        return Fail(EPERM)
    may = call.creds.capable(CAP_LINUX_IMMUTABLE) and "flags" not in call.world.settings.refused
    if wanted != kept | own and not may:
        return Fail(EPERM)
    if not kept and wanted == own:
        return CONTINUE
    disk = form.with_flags(new, own)
    changes = not form.same(old, disk)
    stays = kept & wanted & IMMUTABLE
    if stays and (changes or wanted != kept | own) and fs_type(file.fd) == _EXT4:
        return Fail(EPERM)  # there an immutable file keeps its other flags
    call.check()
    _keep(file, wanted & ~own)
    if changes:
        try:
            write(disk)
        except OSError:
            _keep(file, kept)
            raise
    return DONE


def _keep(file: File, flags: int) -> None:
    store = file.call.world.store
    move_ctime(file.fd)
    if flags:
        store.put_attribute(file.fd, file.st, FLAGS, flags.to_bytes(4, "little"))
    else:
        store.forget_attribute(file.fd, file.st, FLAGS)


# ---------------------------------------------------------------- the system calls


def _find(call: Call) -> tuple[int, os.stat_result]:
    """The file that a call means, if it is one of ours to answer about."""
    flags = call.unsigned(4)
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) or not _FILE_ATTR.size <= call.ptr(3) <= _PAGE:
        raise Unresolved  # EINVAL, E2BIG
    fd, st = find_path(call, call.signed(0), 1, flags)
    path_only = flags & AT_EMPTY_PATH and not call.path(1) and call.world.files.is_path_only(call.tid, call.signed(0))
    if path_only or not (S_ISREG(st.st_mode) or S_ISDIR(st.st_mode)):
        os.close(fd)
        raise Unresolved  # EBADF, EOPNOTSUPP
    return fd, st


@handles("file_getattr")
def getattr_(call: Call) -> Outcome:
    """file_getattr(2), Linux 6.17: the flags of a file."""
    try:
        fd, st = _find(call)
    except Unresolved:
        return CONTINUE
    try:
        file = File(call, fd, st)
        if file.placeholder:
            return Fail(EOPNOTSUPP)
        if not file.flags():
            return CONTINUE
        raw = _FILE_ATTR.with_flags(*_shown(_FILE_ATTR, file, file_getattr(fd)))
        call.write(call.ptr(2), raw + bytes(call.ptr(3) - len(raw)))
        return DONE
    finally:
        os.close(fd)


@handles("file_setattr")
def setattr_(call: Call) -> Outcome:
    """file_setattr(2), Linux 6.17: change them."""
    try:
        fd, st = _find(call)
    except Unresolved:
        return CONTINUE
    try:
        new = call.read(call.ptr(2), call.ptr(3))
        if any(new[_FILE_ATTR.size :]):
            return CONTINUE  # E2BIG
        file = File(call, fd, st)
        if file.placeholder:
            return Fail(EOPNOTSUPP)
        try:
            old = file_getattr(fd)
        except OSError:
            return CONTINUE
        return _change(file, _FILE_ATTR, old, new[: _FILE_ATTR.size], lambda raw: file_setattr(fd, raw))
    finally:
        os.close(fd)
