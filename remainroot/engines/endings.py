# SPDX-License-Identifier: GPL-2.0-or-later
"""What a program that has just been executed is made to do before its first instruction: end its parent-death signal.

For a set-id program the kernel does so, but to it nothing has changed (prctl(2), PR_SET_PDEATHSIG). The task has
stopped in its execve(2), whose result has still to be told; so it is led to the end of that, and makes prctl(2) with an
instruction of the vDSO's, for the program's own are not known.
"""

from __future__ import annotations

from remainroot.engines import ptracing as pt
from remainroot.engines.gates import NoWayError, gate, mode
from remainroot.engines.inject import LostError, Puppet, is_confined

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

__all__ = ["LostError", "end_parent_death_signal"]

_PRCTL: Final = {pt.X86_64: 157, pt.I386: 172}
_PR_SET_PDEATHSIG: Final = 1


class _Program(Puppet):
    """A task at the end of an execve(2) that has succeeded."""

    def __init__(self, tid: int, wait: Callable[[int], int]) -> None:
        self.arch = mode(tid)
        self._gate = gate(tid, self.arch)
        super().__init__(tid, self.arch, wait, entered=False)

    def start(self) -> int:
        """Where the instruction is that makes the call."""
        return self._gate


def end_parent_death_signal(tid: int, filters: int, wait: Callable[[int], int]) -> None:
    """Of the task, which has stopped at a PTRACE_EVENT_EXEC with PTRACE_O_TRACESYSGOOD. It stays stopped.

    It keeps it if it has put itself into a sandbox (more seccomp filters than ours and `filters`), which may kill it
    for the call, and where we do not know how calls are made. LostError, or OSError(ESRCH): it is gone. `wait`: as of
    `Puppet`.
    """
    if is_confined(tid, filters):
        return
    pt.demand(pt.SYSCALL, tid)
    status = wait(tid)
    if status != pt.SYSCALL_STOP:
        raise LostError(status)  # nothing else is reported so far within the kernel but its end
    try:
        puppet = _Program(tid, wait)
    except NoWayError:
        return
    puppet.call(_PRCTL[puppet.arch], _PR_SET_PDEATHSIG, 0, 0, 0, 0)
    puppet.release(0)
