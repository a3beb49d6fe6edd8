# SPDX-License-Identifier: GPL-2.0-or-later
"""`--strict`, of mounts and namespaces, which take CAP_SYS_ADMIN (capabilities(7)). See `strict`.

To the kernel every task has it where remainroot does: in a user namespace. A task that has made a user namespace of its
own is the kernel's to judge.
"""

from __future__ import annotations

import os
from errno import EPERM
from fcntl import ioctl
from struct import Struct

from remainroot.credentials import CAP_CHECKPOINT_RESTORE, CAP_FOWNER, CAP_SYS_ADMIN, CAP_SYS_CHROOT
from remainroot.dispatch import Refused, guards, has_bits
from remainroot.handlers.searching import searches
from remainroot.kernel import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, PAGE, fs_type
from remainroot.pids import levels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call
    from remainroot.handlers.searching import Searcher


def _administrate(call: Call, *capabilities: int) -> None:
    """Refused(EPERM) without any of these (none: CAP_SYS_ADMIN); where they count, the kernel says."""
    if not any(call.creds.capable_inside(one) for one in capabilities or (CAP_SYS_ADMIN,)):
        raise Refused(EPERM)


@searches("mount")
def mount(searcher: Searcher) -> None:
    """mount(2): the place must be found, and takes CAP_SYS_ADMIN."""
    for index in (2, 0):
        if searcher.call.ptr(index):
            searcher.call.path(index)
    searcher.find(AT_FDCWD, searcher.call.path(1))
    _administrate(searcher.call)


FREEZING: Final = (0xC0045877, 0xC0045878)
"""FIFREEZE and FITHAW."""
SET_VERSION: Final = (0x40087602, 0x40047602, 0x40086604, 0x40046604)
"""FS_IOC_SETVERSION and EXT4_IOC_SETVERSION, for 64 and 32 bits."""
_EXT4: Final = 0xEF53


def control_file_system(searcher: Searcher) -> None:
    """ioctl(2): to freeze a file system takes CAP_SYS_ADMIN, to give a file of ext4 a generation its owner."""
    call = searcher.call
    fd = call.signed(0)
    file = searcher.base(fd)
    if call.world.files.is_path_only(call.tid, fd):
        return  # EBADF
    if call.unsigned(1) not in SET_VERSION:
        _administrate(call)
    elif fs_type(file.fd) == _EXT4 and searcher.creds.fsuid != searcher.owner(file).uid:
        _administrate(call, CAP_FOWNER)


_UMOUNT_FLAGS, _UMOUNT_NOFOLLOW = 0xF, 8


@searches("umount2")
def umount2(searcher: Searcher) -> None:
    """umount2(2): as `mount`."""
    flags = searcher.call.unsigned(1)
    if not flags & ~_UMOUNT_FLAGS:
        searcher.find(AT_FDCWD, searcher.call.path(0), follow=not flags & _UMOUNT_NOFOLLOW)
        _administrate(searcher.call)


@searches("umount")
def umount(searcher: Searcher) -> None:
    """As `umount2`, with no flags."""
    searcher.find(AT_FDCWD, searcher.call.path(0))
    _administrate(searcher.call)


@guards("pivot_root", "fspick", "move_mount", "fsmount", "fsopen")
def administration(call: Call) -> None:
    """Takes CAP_SYS_ADMIN, before anything else is looked at."""
    _administrate(call)


_CLONE: Final = 1
_OPEN_TREE_FLAGS: Final = _CLONE | os.O_CLOEXEC | AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | 0x8800


@searches("open_tree", "open_tree_attr")
def open_tree(searcher: Searcher) -> None:
    """open_tree(2): a copy takes CAP_SYS_ADMIN; else as opening with O_PATH."""
    flags = searcher.call.unsigned(2)
    if flags & ~_OPEN_TREE_FLAGS:
        return
    if flags & _CLONE:
        _administrate(searcher.call)
    searcher.find_at(searcher.call.signed(0), 1, flags)


_MOUNT_ATTR_SIZE: Final = range(32, 4097)


_SETATTR_FLAGS: Final = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | 0x8800


@guards("mount_setattr")
def mount_setattr(call: Call) -> None:
    """mount_setattr(2): takes CAP_SYS_ADMIN."""
    if call.ptr(4) in _MOUNT_ATTR_SIZE and not call.unsigned(2) & ~_SETATTR_FLAGS:
        _administrate(call)


# ---------------------------------------------------------------- namespaces

_NEWUSER: Final = 0x1000_0000
_KINDS: Final = (0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x2000_0000, 0x4000_0000)
"""CLONE_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC, _NEWPID, _NEWNET: what takes CAP_SYS_ADMIN."""
_NEWPID: Final = _KINDS[4]
_ANY: Final = sum(_KINDS)
_NEWTIME: Final = 0x80
"""CLONE_NEWTIME takes it as well; in the flags of clone(2) it is a part of the signal."""
_FS: Final = 0x200
_UNSHARABLE: Final = _ANY | _NEWUSER | 0x100 | _FS | 0x400 | 0x800 | 0x10000 | 0x40000 | 0x80


_VM, _SIGHAND, _PARENT, _THREAD, _DETACHED = 0x100, 0x800, 0x8000, 0x10000, 0x0040_0000
_CLEAR_SIGHAND, _INTO_CGROUP = 1 << 32, 1 << 33


def _contradicts(flags: int) -> bool:
    """Whether clone(2) takes no such flags together (EINVAL), whoever asks."""
    return bool(
        (flags & _FS and flags & _KINDS[0])
        or (flags & _SIGHAND and not flags & _VM)
        or (flags & _THREAD and (not flags & _SIGHAND or flags & (_NEWUSER | _NEWPID)))
    )


def _new(call: Call, flags: int, kinds: int = _ANY) -> None:
    if flags & kinds and not flags & _NEWUSER and not _contradicts(flags):
        _administrate(call)


@guards("unshare", when=has_bits(0, *_KINDS, _NEWTIME))
def unshare(call: Call) -> None:
    """unshare(2) of a namespace takes CAP_SYS_ADMIN, which a new user namespace gives."""
    flags = call.ptr(0)
    if flags & (_ANY | _NEWTIME) and not flags & ~_UNSHARABLE and not flags & _NEWUSER:
        _administrate(call)


@guards("clone", when=has_bits(0, *_KINDS))
def clone(call: Call) -> None:
    """As `unshare`, for clone(2)."""
    _new(call, call.ptr(0))


_CLONE_ARGS: Final = 80
"""The size of a struct clone_args that has a place for pids."""
_NSIG: Final = 64


_LEAST_ARGS: Final = 64
"""How large struct clone_args was at first: it is never less."""


@guards("clone3")
def clone3(call: Call) -> None:
    """As `clone`, with the flags in memory; to choose a pid takes CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN."""
    if not _LEAST_ARGS <= call.ptr(1) <= PAGE:
        return  # EINVAL, E2BIG
    arguments = call.read(call.ptr(0), min(call.ptr(1), _CLONE_ARGS)).ljust(_CLONE_ARGS, b"\0")
    flags, _, _, _, signal, stack, size, _, pids, levels_chosen = Struct("=10Q").unpack(arguments)
    if not _is_sound(flags, signal) or bool(stack) != bool(size) or bool(pids) != bool(levels_chosen):
        return  # EINVAL
    _new(call, flags, _ANY | _NEWTIME)
    _choose(call, pids, levels_chosen)


def _is_sound(flags: int, signal: int) -> bool:
    """Whether clone3(2) knows the flags, and the signal may be sent at the end."""
    unknown = flags & ~(0xFFFF_FFFF | _CLEAR_SIGHAND | _INTO_CGROUP) or flags & (_DETACHED | 0x7F)
    both = flags & _SIGHAND and flags & _CLEAR_SIGHAND
    return not unknown and not both and signal <= _NSIG and not (signal and flags & (_THREAD | _PARENT))


def _choose(call: Call, address: int, count: int) -> None:
    """The pid for the innermost of at most as many namespaces as there are, if it can be one at all (else EINVAL)."""
    if not 0 < count <= len(levels(call.tid)):
        return
    with open("/proc/sys/kernel/pid_max", "rb") as file:
        most = int(file.read())
    if 0 < int.from_bytes(call.read(address, 4), "little") < most:
        _administrate(call, CAP_SYS_ADMIN, CAP_CHECKPOINT_RESTORE)


_NS_GET_NSTYPE: Final = 0xB703


def _join(call: Call, kinds: int) -> None:
    _administrate(call)
    if kinds & _KINDS[0]:
        _administrate(call, CAP_SYS_CHROOT)


@guards("setns")
def setns(call: Call) -> None:
    """setns(2) takes CAP_SYS_ADMIN, of a mount namespace also CAP_SYS_CHROOT; a user namespace gives them, too."""
    name = f"/proc/{call.tid}/fd/{call.signed(0)}"
    target, wanted = os.readlink(name), call.unsigned(1)
    if target.endswith("[pidfd]"):
        if wanted and not wanted & ~(_ANY | _NEWTIME):
            _join(call, wanted)
    elif ":[" in target and not target.startswith(("pipe:", "socket:", "anon_inode:")):
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            kind = ioctl(fd, _NS_GET_NSTYPE)
        finally:
            os.close(fd)
        if kind != _NEWUSER and wanted in (0, kind):
            _join(call, kind)
