# SPDX-License-Identifier: GPL-2.0-or-later
"""File systems of the kernel's own, of which there is one in a namespace, or one at all: proc, sysfs and their kin.

By mount(2), or by fsopen(2), fsconfig(2) and fsmount(2), of which the first gives a file in memory that stands for it.

To mount one takes a namespace of one's own of the kind that it shows (proc: a pid namespace), or real privileges. What
is shown is the same wherever it is mounted. So where the kernel would refuse it (EPERM) and the same file system is
mounted somewhere, that mount is bound instead, with the flags that were asked for.
"""

from __future__ import annotations

import os
from errno import EBUSY, EINVAL, ENOTDIR, EPERM
from stat import S_ISDIR

from remainroot.credentials import CAP_SYS_ADMIN
from remainroot.dispatch import CONTINUE, DONE, Fail, InstallFd
from remainroot.elsewhere import MOUNT, Elsewhere, inside
from remainroot.handlers.binds import hold
from remainroot.handlers.peers import owner_of_namespace
from remainroot.kernel import (
    AT_FDCWD,
    AT_RECURSIVE,
    attach_mount,
    copy_mount,
    is_mount_root,
    mount_id,
    set_mount_flags,
)
from remainroot.mount_contexts import Context, WholeBind
from remainroot.namespaces import INITIAL
from remainroot.tasks import user_namespace
from remainroot.tracee import mounts, status_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call, Outcome

_OF_NAMESPACES: Final = {b"proc": "pid", b"sysfs": "net", b"mqueue": "ipc", b"cgroup2": "cgroup"}
"""And the kind of namespace whose owner may mount them."""
_OF_ALL: Final = {b"devtmpfs", b"securityfs", b"debugfs", b"tracefs", b"fusectl", b"pstore", b"configfs", b"efivarfs"}
_FIRST: Final = 0xEFFF_FFFD
"""The inode number of the user namespace that was there from the start: there the kernel mounts everything."""
_MEANINGLESS: Final = {
    b"cgroup2": {b"nsdelegate", b"memory_recursiveprot", b"memory_localevents"},
    b"devtmpfs": {b"mode=0755", b"mode=755"},
}
"""Options that the kernel ignores where it is mounted already, or in a namespace."""
_FLAGS: Final = {b"ro", b"rw", b"sync", b"async", b"lazytime", b"nolazytime", b"mand", b"nomand", b"dirsync"}
"""What fsconfig(2) may set of every file system."""
_ATTRIBUTES: Final = {0x1: 0x1, 0x2: 0x2, 0x4: 0x4, 0x8: 0x8, 0x100: 0x200000}
"""MS_RDONLY, _NOSUID, _NODEV, _NOEXEC, _NOSYMFOLLOW as MOUNT_ATTR_ has them."""


def _is_ours(call: Call, kind: bytes) -> bool:
    """Whether the caller may mount one of this kind, though the kernel would refuse it."""
    if kind not in _OF_NAMESPACES and kind not in _OF_ALL:
        return False
    creds = call.creds
    return creds.namespace is INITIAL and creds.capable(CAP_SYS_ADMIN) and not _allowed(call.tid, kind)


def bind_instead(call: Call, kind: bytes, options: bytes) -> Outcome:
    """The answer to a mount(2) of a new file system of this kind: CONTINUE, or the other mount is bound."""
    wanted = {option for option in options.split(b",") if option} - _MEANINGLESS.get(kind, set())
    if wanted or not _is_ours(call, kind):
        return CONTINUE
    opened: list[int] = []
    try:
        target = call.world.files.resolve(call.tid, AT_FDCWD, call.path(1))
        opened.append(target)
        tree, whole = _copied(call.tid, kind)
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
        call.world.whole_binds[mount_id(tree)] = WholeBind()
    return DONE


# ---------------------------------------------------------------- in steps

_FSOPEN_CLOEXEC, _FSMOUNT_CLOEXEC = 1, 1
_MOST_CONTEXTS: Final = 64


def open_context(call: Call, kind: bytes) -> Outcome:
    """fsopen(2): a file in memory that stands for a new file system which the kernel would not make."""
    flags = call.unsigned(1)
    if flags & ~_FSOPEN_CLOEXEC or not _is_ours(call, kind):
        return CONTINUE
    contexts = call.world.mount_contexts = call.world.mount_contexts or {}
    if len(contexts) >= _MOST_CONTEXTS:
        _drop(contexts.pop(next(iter(contexts))))
    memory = os.memfd_create("fscontext", os.MFD_CLOEXEC)
    try:
        # Not to read: who looks for messages reads until that fails.
        given = os.open(f"/proc/self/fd/{memory}", os.O_WRONLY | os.O_CLOEXEC)
    finally:
        os.close(memory)
    st = os.fstat(given)
    contexts[st.st_dev, st.st_ino] = Context(kind)
    return InstallFd(given, cloexec=bool(flags & _FSOPEN_CLOEXEC))


def _drop(context: Context) -> None:
    if context.tree >= 0:
        os.close(context.tree)
        context.tree = -1


def _context(call: Call) -> Context | None:
    """The one that the descriptor which is the first argument stands for."""
    contexts = call.world.mount_contexts or {}
    try:
        st = os.stat(f"/proc/{call.tid}/fd/{call.signed(0)}")
    except OSError:
        return None
    return contexts.get((st.st_dev, st.st_ino))


_SET_FLAG, _SET_STRING, _CREATE, _CREATE_EXCL = 0, 1, 6, 8


def configure(call: Call) -> Outcome:
    """fsconfig(2) of such a file; CONTINUE for any other."""
    context, command = _context(call), call.unsigned(1)
    if context is None:
        return CONTINUE
    if command in (_CREATE, _CREATE_EXCL):
        return Fail(EBUSY) if context.made else _create(call, context)
    if command not in (_SET_FLAG, _SET_STRING):
        return Fail(EINVAL)
    if context.made:
        return Fail(EBUSY)
    key = call.path(2)
    value = call.path(3) if command == _SET_STRING else b""
    if command == _SET_STRING and key == b"source":
        again, context.named = context.named, True
        return Fail(EINVAL) if again else DONE
    if command == _SET_FLAG and key in _FLAGS:
        context.unwritable = key == b"ro" or (context.unwritable and key != b"rw")
    elif (key + b"=" + value if command == _SET_STRING else key) not in _MEANINGLESS.get(context.kind, ()):
        context.refused = True  # it may mean something: the kernel would refuse to make one of it
    return DONE


def _create(call: Call, context: Context) -> Outcome:
    if context.refused:
        return Fail(EPERM)
    try:
        context.tree, _ = _copied(call.tid, context.kind)
    except (OSError, LookupError, ValueError, Elsewhere):
        return Fail(EPERM)
    context.made = True
    return DONE


_KNOWN: Final = sum(_ATTRIBUTES.values()) | 0xF0
"""All that fsmount(2) takes; the last ones are about times of access."""


def mount_context(call: Call) -> Outcome | None:
    """fsmount(2) of such a file; None if it is another."""
    context = _context(call)
    if context is None:
        return None
    if not context.made or call.unsigned(1) & ~_FSMOUNT_CLOEXEC or call.unsigned(2) & ~_KNOWN:
        return Fail(EINVAL)
    if context.tree < 0:
        return Fail(EBUSY)
    attributes = call.unsigned(2) & sum(_ATTRIBUTES.values()) | (context.unwritable and context.kind == b"proc")
    tree, context.tree = context.tree, -1
    try:
        inside(call.tid, MOUNT, lambda: set_mount_flags(tree, attributes))
        given = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)
    except OSError as error:
        os.close(tree)
        return Fail(error.errno or EINVAL)
    except Elsewhere:
        os.close(tree)
        return Fail(EPERM)
    hold(call.world.whole_binds, tree)
    return InstallFd(given, cloexec=bool(call.unsigned(1) & _FSMOUNT_CLOEXEC))


# ---------------------------------------------------------------- what is there


def _allowed(tid: int, kind: bytes) -> bool:
    """Whether the task's namespace belongs to our user namespace, or to one in it: then the kernel mounts it."""
    space = _OF_NAMESPACES.get(kind)
    if space is None:
        return user_namespace(os.getpid()) == _FIRST
    return owner_of_namespace(tid, space) != 0


def _copied(tid: int, kind: bytes) -> tuple[int, bool]:
    """A detached copy of a mount of this kind in the task's mount namespace, and whether others come along.

    OSError, LookupError, ValueError or Elsewhere: there is none, or it cannot be copied.
    """
    pid = b"%d" % int(status_field(tid, b"NSpid").split()[-1])
    pids = os.stat(f"/proc/{tid}/ns/pid").st_ino
    own_proc = os.open("/proc/self", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def is_right(fd: int) -> bool:
        # Of procfs there is one for each pid namespace.
        return kind != b"proc" or os.stat(pid + b"/ns/pid", dir_fd=fd).st_ino == pids

    def copy() -> tuple[int, bool]:
        for device, place in _places(own_proc, kind):
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

    try:
        return inside(tid, MOUNT, copy)
    finally:
        os.close(own_proc)


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
    return [(mount.device, mount.place) for mount in mounts(fd) if mount.root == b"/" and mount.kind == kind]
