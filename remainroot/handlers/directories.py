# SPDX-License-Identifier: GPL-2.0-or-later
"""What a directory lists: getdents64(2). A device node that was made here is a regular file on disk, also by its type.

`find -type c` and its kin look no further than that type. Without `--strict` only programs that were executed since
there are such nodes are seen to ask (`World.readable_nodes`): every program lists directories, and few hold nodes.
"""

from __future__ import annotations

import os
from errno import EFAULT
from stat import S_IFMT
from struct import Struct

from remainroot import abi as abis
from remainroot import quick, readers
from remainroot.dispatch import CONTINUE, Fail, Return, equals, handles
from remainroot.kernel import O_CLOEXEC, O_PATH, PROC_SUPER_MAGIC, duplicate_fd, fs_type, syscall
from remainroot.store.base import is_placeholder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call, Outcome

_ENTRY: Final = Struct("=QqHB")
"""struct linux_dirent64: inode, offset, length, type; then the name."""
_TYPE_AT: Final = 18
_DT_REG: Final = 8
_MOST: Final = 1 << 20


@handles("getdents64", when=equals(1, 0), readers=readers.MARKED, strictly=quick.LIST)
def getdents64(call: Call) -> Outcome:
    """getdents64(2): a device node is listed as one; of some programs (`remainroot.readers`); `--strict`: of all."""
    if not call.world.store.placeholders:
        return CONTINUE
    try:
        fd = duplicate_fd(call.tid, call.signed(0))
    except OSError:
        return CONTINUE  # the kernel will say so
    try:
        if fs_type(fd) == PROC_SUPER_MAGIC:
            return CONTINUE  # there are none
        at = os.lseek(fd, 0, os.SEEK_CUR)
        call.check()
        buffer = bytearray(min(call.unsigned(2), _MOST))
        size = syscall(abis.native()[0].numbers["getdents64"], fd, buffer, len(buffer))
        last = _correct(call, fd, buffer, size)
        if call.abi.bits < 64 and last >> 31:
            os.lseek(fd, at, os.SEEK_SET)
            return CONTINUE  # we have a 64-bit program's offsets, as ext4 makes them of hashes
        try:
            call.write(call.ptr(1), bytes(buffer[:size]))
        except OSError:
            os.lseek(fd, at, os.SEEK_SET)
            return Fail(EFAULT)
        return Return(size)
    finally:
        os.close(fd)


def _correct(call: Call, directory: int, entries: bytearray, size: int) -> int:
    """Change the types of nodes among the `entries`, `size` bytes, to what the nodes are; gives the largest offset."""
    position = largest = 0
    while position < size:
        _, offset, length, kind = _ENTRY.unpack_from(entries, position)
        largest = max(largest, offset)
        if kind == _DT_REG:
            name = bytes(entries[position + _ENTRY.size : position + length]).split(b"\0", 1)[0]
            entries[position + _TYPE_AT] = _type_of(call, directory, name)
        position += length
    return largest


def _type_of(call: Call, directory: int, name: bytes) -> int:
    """The type (DT_REG and so on) of the regular file `name`, or of the node that it stands for."""
    try:
        if os.stat(name, dir_fd=directory, follow_symlinks=False).st_size:
            return _DT_REG  # what stands for a node is empty
        fd = os.open(name, O_PATH | O_CLOEXEC | os.O_NOFOLLOW, dir_fd=directory)
    except OSError:
        return _DT_REG  # removed meanwhile
    try:
        st = os.fstat(fd)
        owner = call.world.override(fd, st)
        return S_IFMT(owner.mode) >> 12 if owner is not None and is_placeholder(owner, st) else _DT_REG
    finally:
        os.close(fd)
