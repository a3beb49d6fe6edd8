# SPDX-License-Identifier: GPL-2.0-or-later
"""System calls that Python's standard library lacks. Every failure is an OSError with the kernel's errno.

They are made by the compiled module (`remainroot._fast`), or by ctypes (`remainroot.libc`) where there is none or
REMAINROOT_PURE=1 forbids it. Numbers are the kernel's own; the ones that differ between machines are in `_NUMBERS`.
"""

from __future__ import annotations

import os
from _struct import Struct
from errno import EACCES, EAGAIN, EBADF, EINVAL, EIO, EMFILE, ENFILE, ENOMEM, EPERM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

MACHINE: Final = os.uname().machine

# 424 and up are the same number everywhere; only older calls differ.
_NUMBERS: Final[dict[str, int]] = (
    {
        "add_key": 217, "capget": 90, "capset": 91, "fchownat": 54, "fgetxattr": 10, "fstatat": 79, "fstatfs": 44,
        "inotify_add_watch": 27, "inotify_init1": 26, "kcmp": 272, "keyctl": 219, "mount": 40,
        "name_to_handle_at": 264, "prctl": 167, "prlimit64": 261, "quotactl": 60,
        "ptrace": 117, "seccomp": 277, "setns": 268, "statx": 291, "umount2": 39, "unshare": 97,
        "utimensat": 88,
    }
    if MACHINE == "aarch64"
    else {
        "add_key": 248, "capget": 125, "capset": 126, "fchownat": 260, "fgetxattr": 193, "fstatat": 262, "fstatfs": 138,
        "inotify_add_watch": 254, "inotify_init1": 294, "kcmp": 312, "keyctl": 250, "mount": 165,
        "name_to_handle_at": 303, "prctl": 157, "prlimit64": 302, "quotactl": 179,
        "ptrace": 101, "seccomp": 317, "setns": 308, "statx": 332, "umount2": 166, "unshare": 272,
        "utimensat": 280,
    }
)  # fmt: skip
_PIDFD_GETFD: Final = 438

EXHAUSTED: Final = (EMFILE, ENFILE, ENOMEM, EAGAIN, EIO)
"""Errnos that say nothing of what was asked for: something ran out, or failed, here."""

PATH_MAX: Final = 4096
PAGE: Final = 4096
AT_FDCWD: Final = -100
AT_SYMLINK_NOFOLLOW: Final = 0x100
AT_SYMLINK_FOLLOW: Final = 0x400
AT_EACCESS: Final = 0x200
AT_EMPTY_PATH: Final = 0x1000
O_PATH: Final = 0o10000000
O_CLOEXEC: Final = os.O_CLOEXEC

PURE: Final = os.environ.get("REMAINROOT_PURE", "0") not in ("", "0")


def _compiled() -> Any:
    """The compiled half of this package, or None."""
    if PURE:
        return None
    try:
        from remainroot import _fast
    except ImportError:
        return None
    return _fast


compiled: Final = _compiled()

if compiled is not None and not TYPE_CHECKING:
    from remainroot._fast import address_of, open_path, read_memory, read_string, syscall, write_memory
else:
    from remainroot.libc import address_of, open_path, read_memory, read_string, syscall, write_memory

__all__ = ["address_of", "open_path", "read_memory", "read_string", "syscall", "write_memory"]

_buffer: Final = bytearray(256)


def is_writable(tid: int, address: int, size: int) -> bool:
    """Whether the task may be told so much there: what is there is written once more."""
    try:
        write_memory(tid, address, read_memory(tid, address, size))
    except OSError:
        return False
    return True


def overwrite(tid: int, address: int, data: bytes) -> None:
    """As `write_memory`, of a constant, too, which the task itself may not write: proc_pid_mem(5)."""
    try:
        write_memory(tid, address, data)
    except OSError:
        fd = os.open(f"/proc/{tid}/mem", os.O_WRONLY | O_CLOEXEC)
        try:
            os.pwrite(fd, data, address)
        finally:
            os.close(fd)


# ---------------------------------------------------------------- files

RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RESOLVE_IN_ROOT: Final = 0x10

_SYS_FSTATAT: Final = _NUMBERS["fstatat"]


def raw_stat(fd: int) -> bytes:
    """The kernel's struct stat (the machine's own layout) of what `fd` names: newfstatat(fd, "", AT_EMPTY_PATH)."""
    syscall(_SYS_FSTATAT, fd, b"", _buffer, AT_EMPTY_PATH)
    return bytes(_buffer[:144])


STATX_BTIME: Final = 0x800
_SYS_STATX: Final = _NUMBERS["statx"]


def raw_statx(fd: int, flags: int, mask: int) -> bytes:
    """The kernel's struct statx (256 bytes) of what `fd` names, as statx(2) with `flags` and `mask` gives it."""
    syscall(_SYS_STATX, fd, b"", flags | AT_EMPTY_PATH, mask, _buffer)
    return bytes(_buffer)


_STATX_UNTIMED: Final = 0x31F
_untimed: Final = Struct("=16xIIIH2xQQ80xIIII")


def untimed_status(fd: int) -> os.stat_result:
    """As os.fstat, without times: who has not asked for the ctime leaves it as coarse as it is (Linux 6.13).

    So what is done to a new file at once does not give it a ctime later than its birth.
    """
    fields = _untimed.unpack_from(raw_statx(fd, 0, _STATX_UNTIMED))
    nlink, uid, gid, mode, ino, size, rdev_major, rdev_minor, major, minor = fields
    rdev = os.makedev(rdev_major, rdev_minor)
    return os.stat_result((mode, ino, os.makedev(major, minor), nlink, uid, gid, size, 0, 0, 0), {"st_rdev": rdev})


_STATX_MNT_ID: Final = 0x1000
_STATX_MNT_ID_UNIQUE: Final = 0x4000
_mask: Final = Struct("=I")
_mount: Final = Struct("=Q")


def mount_id(fd: int) -> int:
    """The number of the mount that `fd` lies on, which is used again only before Linux 6.8: statx(2)."""
    raw = raw_statx(fd, 0, _STATX_MNT_ID_UNIQUE)
    if not _mask.unpack_from(raw)[0] & _STATX_MNT_ID_UNIQUE:
        raw = raw_statx(fd, 0, _STATX_MNT_ID)
    return _mount.unpack_from(raw, 144)[0]  # type: ignore[no-any-return]


_AT_HANDLE_FID: Final = 0x200
_handle_flags: Final = [AT_EMPTY_PATH | _AT_HANDLE_FID]  # one element: what this kernel turned out to know
_SYS_NAME_TO_HANDLE_AT: Final = _NUMBERS["name_to_handle_at"]
_HANDLE_MAX: Final = 128
_handle_size: Final = Struct("=I")
_mount_id: Final = bytearray(4)


def file_handle(fd: int) -> bytes | None:
    """The file's handle (inode number and generation, file system specific), or None where the file system has none.

    Two files that had the same inode number one after the other have different handles.
    """
    while True:
        _handle_size.pack_into(_buffer, 0, _HANDLE_MAX)
        try:
            syscall(_SYS_NAME_TO_HANDLE_AT, fd, b"", _buffer, _mount_id, _handle_flags[0])
        except OSError as error:
            if error.errno == EINVAL and _handle_flags[0] & _AT_HANDLE_FID:
                _handle_flags[0] = AT_EMPTY_PATH  # Linux before 6.5
                continue
            return None
        return bytes(_buffer[4 : 8 + _handle_size.unpack_from(_buffer)[0]])


def is_mount_root(fd: int) -> bool:
    """Whether it is the root of a mount (STATX_ATTR_MOUNT_ROOT)."""
    return bool(int.from_bytes(raw_statx(fd, 0, 0)[8:16], "little") & _MOUNT_ROOT)


def birth_time(fd: int) -> bytes:
    """The file's birth time as statx(2) has it (16 raw bytes; all zero where the file system keeps none)."""
    return raw_statx(fd, 0, STATX_BTIME)[80:96]


_MOUNT_ROOT: Final = 0x2000
_SYS_FCHOWNAT: Final = _NUMBERS["fchownat"]


def chown_fd(fd: int, uid: int, gid: int) -> None:
    """chown(2) what `fd` (O_PATH will do, a symbolic link too) names; 0xFFFFFFFF keeps an id."""
    syscall(_SYS_FCHOWNAT, fd, b"", uid, gid, AT_EMPTY_PATH)


UTIME_NOW: Final = 0x3FFF_FFFF
UTIME_OMIT: Final = 0x3FFF_FFFE
_timespecs: Final = Struct("=4q")


def set_times(fd: int, accessed: tuple[int, int], modified: tuple[int, int]) -> None:
    """Set the times of what `fd` (O_PATH will do) names: seconds and nanoseconds, or UTIME_NOW, _OMIT: utimensat(2)."""
    raw = _timespecs.pack(*accessed, *modified)
    syscall(_NUMBERS["utimensat"], AT_FDCWD, b"/proc/self/fd/%d" % fd, raw, 0)


_SYS_QUOTACTL: Final = _NUMBERS["quotactl"]
_SYS_QUOTACTL_FD: Final = 443
_Q_GETFMT: Final = 0x800004


def quota_format(fd: int, kind: int, *, device: bool) -> int:
    """The errno of quotactl(2)'s Q_GETFMT, which anybody may ask; 0: there are quotas of this kind.

    `fd` (O_PATH will do) names the block device, or a file on the file system.
    """
    try:
        if device:
            syscall(_SYS_QUOTACTL, _Q_GETFMT << 8 | kind, b"/proc/self/fd/%d" % fd, 0, bytearray(4))
        else:
            syscall(_SYS_QUOTACTL_FD, fd, _Q_GETFMT << 8 | kind, 0, bytearray(4))
    except OSError as error:
        return error.errno or EPERM
    return 0


_FILE_GETATTR: Final = 468
_FILE_SETATTR: Final = 469
_FILE_ATTR_SIZE: Final = 24


def file_getattr(fd: int) -> bytes:
    """The struct file_attr (its first version, 24 bytes) of what `fd` names: file_getattr(2), Linux 6.17."""
    raw = bytearray(_FILE_ATTR_SIZE)
    syscall(_FILE_GETATTR, AT_FDCWD, b"/proc/self/fd/%d" % fd, raw, len(raw), 0)  # itself it may not be O_PATH
    return bytes(raw)


def file_setattr(fd: int, raw: bytes) -> None:
    """Set it: file_setattr(2)."""
    syscall(_FILE_SETATTR, AT_FDCWD, b"/proc/self/fd/%d" % fd, raw, len(raw), 0)


PROC_SUPER_MAGIC: Final = 0x9FA0
PIPEFS_MAGIC: Final = 0x5049_5045
SOCKFS_MAGIC: Final = 0x534F_434B
_SYS_FSTATFS: Final = _NUMBERS["fstatfs"]
_long: Final = Struct("@l")


def fs_type(fd: int) -> int:
    """The file system's magic number, statfs(2)'s f_type."""
    syscall(_SYS_FSTATFS, fd, _buffer)
    value: int = _long.unpack_from(_buffer)[0]
    return value


# ---------------------------------------------------------------- processes, namespaces, seccomp

PR_SET_NO_NEW_PRIVS: Final = 38
PR_SET_CHILD_SUBREAPER: Final = 36
PR_REMAINROOT: Final = 0x52524F54
"""A question of our own: "does a remainroot answer for me?". No kernel knows the option."""
REMAINROOT_ANSWER: Final = 0x0DD1


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    """prctl(2)."""
    return syscall(_NUMBERS["prctl"], option, arg2, arg3, arg4, arg5)


_PR_SET_NAME: Final = 15


def set_name(name: bytes) -> None:
    """Call this thread `name`, of at most 15 bytes, where processes are listed: prctl(PR_SET_NAME)."""
    text = name + b"\0"
    prctl(_PR_SET_NAME, address_of(text))


RLIM_INFINITY: Final = -1
RLIMIT_FSIZE: Final = 1
RLIMIT_DATA: Final = 2
RLIMIT_CPU: Final = 0
RLIMIT_NOFILE: Final = 7
RLIMIT_MEMLOCK: Final = 8
RLIMIT_AS: Final = 9
_SYS_PRLIMIT: Final = _NUMBERS["prlimit64"]
_limit: Final = Struct("=QQ")
_U64: Final = (1 << 64) - 1


def prlimit(pid: int, number: int, limit: tuple[int, int] | None = None) -> tuple[int, int]:
    """prlimit(2): the (soft, hard) limit before, RLIM_INFINITY where there is none; `pid` 0 is ourselves.

    As in the module `resource`, which takes a millisecond to load.
    """
    new = None if limit is None else _limit.pack(limit[0] & _U64, limit[1] & _U64)
    syscall(_SYS_PRLIMIT, pid, number, new, _buffer)
    soft, hard = _limit.unpack_from(_buffer)
    return RLIM_INFINITY if soft == _U64 else soft, RLIM_INFINITY if hard == _U64 else hard


def descriptor_may_be_cwd() -> bool:
    """Whether fgetxattr(2) and fsetxattr(2) take AT_FDCWD for the working directory, as they do since Linux 6.13."""
    try:
        syscall(_NUMBERS["fgetxattr"], AT_FDCWD, b"user.\0", None, 0)
    except OSError as error:
        return error.errno != EBADF
    return True


def inotify(instance: int = -1, path: bytes = b"", mask: int = 0) -> int:
    """inotify_init1(2), a descriptor with close-on-exec; of an `instance` inotify_add_watch(2), a watch of it."""
    if instance < 0:
        return syscall(_NUMBERS["inotify_init1"], O_CLOEXEC)
    return syscall(_NUMBERS["inotify_add_watch"], instance, path + b"\0", mask)


KEYCTL_SETPERM: Final = 5
KEYCTL_DESCRIBE: Final = 6
KEYCTL_LINK: Final = 8
KEYCTL_READ: Final = 11
KEYCTL_SET_TIMEOUT: Final = 15
KEYCTL_GET_PERSISTENT: Final = 22


def keyctl(operation: int, *args: int | None) -> int:
    """keyctl(2)."""
    return syscall(_NUMBERS["keyctl"], operation, *args)


_PROCESS_KEYRING: Final = -2


def make_keyring(name: bytes) -> int:
    """The serial number of a new keyring that lasts as long as this process: add_key(2)."""
    return syscall(_NUMBERS["add_key"], b"keyring\0", name + b"\0", None, 0, _PROCESS_KEYRING)


def unshare(flags: int) -> None:
    """unshare(2)."""
    syscall(_NUMBERS["unshare"], flags)


def pidfd_getfd(pidfd: int, fd: int) -> int:
    """Duplicate descriptor `fd` of the process behind `pidfd` (pidfd_getfd(2))."""
    return syscall(_PIDFD_GETFD, pidfd, fd, 0)


def setns(fd: int, kinds: int) -> None:
    """setns(2): `fd` is a namespace, or a pidfd whose namespaces of the `kinds` (CLONE_NEW...) are joined at once."""
    syscall(_NUMBERS["setns"], fd, kinds)


_VERSION_3: Final = 0x2008_0522
_sets: Final = Struct("=6I")


def limit_capabilities(mask: int) -> None:
    """Leave the calling thread only those of its effective capabilities that are in `mask`: capget(2), capset(2)."""
    header, sets = Struct("=Ii").pack(_VERSION_3, 0), bytearray(_sets.size)
    syscall(_NUMBERS["capget"], header, sets)
    low, permitted, inherited, high, *others = _sets.unpack(sets)
    _sets.pack_into(sets, 0, low & mask, permitted, inherited, high & mask >> 32, *others)
    syscall(_NUMBERS["capset"], header, bytes(sets))


AT_RECURSIVE: Final = 0x8000
MNT_DETACH: Final = 2
_OPEN_TREE: Final = 428
_MOVE_MOUNT: Final = 429
_OPEN_TREE_CLONE: Final = 1
_EMPTY_PATHS: Final = 4 | 0x40
"""MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH."""


def copy_mount(fd: int, how: int = 0) -> int:
    """A detached copy of the mount at what `fd` names; AT_RECURSIVE: with those below. open_tree(2)."""
    return syscall(_OPEN_TREE, fd, b"", _OPEN_TREE_CLONE | os.O_CLOEXEC | AT_EMPTY_PATH | how)


_MOUNT_SETATTR: Final = 442
_MS_PRIVATE: Final = 1 << 18


def set_mount_flags(tree: int, flags: int) -> None:
    """Set these MOUNT_ATTR_ flags on a mount, and make it and those below it private: mount_setattr(2)."""
    for how, attributes in ((AT_RECURSIVE, (0, 0, _MS_PRIVATE, 0)), (0, (flags, 0, 0, 0))):
        raw = Struct("=QQQQ").pack(*attributes)
        syscall(_MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH | how, raw, len(raw))


def attach_mount(tree: int, target: int) -> None:
    """Mount the detached `tree` at what `target` (O_PATH) names: move_mount(2)."""
    syscall(_MOVE_MOUNT, tree, b"", target, b"", _EMPTY_PATHS)


def mount(source: bytes, target: bytes, kind: bytes, flags: int = 0, data: bytes | None = None) -> None:
    """mount(2)."""
    syscall(_NUMBERS["mount"], source, target, kind, flags, data)


def unmount(path: bytes, flags: int) -> None:
    """umount2(2)."""
    syscall(_NUMBERS["umount2"], path, flags)


_KCMP_VM: Final = 1


def same_memory(one: int, other: int) -> bool:
    """Whether two tasks share their address space (kcmp(2)); False where we may not know."""
    try:
        return syscall(_NUMBERS["kcmp"], one, other, _KCMP_VM, 0, 0) == 0
    except OSError:
        return False


def duplicate_fd(tid: int, fd: int) -> int:
    """A duplicate of the descriptor `fd` of the task `tid`."""
    try:
        pidfd = os.pidfd_open(tid, os.O_EXCL)  # PIDFD_THREAD
    except OSError as error:
        if error.errno != EINVAL:
            raise
        # Linux before 6.9: only whole processes; their threads share the descriptors, as good as always.
        with open(f"/proc/{tid}/status", "rb") as file:
            text = file.read()
        pidfd = os.pidfd_open(int(text[text.index(b"\nTgid:") + 6 :].split(b"\n", 1)[0]))
    try:
        return pidfd_getfd(pidfd, fd)
    finally:
        os.close(pidfd)


SECCOMP_SET_MODE_FILTER: Final = 1
SECCOMP_FILTER_FLAG_NEW_LISTENER: Final = 1 << 3
SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: Final = 1 << 5
_sock_fprog: Final = Struct("@HP")


def load_filter(program: bytes, flags: int = 0) -> int:
    """Put the BPF `program` on the calling thread with seccomp(2).

    Returns the listener's descriptor where `flags` asks for one, else 0. Sets no_new_privs only where the kernel
    asks for it (EACCES: no CAP_SYS_ADMIN here).
    """
    described = _sock_fprog.pack(len(program) // 8, address_of(program))
    try:
        return syscall(_NUMBERS["seccomp"], SECCOMP_SET_MODE_FILTER, flags, described)
    except OSError as error:
        if error.errno != EACCES:
            raise
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    return syscall(_NUMBERS["seccomp"], SECCOMP_SET_MODE_FILTER, flags, described)


class Seize:
    """A task held with ptrace(2) just to see its exec: PTRACE_SEIZE with PTRACE_O_TRACEEXEC."""

    EVENT_EXEC: Final = 4
    EVENT_STOP: Final = 128
    O_TRACESYSGOOD: Final = 1
    _CONT, _DETACH, _SEIZE, _INTERRUPT = 7, 17, 0x4206, 0x4207
    _O_TRACEEXEC: Final = 0x10

    __slots__ = ("tid",)

    def __init__(self, tid: int, options: int | None = 0) -> None:
        """`options`: more of these; None: it is held already, for a task that made it was."""
        self.tid = tid
        if options is not None:
            self._request(self._SEIZE, tid, self._O_TRACEEXEC | options)

    @staticmethod
    def _request(request: int, tid: int, data: int) -> None:
        syscall(_NUMBERS["ptrace"], request, tid, None, data)

    def _try(self, request: int, tid: int, data: int) -> None:
        try:
            self._request(request, tid, data)
        except OSError:
            pass  # killed, or not stopped any more

    def interrupt(self) -> None:
        """Have the task stop on its way out of the kernel."""
        self._try(self._INTERRUPT, self.tid, 0)

    def resume(self, tid: int, signo: int) -> None:
        """Let the stopped task go on, delivering `signo` (0: none)."""
        self._try(self._CONT, tid, signo)

    def detach(self, tid: int, signo: int = 0) -> None:
        """Let the stopped task go for good, delivering `signo` (0: none)."""
        self._try(self._DETACH, tid, signo)
