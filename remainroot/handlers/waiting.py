# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting for children: waitid(2) alone tells whose they are."""

from __future__ import annotations

from _struct import Struct
from errno import ECHILD

from remainroot.dispatch import CONTINUE, Attend, differs, handles
from remainroot.kernel import is_writable, read_memory, write_memory
from remainroot.pids import task_called

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call, Outcome
    from remainroot.outcomes import Have

_WNOHANG: Final = 1
_WSTOPPED: Final = 2
_WEXITED: Final = 4
_WCONTINUED: Final = 8
_WNOWAIT: Final = 0x0100_0000
_WHICH: Final = 0xE000_0000
"""__WNOTHREAD, __WALL, __WCLONE"""
_P_PID: Final = 1
_EVENTS: Final = {1: _WEXITED, 2: _WEXITED, 3: _WEXITED, 4: _WSTOPPED, 5: _WSTOPPED, 6: _WCONTINUED}
"""What is waited for that has the code CLD_EXITED, KILLED, DUMPED, TRAPPED, STOPPED, CONTINUED."""
_WIDE: Final = Struct("=iiixxxxiI")
_NARROW: Final = Struct("=iiiiI")
"""siginfo_t: signo, errno, code, pid, uid; with 64-bit pointers in it, and without."""


@handles("waitid", when=differs(2, 0))
def waitid(call: Call) -> Outcome:
    """Wait for a child, and be told its real user id: waitid(2).

    Who a child is can be read until it is reaped. So the kernel is asked to leave it (WNOWAIT), and to reap it then.
    """
    world, number = call.world, call.abi.numbers["waitid"]
    options = call.unsigned(3)
    tid, address = call.tid, call.ptr(2)
    form = _WIDE if call.abi.name in ("x86_64", "aarch64") else _NARROW
    if world.tasks.untouched:
        if not options & _WNOHANG:
            world.waiters.calls[tid] = number, lambda: is_writable(tid, address, form.size)
        return CONTINUE
    if not is_writable(tid, address, form.size):
        return CONTINUE  # EFAULT, but the child is reaped

    def finish(have: Have, _: int) -> int | None:
        try:
            _, _, code, pid, shown = form.unpack(read_memory(tid, address, form.size))
            if not pid:
                return 0  # with WNOHANG: nobody
            child = task_called(tid, pid)
            if child and world.tasks.supervises(child) and shown == world.told_uid(tid):
                write_memory(tid, address + form.size - 4, world.uid_for(tid, child).to_bytes(4, "little"))
        except OSError:
            return 0  # somebody has taken the memory away meanwhile
        if options & _WNOWAIT or code not in _EVENTS:
            return 0
        which = _EVENTS[code] | _WNOHANG | options & _WHICH
        # Another thread may have been faster.
        return None if have(number, _P_PID, pid, 0, which, 0) == -ECHILD else 0

    return Attend(number, call.args[0], 3, options | _WNOWAIT, finish)
