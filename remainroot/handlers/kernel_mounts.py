# SPDX-License-Identifier: GPL-2.0-or-later
"""File systems of the kernel's own, of which there is one in a namespace, or one at all: proc, sysfs and their kin.

To mount one takes a namespace of one's own of the kind that it shows (proc: a pid namespace), or real privileges. What
is shown is the same wherever it is mounted. So where the kernel would refuse it (EPERM) and the same file system is
mounted somewhere, that mount is bound instead, with the flags that were asked for.
"""

from __future__ import annotations

import os
from errno import EBUSY, EINVAL, ENOTDIR
from fcntl import ioctl
from stat import S_ISDIR

from remainroot.credentials import CAP_SYS_ADMIN
from remainroot.dispatch import CONTINUE, DONE, Fail
from remainroot.elsewhere import MOUNT, Elsewhere, inside
from remainroot.kernel import (
    AT_FDCWD,
    AT_RECURSIVE,
    attach_mount,
    copy_mount,
    is_mount_root,
    mount_id,
    set_mount_flags,
)
from remainroot.namespaces import INITIAL
from remainroot.tasks import user_namespace
from remainroot.tracee import status_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from remainroot.dispatch import Call, Outcome

_OF_NAMESPACES: Final = {b"proc": "pid", b"sysfs": "net", b"mqueue": "ipc", b"cgroup2": "cgroup"}
"""And the kind of namespace whose owner may mount them."""
_OF_ALL: Final = {b"devtmpfs", b"securityfs", b"debugfs", b"tracefs", b"fusectl", b"pstore", b"configfs", b"efivarfs"}
_NS_GET_USERNS: Final = 0xB701
_FIRST: Final = 0xEFFF_FFFD
"""The inode number of the user namespace that was there from the start: there the kernel mounts everything."""
_MEANINGLESS: Final = {
    b"cgroup2": {b"nsdelegate", b"memory_recursiveprot", b"memory_localevents"},
    b"devtmpfs": {b"mode=0755", b"mode=755"},
}
"""Options that the kernel ignores where it is mounted already, or in a namespace."""
_ATTRIBUTES: Final = {0x1: 0x1, 0x2: 0x2, 0x4: 0x4, 0x8: 0x8, 0x100: 0x200000}
"""MS_RDONLY, _NOSUID, _NODEV, _NOEXEC, _NOSYMFOLLOW as MOUNT_ATTR_ has them."""


def bind_instead(call: Call, kind: bytes, options: bytes) -> Outcome:
    """The answer to a mount(2) of a new file system of this kind: CONTINUE, or the other mount is bound."""
    if kind not in _OF_NAMESPACES and kind not in _OF_ALL:
        return CONTINUE
    creds = call.creds
    wanted = {option for option in options.split(b",") if option} - _MEANINGLESS.get(kind, set())
    if creds.namespace is not INITIAL or not creds.capable(CAP_SYS_ADMIN) or wanted or _allowed(call.tid, kind):
        return CONTINUE
    opened: list[int] = []
    try:
        target = call.world.files.resolve(call.tid, AT_FDCWD, call.path(1))
        opened.append(target)
        tree, whole = inside(call.tid, MOUNT, _copier(call.tid, kind))
        opened.append(tree)
    except (OSError, LookupError, ValueError, Elsewhere):
        _close(opened)
        return CONTINUE
    try:
        return _attach(call, tree, target, whole=whole, anew=kind == b"proc")
    finally:
        _close(opened)


def _close(opened: list[int]) -> None:
    for fd in opened:
        os.close(fd)


def _attach(call: Call, tree: int, target: int, *, whole: bool, anew: bool) -> Outcome:
    """Mount the copy. `anew`: really there would be another superblock, which may lie on the first one."""
    there = os.fstat(target)
    if not anew and there.st_dev == os.fstat(tree).st_dev and is_mount_root(target):
        return Fail(EBUSY)
    if not S_ISDIR(there.st_mode):
        return Fail(ENOTDIR)
    attributes = sum(one for asked, one in _ATTRIBUTES.items() if call.ptr(3) & asked)

    def act() -> None:
        set_mount_flags(tree, attributes)
        attach_mount(tree, target)

    call.check()
    try:
        inside(call.tid, MOUNT, act)
    except OSError as error:
        return Fail(error.errno or EINVAL)
    if whole:
        call.world.whole_binds[mount_id(tree)] = -1
    return DONE


def _allowed(tid: int, kind: bytes) -> bool:
    """Whether the task's namespace belongs to our user namespace, or to one in it: then the kernel mounts it."""
    space = _OF_NAMESPACES.get(kind)
    if space is None:
        return user_namespace(os.getpid()) == _FIRST
    try:
        fd = os.open(f"/proc/{tid}/ns/{space}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        os.close(ioctl(fd, _NS_GET_USERNS))
    except PermissionError:
        return False
    except OSError:
        return True
    finally:
        os.close(fd)
    return True


def _copier(tid: int, kind: bytes) -> Callable[[], tuple[int, bool]]:
    """Gives, in the task's mount namespace, a detached copy of a mount of this kind, and whether others come along."""
    pid = b"%d" % int(status_field(tid, b"NSpid").split()[-1])
    pids = os.stat(f"/proc/{tid}/ns/pid").st_ino
    own_proc = os.open("/proc/self", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def is_right(fd: int) -> bool:
        # Of procfs there is one for each pid namespace.
        return kind != b"proc" or os.stat(pid + b"/ns/pid", dir_fd=fd).st_ino == pids

    def copy() -> tuple[int, bool]:
        try:
            places = _places(own_proc, kind)
        finally:
            os.close(own_proc)
        for device, place in places:
            try:
                fd = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                if os.fstat(fd).st_dev == device and is_mount_root(fd) and is_right(fd):
                    return _copy(fd)
            except OSError:
                continue  # covered, or another's
            finally:
                os.close(fd)
        raise LookupError

    return copy


def _copy(fd: int) -> tuple[int, bool]:
    try:
        return copy_mount(fd), False
    except OSError as error:
        if error.errno != EINVAL:
            raise
    return copy_mount(fd, AT_RECURSIVE), True


def _places(own_proc: int, kind: bytes) -> list[tuple[int, bytes]]:
    """The device numbers and paths of the whole mounts of this kind in the calling thread's mount namespace."""
    import _thread

    fd = os.open(f"task/{_thread.get_native_id()}/mountinfo", os.O_RDONLY | os.O_CLOEXEC, dir_fd=own_proc)
    with open(fd, "rb") as file:
        found = []
        for line in file:
            before, _, after = line.partition(b" - ")
            _, _, numbers, root, place, *_ = before.split(b" ")
            if root == b"/" and after.split(b" ", 1)[0] == kind:
                found.append((os.makedev(*map(int, numbers.split(b":"))), _plain(place)))
    return found


def _plain(path: bytes) -> bytes:
    """Without the escapes of mountinfo: proc_pid_mountinfo(5)."""
    first, *parts = path.split(b"\\")
    return first + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in parts)
