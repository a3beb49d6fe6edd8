# SPDX-License-Identifier: GPL-2.0-or-later
"""What `remainroot._fast` has for `remainroot.kernel`, by ctypes: for where the module was not compiled."""

from __future__ import annotations

import ctypes
import errno
import os
from ctypes import addressof, c_char, c_int, c_long, c_short, c_size_t, c_ulong, c_void_p

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

PATH_MAX: Final = 4096
PAGE: Final = 4096
_SYS_OPENAT2: Final = 437

_libc: Final = ctypes.CDLL(None, use_errno=True)
_syscall: Final = _libc.syscall
_syscall.restype = c_long
_get_errno: Final = ctypes.get_errno


def _fault() -> OSError:
    """The OSError of the libc call that just failed."""
    number = _get_errno()
    return OSError(number, os.strerror(number))


def _argument(value: int | bytes | bytearray | None) -> object:
    if isinstance(value, int):
        return c_ulong(value & 0xFFFF_FFFF_FFFF_FFFF)
    if isinstance(value, bytearray):
        return (c_char * len(value)).from_buffer(value)
    return value


def syscall(number: int, *args: int | bytes | bytearray | None) -> int:
    """syscall(2): an int, the address of a buffer's bytes, or a null pointer for each argument; OSError if it fails."""
    result: int = _syscall(c_long(number), *map(_argument, args))
    if result == -1:
        raise _fault()
    return result


def address_of(buffer: bytes | bytearray) -> int:
    """Where the bytes of `buffer` lie, for as long as it lives and keeps its size."""
    if isinstance(buffer, bytearray):
        return addressof((c_char * len(buffer)).from_buffer(buffer))
    return c_void_p.from_buffer(ctypes.c_char_p(buffer)).value or 0


_POLLIN: Final = 1


class _PollFd(ctypes.Structure):
    _fields_ = [("fd", c_int), ("events", c_short), ("revents", c_short)]


def may_be_read(fd: int, patience: int) -> bool:
    """Whether there is something to read within so many ms. A signal ends the wait, which select.poll begins anew."""
    return bool(_libc.poll(ctypes.byref(_PollFd(fd, _POLLIN, 0)), 1, patience) > 0)


# ---------------------------------------------------------------- another task's memory: process_vm_readv(2)


class _IoVec(ctypes.Structure):
    _fields_ = [("base", c_void_p), ("len", c_size_t)]


_buffer: Final = ctypes.create_string_buffer(1 << 16)
_view: Final = memoryview(_buffer).cast("B")
_address: Final = addressof(_buffer)
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
            raise _fault()
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
            raise _fault()
    _remote0.base = address
    _remote0.len = first
    _remote1.base = address + first
    _remote1.len = PATH_MAX - first
    got = _readv(tid, _local_ref, 1, _remote_ref, 2 if first < PATH_MAX else 1, 0)
    if got <= 0:
        if got < 0 and _get_errno() != errno.EFAULT:
            raise _fault()
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
            raise _fault()
        raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))


# ---------------------------------------------------------------- paths


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
    for _ in range(1000):  # somebody mounts or renames something meanwhile; a namespace's mounts come in rows
        fd: int = _syscall(_openat2_number, c_int(dirfd), path, _how_ref, _how_size)
        if fd >= 0:
            return fd
        number = _get_errno()
        if number != errno.EAGAIN:
            raise OSError(number, os.strerror(number))
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
