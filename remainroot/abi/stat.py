# SPDX-License-Identifier: GPL-2.0-or-later
"""struct stat as each ABI lays it out: stat(2), and the kernel's arch/*/include/uapi/asm/stat.h.

A Layout turns a file's status into the bytes the call would have written, or raises OSError(EOVERFLOW) where a value
does not fit, as the kernel does.
"""

from __future__ import annotations

import errno
import os
from struct import Struct

from remainroot.namespaces import OVERFLOW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from remainroot.store.base import Owner

    Layout = Callable[[os.stat_result, Owner], bytes]

_NANO: Final = 1_000_000_000
_MAX_NON_LFS: Final = (1 << 31) - 1


def _overflow() -> OSError:
    return OSError(errno.EOVERFLOW, os.strerror(errno.EOVERFLOW))


def _times(st: os.stat_result) -> tuple[int, int, int, int, int, int]:
    return (*divmod(st.st_atime_ns, _NANO), *divmod(st.st_mtime_ns, _NANO), *divmod(st.st_ctime_ns, _NANO))


def _low_id(value: int) -> int:
    """A 16-bit id, the overflow id where it does not fit (high2lowuid() in the kernel)."""
    return value if value <= 0xFFFF else OVERFLOW


def _old_dev(dev: int) -> int:
    """The 16-bit encoding of a device number: 8 bits of each."""
    return (os.major(dev) & 0xFF) << 8 | (os.minor(dev) & 0xFF)


_x86_64: Final = Struct("=QQQIIIIQqqqqQqQqQ24x")


def stat_x86_64(st: os.stat_result, owner: Owner) -> bytes:
    """The 144 bytes of x86_64."""
    return _x86_64.pack(
        st.st_dev, st.st_ino, st.st_nlink, owner.mode, owner.uid, owner.gid, 0, owner.rdev,
        st.st_size, st.st_blksize, st.st_blocks, *_times(st),
    )  # fmt: skip


_generic: Final = Struct("=QQIIIIQQqiiqqQqQqQ8x")


def stat_generic(st: os.stat_result, owner: Owner) -> bytes:
    """The 128 bytes of asm-generic (aarch64)."""
    return _generic.pack(
        st.st_dev, st.st_ino, owner.mode, st.st_nlink, owner.uid, owner.gid, owner.rdev, 0,
        st.st_size, st.st_blksize, 0, st.st_blocks, *_times(st),
    )  # fmt: skip


_i386_64: Final = Struct("=QIIIIIIQIqIQIIIIIIQ")


def _seconds32(st: os.stat_result) -> tuple[int, ...]:
    return tuple(value & 0xFFFF_FFFF for value in _times(st))


def stat64_i386(st: os.stat_result, owner: Owner) -> bytes:
    """The 96 bytes of i386's stat64 calls."""
    return _i386_64.pack(
        st.st_dev, 0, st.st_ino & 0xFFFF_FFFF, owner.mode, st.st_nlink, owner.uid, owner.gid, owner.rdev, 0,
        st.st_size, st.st_blksize, st.st_blocks, *_seconds32(st), st.st_ino,
    )  # fmt: skip


_arm_64: Final = Struct("=QIIIIIIQIIqIIQIIIIIIQ")


def stat64_arm(st: os.stat_result, owner: Owner) -> bytes:
    """The 104 bytes of arm's stat64 calls (64-bit members aligned to 8)."""
    return _arm_64.pack(
        st.st_dev, 0, st.st_ino & 0xFFFF_FFFF, owner.mode, st.st_nlink, owner.uid, owner.gid, owner.rdev, 0, 0,
        st.st_size, st.st_blksize, 0, st.st_blocks, *_seconds32(st), st.st_ino,
    )  # fmt: skip


_i386: Final = Struct("=IIHHHHIIIIIIIIII8x")


def stat_i386(st: os.stat_result, owner: Owner) -> bytes:
    """The 64 bytes of the 32-bit newstat calls: 16-bit ids, EOVERFLOW where inode, links or size do not fit."""
    if st.st_ino > 0xFFFF_FFFF or st.st_nlink > 0xFFFF or st.st_size > _MAX_NON_LFS:
        raise _overflow()
    return _i386.pack(
        st.st_dev & 0xFFFF_FFFF, st.st_ino, owner.mode, st.st_nlink, _low_id(owner.uid), _low_id(owner.gid),
        owner.rdev & 0xFFFF_FFFF, st.st_size, st.st_blksize, st.st_blocks & 0xFFFF_FFFF, *_seconds32(st),
    )  # fmt: skip


_old: Final = Struct("=7H2xIIII")


def oldstat(st: os.stat_result, owner: Owner) -> bytes:
    """The 32 bytes of the first stat calls: 16-bit everything. A 64-bit kernel cuts the size off without a word."""
    if st.st_ino > 0xFFFF or st.st_nlink > 0xFFFF:
        raise _overflow()
    return _old.pack(
        _old_dev(st.st_dev), st.st_ino, owner.mode, st.st_nlink, _low_id(owner.uid), _low_id(owner.gid),
        _old_dev(owner.rdev), st.st_size & 0xFFFF_FFFF, *_seconds32(st)[::2],
    )  # fmt: skip


X86_64_LAYOUTS: Final[dict[str, Layout]] = {
    "stat": stat_x86_64, "lstat": stat_x86_64, "fstat": stat_x86_64, "newfstatat": stat_x86_64,
}  # fmt: skip
GENERIC_LAYOUTS: Final[dict[str, Layout]] = {"fstat": stat_generic, "newfstatat": stat_generic}
_32: Final[dict[str, Layout]] = {
    "stat": stat_i386, "lstat": stat_i386, "fstat": stat_i386,
    "oldstat": oldstat, "oldlstat": oldstat, "oldfstat": oldstat,
}  # fmt: skip
I386_LAYOUTS: Final[dict[str, Layout]] = {
    **_32, "stat64": stat64_i386, "lstat64": stat64_i386, "fstat64": stat64_i386, "fstatat64": stat64_i386,
}  # fmt: skip
ARM_LAYOUTS: Final[dict[str, Layout]] = {
    **_32, "stat64": stat64_arm, "lstat64": stat64_arm, "fstat64": stat64_arm, "fstatat64": stat64_arm,
}  # fmt: skip


_STATX_TIMES: Final = (64, 112)
"""Where stx_atime and stx_mtime are."""


def patch_statx(
    raw: bytes, owner: Owner, attributes: int = 0, times: tuple[int | None, int | None] = (None, None)
) -> bytes:
    """`raw` (a struct statx the kernel filled) with the owner's ids, mode and device numbers in place of the file's.

    `attributes` are STATX_ATTR_* that the file has too, `times` those of access and of modification, where they are
    others, in nanoseconds.
    """
    data = bytearray(raw)
    for at, time in zip(_STATX_TIMES, times, strict=True):
        if time is not None:
            seconds, rest = divmod(time, _NANO)
            data[at : at + 12] = seconds.to_bytes(8, "little", signed=True) + rest.to_bytes(4, "little")
    if attributes:
        for at in (8, 56):  # stx_attributes and its mask
            data[at] |= attributes
    data[20:28] = owner.uid.to_bytes(4, "little") + owner.gid.to_bytes(4, "little")
    data[28:30] = owner.mode.to_bytes(2, "little")
    data[128:136] = os.major(owner.rdev).to_bytes(4, "little") + os.minor(owner.rdev).to_bytes(4, "little")
    return bytes(data)
