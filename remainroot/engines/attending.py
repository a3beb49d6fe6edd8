# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls that are attended to their end, whenever that is (`remainroot.outcomes.Attend`).

With the notify engine the task is seized for it. It is held as it leaves the call that it made (which has not run),
makes that again with the other argument, and is let go when that is over. A signal, or a stop of its process, that
comes in between finds the task as if it had just been about to make its call, or had been interrupted in it.
"""

from __future__ import annotations

import os

from remainroot.engines import ptracing as pt
from remainroot.engines.inject import LostError, Puppet
from remainroot.engines.seized import Held

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from remainroot.kernel import Seize
    from remainroot.outcomes import Attend
    from remainroot.world import World

__all__ = ["Attendance", "LostError", "change", "over"]


def change(tid: int, arch: int, outcome: Attend) -> int:
    """Change the argument of the call that `tid` stands at the entry of; what it was. OSError(ESRCH): it is gone."""
    registers = pt.Registers(tid, arch)
    index = registers.layout.args[outcome.index]
    original = registers[index]
    registers[index] = outcome.value
    registers.write()
    return original


def over(tid: int, arch: int, outcome: Attend, original: int, wait: Callable[[int], int]) -> None:
    """`tid` has stopped at the end of the call. LostError, or OSError(ESRCH): it is gone."""
    pt.demand(pt.GET_SYSCALL_INFO, tid, pt.INFO_SIZE.value, pt.INFO_ADDRESS)
    made = pt.exit_value()
    if made < 0:
        registers = pt.Registers(tid, arch)
        place = registers.layout.args[outcome.index]
        if place != registers.layout.result:
            registers[place] = original
            registers.write()
        return
    puppet = Puppet(tid, arch, wait, entered=False)
    puppet.saved[puppet.layout.args[outcome.index]] = original
    result = outcome.finish(puppet.call, made)
    if result is None:
        _as_made(puppet.saved, puppet.layout, outcome)
        puppet.make_again(outcome.number)
    else:
        puppet.release(result)


def _as_made(registers: pt.Registers | list[int], layout: pt.Layout, outcome: Attend) -> None:
    """Put the call's first argument back, where its result took its place (aarch64)."""
    if layout.result in layout.args:
        registers[layout.args[0]] = outcome.first


class Attendance(Held):
    """A call of a task that is seized for it. `wait`: as of `Puppet`."""

    __slots__ = ("_arch", "_original", "_outcome", "_wait")

    waits = True
    attends = True
    patience = 200

    def __init__(self, tid: int, arch: int, seize: Seize, outcome: Attend, wait: Callable[[int], int]) -> None:
        super().__init__(tid, tid, seize)
        self._arch = arch
        self._outcome = outcome
        self._wait = wait
        self._original = 0

    def begin(self) -> None:
        """The task has stopped on its way out of the call that has not run: it makes it, with the other argument."""
        registers = pt.Registers(self.tid, self._arch)
        _as_made(registers, registers.layout, self._outcome)
        index = registers.layout.args[self._outcome.index]
        self._original = registers[index]
        registers[index] = self._outcome.value
        registers.make_again(self._outcome.number)
        registers.write()
        pt.demand(pt.SYSCALL, self.tid)

    def stopped(self, world: World, tid: int, status: int) -> bool:
        """One stop (or the end) of the task; True when it is let go and nothing more will come."""
        del world
        if not os.WIFSTOPPED(status):
            return True
        signo = 0
        try:
            if status == pt.SYSCALL_STOP:
                pt.demand(pt.GET_SYSCALL_INFO, tid, pt.INFO_SIZE.value, pt.INFO_ADDRESS)
                if pt.INFO_BYTES[0] == pt.OP_ENTRY:
                    pt.demand(pt.SYSCALL, tid)
                    return False
                over(tid, self._arch, self._outcome, self._original, self._wait)
            else:
                # Not in the call yet. It will make it afterwards, and be asked again.
                signo = 0 if status >> 16 else os.WSTOPSIG(status)
                registers = pt.Registers(tid, self._arch)
                registers[registers.layout.args[self._outcome.index]] = self._original
                registers.write()
        except (LostError, OSError):
            pass  # killed meanwhile
        self.seize.detach(tid, signo)
        return True
