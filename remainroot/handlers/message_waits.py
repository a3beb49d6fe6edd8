# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting for a message that brings credentials: recvmsg(2).

The kernel writes them into the message as it comes, with the real ids. So it is asked only to show it (MSG_PEEK); when
there is one the call is made again, as the task made it, and answered as if it had not had to wait.
"""

from __future__ import annotations

import os
from _struct import Struct
from select import POLLIN, poll

from remainroot.dispatch import CONTINUE, Attend
from remainroot.kernel import read_memory, write_memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from typing import Final

    from remainroot.dispatch import Call, Outcome
    from remainroot.outcomes import Have

_SOL_SOCKET: Final = 1
_SCM_RIGHTS, _SCM_PIDFD = 1, 4
_MSG_PEEK, _MSG_DONTWAIT = 0x2, 0x40
_FLAGS: Final = 2
"""Which argument of recvmsg(2)."""
_KIND: Final = Struct("=ii")
_MOST_CONTROL: Final = 20480


def await_message(call: Call, own: socket, address: int, size: int, control: int) -> Outcome:
    """What becomes of a recvmsg(2) from `own`, a socket with SO_PASSCRED, that nothing could be received for here.

    The task's struct msghdr, at `address`, has so many bytes, and `control` is where in it the address of the control
    messages is; their size follows.
    """
    tid, world, number, word = call.tid, call.world, call.abi.numbers["recvmsg"], call.abi.bits // 8
    flags = call.unsigned(_FLAGS)
    if flags & _MSG_DONTWAIT or not os.get_blocking(own.fileno()) or _is_there(own):
        return CONTINUE
    if world.tasks.untouched:
        world.waiters.calls[tid] = number, lambda: True
        return CONTINUE
    header = call.read(address, size)
    close = call.abi.numbers["close"]

    def finish(have: Have, _: int) -> int | None:
        try:
            where, length = Struct(f"=2{'Q' if word == 8 else 'I'}").unpack(read_memory(tid, control, 2 * word))
            for fd in _given(read_memory(tid, where, min(length, _MOST_CONTROL)), word):
                have(close, fd, 0, 0, 0, 0)
            write_memory(tid, address, header)
        except OSError:
            pass  # somebody has taken the memory away meanwhile: the call will say so
        return None

    return Attend(number, call.args[0], _FLAGS, flags | _MSG_PEEK, finish)


def _is_there(own: socket) -> bool:
    """Whether the kernel need not wait: for a message, or the end."""
    poller = poll()
    poller.register(own.fileno(), POLLIN)
    return bool(poller.poll(0))


def _given(control: bytes, word: int) -> list[int]:
    """The descriptors that these control messages have brought."""
    found: list[int] = []
    at, head = 0, word + 8
    while at + head <= len(control):
        size = int.from_bytes(control[at : at + word], "little")
        if size < head:
            break
        level, kind = _KIND.unpack_from(control, at + word)
        if level == _SOL_SOCKET and kind in (_SCM_RIGHTS, _SCM_PIDFD):
            data = control[at + head : at + size]
            found += Struct(f"={len(data) // 4}i").unpack(data[: len(data) // 4 * 4])
        at += size + (-size % word)
    return found
