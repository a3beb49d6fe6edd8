# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose a pipe is: its maker's, who alone may open it anew by /proc/PID/fd (pipe(7), proc_pid_fd(5)).

That takes `--strict`, so these calls are caught with that option alone: each pipeline would pay for it.
"""

from __future__ import annotations

import os
from struct import Struct

from remainroot import quick
from remainroot.dispatch import CONTINUE, Attend, Pair, handles
from remainroot.kernel import is_writable, read_memory
from remainroot.store.base import Owner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call, Outcome
    from remainroot.outcomes import Have

_ENDS: Final = Struct("=ii")


@handles("pipe", "pipe2", lax=False, quick=quick.MAKE)
def pipe(call: Call) -> Outcome:
    """pipe(2): it is the caller's, by its file-system ids."""
    creds = call.creds
    if creds.fsuid == 0 and creds.fsgid == 0:
        return CONTINUE
    tid, address, world = call.tid, call.ptr(0), call.world
    flags = call.unsigned(1) if call.name == "pipe2" else 0
    unnamed, owner = world.unnamed, Owner(creds.fsuid, creds.fsgid)

    def finish(_: Have, result: int) -> int:
        try:
            fd = world.files.descriptor(tid, _ENDS.unpack(read_memory(tid, address, _ENDS.size))[0])
        except OSError:
            unnamed.miss()  # another thread has closed it, or taken the memory away
            return result
        try:
            unnamed.made(fd, owner)
        finally:
            os.close(fd)
        return result

    def make() -> tuple[int, int]:
        ends = os.pipe2(flags | os.O_CLOEXEC)
        unnamed.made(ends[0], owner)
        return ends

    attended = Attend(call.abi.numbers[call.name], call.args[0], 0, call.args[0], finish, unnamed.miss)
    call.check()
    if not is_writable(tid, address, _ENDS.size):
        return attended  # EFAULT, if the kernel finds nothing else; or a stack that has yet to grow
    return Pair(attended, make, address, cloexec=bool(flags & os.O_CLOEXEC))
