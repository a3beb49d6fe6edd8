# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls that the notify engine sees to their end, their tasks seized: see `remainroot.engines.notify`."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from signal import SIGSTOP

    from remainroot.kernel import Seize
    from remainroot.outcomes import Exec, Lend
    from remainroot.world import World
else:
    # Without the module's 8 ms of enum.
    from _signal import SIGSTOP


class Held:
    """A task that is seized for something."""

    __slots__ = ("seize", "tgid", "tid")

    waits = False
    """Whether its stop takes a wait for further ones of the task."""
    attends = False
    """Whether it makes its call anew while that is attended."""
    patience = 5
    """After so many ms at the latest its stop must be served, should the other thread's signal have come too early."""

    def __init__(self, tid: int, tgid: int, seize: Seize) -> None:
        self.tid = tid
        self.tgid = tgid
        self.seize = seize

    def check(self) -> None:
        """Look at the clock."""

    def stopped(self, world: World, tid: int, status: int) -> bool:
        """One stop (or the end) of the task; True when it is let go and nothing more will come."""
        raise NotImplementedError


class Execution(Held):
    """An exec under way, its task seized. `end`: has the new program end its parent-death signal."""

    __slots__ = ("_end", "outcome")

    def __init__(self, tid: int, tgid: int, outcome: Exec, seize: Seize, end: Callable[[int], None]) -> None:
        super().__init__(tid, tgid, seize)
        self.outcome = outcome
        self._end = end

    def stopped(self, world: World, tid: int, status: int) -> bool:
        """One stop (or the end) of the task; True when it is let go and nothing more will come."""
        if not os.WIFSTOPPED(status):
            return True
        event = status >> 16
        if event == self.seize.EVENT_EXEC:
            try:
                world.executed(tid, self.outcome.state, secure=self.outcome.secure, stack=self.outcome.stack)
                if self.outcome.endings:
                    self._end(tid)
            except OSError:
                pass  # killed meanwhile
            self.seize.detach(tid)
            return True
        if event == self.seize.EVENT_STOP:
            # Our own interrupt, after an exec that failed (a group stop looks alike and is resumed by detaching into
            # it).
            world.not_executed(tid, self.outcome.stack)
            self.seize.detach(tid)
            return True
        signo = os.WSTOPSIG(status)
        self.seize.resume(tid, 0 if signo == SIGSTOP and event else signo)
        return False


class Loan(Held):
    """A call under way that its task was lent something for, the task seized."""

    __slots__ = ("outcome",)

    def __init__(self, tid: int, outcome: Lend, seize: Seize) -> None:
        super().__init__(tid, tid, seize)
        self.outcome = outcome

    def stopped(self, world: World, tid: int, status: int) -> bool:
        """One stop (or the end) of the task; True when it is let go and nothing more will come."""
        if not os.WIFSTOPPED(status):
            return True
        if status >> 16 != self.seize.EVENT_STOP:
            self.seize.resume(tid, os.WSTOPSIG(status))
            return False
        world.give_back(tid, self.outcome.kept)
        self.seize.detach(tid)
        return True


class Unwanted(Held):
    """A task that did not stop when it was to: let go as soon as it does."""

    patience = 200

    def stopped(self, world: World, tid: int, status: int) -> bool:
        """One stop (or the end) of the task; True when it is let go and nothing more will come."""
        del world
        if not os.WIFSTOPPED(status):
            return True
        if status >> 16 == self.seize.EVENT_STOP:
            from remainroot.engines.posting import spare

            try:
                spare(tid)
            except OSError:
                pass  # killed meanwhile
            self.seize.detach(tid)
            return True
        self.seize.interrupt()  # each stop ends what was asked for before
        self.seize.resume(tid, 0 if status >> 16 else os.WSTOPSIG(status))
        return False
