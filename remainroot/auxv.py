# SPDX-License-Identifier: GPL-2.0-or-later
"""The auxiliary vector of a program that has just been executed (getauxval(3)).

The ids in it are what libc believes.
"""

from __future__ import annotations

from _struct import Struct

from remainroot.kernel import PAGE, read_memory, write_memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.credentials import Credentials

AT_NULL: Final = 0
AT_UID, AT_EUID, AT_GID, AT_EGID = 11, 12, 13, 14
AT_SECURE: Final = 23
_START_STACK: Final = 28


def _stack_start(tid: int) -> int:
    """Where the program's stack began (the address of argc).

    Proc_pid_stat(5), field startstack; OSError if the task is gone.
    """
    with open(f"/proc/{tid}/stat", "rb") as file:
        text = file.read()
    return int(text[text.rindex(b")") + 2 :].split()[_START_STACK - 3])


def _is_64_bit(tid: int) -> bool:
    with open(f"/proc/{tid}/exe", "rb") as file:
        return file.read(5)[4:5] == b"\x02"


def _after_null(tid: int, address: int, word: Struct) -> int:
    """The address behind the next null pointer at or after `address`."""
    size = word.size
    zero = bytes(size)
    while True:
        length = PAGE - (address % PAGE)
        data = read_memory(tid, address, length)
        for offset in range(0, length - size + 1, size):
            if data[offset : offset + size] == zero:
                return address + offset + size
        address += length


def patch_identity(tid: int, creds: Credentials, *, secure: bool) -> None:
    """Write the ids of `creds` and AT_SECURE into the new program's auxiliary vector, where they differ."""
    word = Struct("=Q" if _is_64_bit(tid) else "=I")
    pair = Struct("=QQ" if word.size == 8 else "=II")
    start = _stack_start(tid)
    (argc,) = word.unpack(read_memory(tid, start, word.size))
    address = _after_null(tid, start + word.size * (argc + 2), word)
    uids, gids = creds.namespace.uids, creds.namespace.gids
    wanted = {
        AT_UID: uids.shown(creds.uid),
        AT_EUID: uids.shown(creds.euid),
        AT_GID: gids.shown(creds.gid),
        AT_EGID: gids.shown(creds.egid),
        AT_SECURE: int(secure),
    }
    for _ in range(64):
        kind, value = pair.unpack(read_memory(tid, address, pair.size))
        if kind == AT_NULL:
            return
        if kind in wanted and value != wanted[kind]:
            write_memory(tid, address + word.size, word.pack(wanted[kind]))
        address += pair.size
