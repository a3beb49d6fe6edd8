# SPDX-License-Identifier: GPL-2.0-or-later
"""System calls that Python's standard library lacks, by ctypes and ioctl.

Every failure is an OSError with the kernel's errno. Numbers are the kernel's own; the ones that differ between
machines are in `_NUMBERS`.
"""

from __future__ import annotations

import ctypes
import errno
import os
from ctypes import c_char, c_int, c_long, c_size_t, c_uint, c_ulong, c_void_p

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

MACHINE: Final = os.uname().machine

# seccomp(2) .. 424 and up are the same number everywhere; only older calls differ.
_NUMBERS: Final[dict[str, int]] = (
    {"seccomp": 277, "fstatat": 79, "statx": 291, "name_to_handle_at": 264, "kcmp": 272}
    if MACHINE == "aarch64"
    else {"seccomp": 317, "fstatat": 262, "statx": 332, "name_to_handle_at": 303, "kcmp": 312}
)
_SYS_SECCOMP: Final = _NUMBERS["seccomp"]
_SYS_FSTATAT: Final = _NUMBERS["fstatat"]
_SYS_STATX: Final = _NUMBERS["statx"]
_SYS_NAME_TO_HANDLE_AT: Final = _NUMBERS["name_to_handle_at"]
_SYS_PIDFD_GETFD: Final = 438
_SYS_OPENAT2: Final = 437

_libc: Final = ctypes.CDLL(None, use_errno=True)
_syscall: Final = _libc.syscall
_syscall.restype = c_long
_get_errno: Final = ctypes.get_errno

PATH_MAX: Final = 4096
PAGE: Final = 4096
AT_FDCWD: Final = -100
AT_SYMLINK_NOFOLLOW: Final = 0x100
AT_SYMLINK_FOLLOW: Final = 0x400
AT_EMPTY_PATH: Final = 0x1000
O_PATH: Final = 0o10000000
O_CLOEXEC: Final = os.O_CLOEXEC


def fault(call: str) -> OSError:
    """The OSError of the libc call that just failed."""
    number = _get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")


def _compiled() -> Any:
    """The compiled half of this package, or None: it was not built, or REMAINROOT_PURE forbids it."""
    if os.environ.get("REMAINROOT_PURE"):
        return None
    try:
        from remainroot import _fast
    except ImportError:
        return None
    return _fast


compiled: Final = _compiled()


# ---------------------------------------------------------------- another task's memory: process_vm_readv(2)


class _IoVec(ctypes.Structure):
    _fields_ = [("base", c_void_p), ("len", c_size_t)]


_buffer: Final = ctypes.create_string_buffer(1 << 16)
_view: Final = memoryview(_buffer).cast("B")
_address: Final = ctypes.addressof(_buffer)
_local: Final = _IoVec(_address, PATH_MAX)
_remote: Final = (_IoVec * 2)()
_remote0: Final = _remote[0]
_remote1: Final = _remote[1]
_local_ref: Final = ctypes.byref(_local)
_remote_ref: Final = ctypes.byref(_remote)

_readv: Final = _libc.process_vm_readv
_readv.argtypes = (c_int, c_void_p, c_ulong, c_void_p, c_ulong, c_ulong)
_readv.restype = c_long
_writev: Final = _libc.process_vm_writev
_writev.argtypes = (c_int, c_void_p, c_ulong, c_void_p, c_ulong, c_ulong)
_writev.restype = c_long


def read_memory(tid: int, address: int, size: int) -> bytes:
    """Exactly `size` bytes at `address` of the task `tid`; OSError(EFAULT) if any of them is not readable."""
    if size > len(_view):
        half = len(_view)
        return read_memory(tid, address, half) + read_memory(tid, address + half, size - half)
    _local.len = size
    _remote0.base = address
    _remote0.len = size
    got = _readv(tid, _local_ref, 1, _remote_ref, 1, 0)
    if got != size:
        if got < 0 and _get_errno() != errno.EFAULT:
            raise fault("process_vm_readv")
        raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
    return bytes(_view[:size])


def read_string(tid: int, address: int) -> bytes:
    """The NUL-terminated string at `address`, without its NUL and without touching a page past it needlessly.

    OSError(EFAULT) if memory ends before the NUL, OSError(ENAMETOOLONG) if there is none within PATH_MAX bytes.
    """
    first = PAGE - (address & (PAGE - 1))
    _local.len = PATH_MAX
    _remote0.base = address
    if first > 255:
        # Paths are short and rarely cross a page: ask for little first.
        _remote0.len = 255
        got = _readv(tid, _local_ref, 1, _remote_ref, 1, 0)
        if got == 255:
            _view[255] = 0
            value: bytes = _buffer.value
            if len(value) < 255:
                return value
        elif got < 0 and _get_errno() != errno.EFAULT:
            raise fault("process_vm_readv")
    _remote0.base = address
    _remote0.len = first
    _remote1.base = address + first
    _remote1.len = PATH_MAX - first
    got = _readv(tid, _local_ref, 1, _remote_ref, 2 if first < PATH_MAX else 1, 0)
    if got <= 0:
        if got < 0 and _get_errno() != errno.EFAULT:
            raise fault("process_vm_readv")
        raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
    _view[got] = 0
    value = _buffer.value
    if len(value) == got:
        number = errno.ENAMETOOLONG if got == PATH_MAX else errno.EFAULT
        raise OSError(number, os.strerror(number))
    return value


def write_memory(tid: int, address: int, data: bytes) -> None:
    """Write all of `data` at `address` of the task `tid`; OSError(EFAULT) if a byte of it is not writable."""
    size = len(data)
    if size > len(_view):
        half = len(_view)
        write_memory(tid, address, data[:half])
        write_memory(tid, address + half, data[half:])
        return
    _view[:size] = data
    _local.len = size
    _remote0.base = address
    _remote0.len = size
    got = _writev(tid, _local_ref, 1, _remote_ref, 1, 0)
    if got != size:
        if got < 0 and _get_errno() != errno.EFAULT:
            raise fault("process_vm_writev")
        raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))


# ---------------------------------------------------------------- files

RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_BENEATH: Final = 0x08
RESOLVE_IN_ROOT: Final = 0x10


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


_how: Final = _OpenHow(0, 0, 0)
_how_ref: Final = ctypes.byref(_how)
_openat2_number: Final = c_long(_SYS_OPENAT2)
_how_size: Final = c_size_t(ctypes.sizeof(_OpenHow))


def open_path(dirfd: int, path: bytes, resolve: int, *, follow: bool = True) -> int:
    """An O_PATH descriptor of `path` below `dirfd`, resolved as openat2(2)'s `resolve` says."""
    _how.flags = 0o12000000 if follow else 0o12000000 | os.O_NOFOLLOW  # O_PATH | O_CLOEXEC
    _how.resolve = resolve
    for _ in range(16):
        fd: int = _syscall(_openat2_number, c_int(dirfd), path, _how_ref, _how_size)
        if fd >= 0:
            return fd
        number = _get_errno()
        if number != errno.EAGAIN:
            raise OSError(number, os.strerror(number))
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def raw_stat(fd: int) -> bytes:
    """The kernel's struct stat (the machine's own layout) of what `fd` names: newfstatat(fd, "", AT_EMPTY_PATH)."""
    if _syscall(c_long(_SYS_FSTATAT), c_int(fd), b"", _buffer, c_int(AT_EMPTY_PATH)) < 0:
        raise fault("newfstatat")
    return bytes(_view[:144])


STATX_BTIME: Final = 0x800


def raw_statx(fd: int, flags: int, mask: int) -> bytes:
    """The kernel's struct statx (256 bytes) of what `fd` names, as statx(2) with `flags` and `mask` gives it."""
    if _syscall(c_long(_SYS_STATX), c_int(fd), b"", c_int(flags | AT_EMPTY_PATH), c_uint(mask), _buffer) < 0:
        raise fault("statx")
    return bytes(_view[:256])


_AT_HANDLE_FID: Final = 0x200
_handle_flags: Final = [AT_EMPTY_PATH | _AT_HANDLE_FID]  # one element: what this kernel turned out to know


def file_handle(fd: int) -> bytes | None:
    """The file's handle (inode number and generation, file system specific), or None where the file system has none.

    Two files that had the same inode number one after the other have different handles.
    """
    handle_bytes = 128
    ctypes.c_uint.from_buffer(_buffer, 0).value = handle_bytes
    mount = c_int()
    while True:
        if _syscall(
            c_long(_SYS_NAME_TO_HANDLE_AT), c_int(fd), b"", _buffer, ctypes.byref(mount), c_int(_handle_flags[0])
        ) >= 0:
            size = ctypes.c_uint.from_buffer(_buffer, 0).value
            return bytes(_view[4 : 8 + size])
        if _get_errno() == errno.EINVAL and _handle_flags[0] & _AT_HANDLE_FID:
            _handle_flags[0] = AT_EMPTY_PATH  # Linux before 6.5
            continue
        return None


def birth_time(fd: int) -> bytes:
    """The file's birth time as statx(2) has it (16 raw bytes; all zero where the file system keeps none)."""
    return raw_statx(fd, 0, STATX_BTIME)[80:96]


_fchownat: Final = _libc.fchownat
_fchownat.argtypes = (c_int, ctypes.c_char_p, c_uint, c_uint, c_int)


def chown_fd(fd: int, uid: int, gid: int) -> None:
    """chown(2) what `fd` (O_PATH will do, a symbolic link too) names; 0xFFFFFFFF keeps an id."""
    if _fchownat(fd, b"", uid, gid, AT_EMPTY_PATH) < 0:
        raise fault("fchownat")


class _StatFs(ctypes.Structure):
    _fields_ = [("type", c_long), ("rest", c_char * 248)]


_statfs_buffer: Final = _StatFs()
PROC_SUPER_MAGIC: Final = 0x9FA0


def fs_type(fd: int) -> int:
    """The file system's magic number, statfs(2)'s f_type."""
    if _libc.fstatfs(c_int(fd), ctypes.byref(_statfs_buffer)) < 0:
        raise fault("fstatfs")
    value: int = _statfs_buffer.type
    return value


# ---------------------------------------------------------------- processes, namespaces, seccomp

PR_SET_NO_NEW_PRIVS: Final = 38
PR_SET_CHILD_SUBREAPER: Final = 36

_prctl: Final = _libc.prctl
_prctl.argtypes = (c_int, c_ulong, c_ulong, c_ulong, c_ulong)


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    """prctl(2)."""
    result: int = _prctl(option, arg2, arg3, arg4, arg5)
    if result < 0:
        raise fault("prctl")
    return result


def unshare(flags: int) -> None:
    """unshare(2)."""
    if _libc.unshare(c_int(flags)) < 0:
        raise fault("unshare")


def pidfd_getfd(pidfd: int, fd: int) -> int:
    """Duplicate descriptor `fd` of the process behind `pidfd` (pidfd_getfd(2))."""
    result: int = _syscall(c_long(_SYS_PIDFD_GETFD), c_int(pidfd), c_int(fd), c_uint(0))
    if result < 0:
        raise fault("pidfd_getfd")
    return result


_SYS_KCMP: Final = _NUMBERS["kcmp"]
_KCMP_VM: Final = 1


def same_memory(one: int, other: int) -> bool:
    """Whether two tasks share their address space (kcmp(2)); False where we may not know."""
    result: int = _syscall(c_long(_SYS_KCMP), c_int(one), c_int(other), c_int(_KCMP_VM), c_ulong(0), c_ulong(0))
    return result == 0


SECCOMP_SET_MODE_FILTER: Final = 1
SECCOMP_FILTER_FLAG_NEW_LISTENER: Final = 1 << 3
SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: Final = 1 << 5


class _SockFprog(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def load_filter(program: bytes, flags: int = 0) -> int:
    """Put the BPF `program` on the calling thread with seccomp(2).

    Returns the listener's descriptor where `flags` asks for one, else 0. Sets no_new_privs only where the kernel
    asks for it (EACCES: no CAP_SYS_ADMIN here).
    """
    prog = _SockFprog(len(program) // 8, program)
    for attempt in (0, 1):
        result: int = _syscall(c_long(_SYS_SECCOMP), c_uint(SECCOMP_SET_MODE_FILTER), c_uint(flags), ctypes.byref(prog))
        if result >= 0:
            return result
        if _get_errno() != errno.EACCES or attempt:
            break
        prctl(PR_SET_NO_NEW_PRIVS, 1)
    raise fault("seccomp")


_ptrace: Final = _libc.ptrace
_ptrace.argtypes = (c_long, c_int, c_void_p, c_void_p)
_ptrace.restype = c_long


class Seize:
    """A task held with ptrace(2) just to see its exec: PTRACE_SEIZE with PTRACE_O_TRACEEXEC."""

    EVENT_EXEC: Final = 4
    EVENT_STOP: Final = 128
    _CONT, _DETACH, _SEIZE, _INTERRUPT = 7, 17, 0x4206, 0x4207
    _O_TRACEEXEC: Final = 0x10

    __slots__ = ("tid",)

    def __init__(self, tid: int) -> None:
        self.tid = tid
        self._request(self._SEIZE, tid, self._O_TRACEEXEC)

    @staticmethod
    def _request(request: int, tid: int, data: int) -> None:
        if _ptrace(request, tid, None, data) < 0:
            raise fault("ptrace")

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

    def detach(self, tid: int) -> None:
        """Let the stopped task go for good."""
        self._try(self._DETACH, tid, 0)
