# SPDX-License-Identifier: GPL-2.0-or-later
"""What the ptrace engines have their tasks do: calls of ours, instead of their own or between two of theirs."""

from __future__ import annotations

import os
from time import monotonic, sleep

from remainroot.engines import ptracing as pt
from remainroot.engines.base import Engine
from remainroot.outcomes import CONTINUE, Fail, Instead, Replace
from remainroot.tasks import parent_of, thread_group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, TypeVar

    from remainroot.engines.base import Answer, Watcher
    from remainroot.outcomes import Attend, InstallFd, Judge, Letter, Post
    from remainroot.settings import Settings
    from remainroot.world import World

    T = TypeVar("T")

_PATIENCE: Final = 0.5
"""How many seconds a task has to stop."""
_SIGTRAP: Final = 5
_PAUSE: Final = 0.0002
_INTERRUPTED: Final = 4
"""Beside the kinds of stops at a call."""


class Errands(Engine):
    """The part of a ptrace engine that has tasks make calls."""

    resume = pt.CONT
    """The request that lets a task go on to what may be of interest next."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._judges: dict[int, Judge] = {}
        """Who is shown each call of a task, by tid."""
        self._backlog: list[tuple[int, int]] = []
        """Stops that were seen, and are to be served next: (tid, wait status)."""
        self._attended: dict[int, tuple[int, Attend, int]] = {}
        """Calls that are attended, by tid: architecture, outcome, and what its argument was."""
        self._seen = 0
        """The wait status that `_stop` has found."""

    def equip(self, world: World, answer: Answer, watcher: Watcher) -> None:
        """Take them."""
        super().equip(world, answer, watcher)
        world.waiters.renew = self._renew

    def _onwards(self, tid: int) -> int:
        """The request that lets the task go on: to its next call, if that is shown to a judge."""
        return pt.SYSCALL if tid in self._judges else self.resume

    def _made(self, tid: int) -> None:
        """A task stops as it makes another: who judges its calls has the other's shown, too."""
        if tid in self._judges:
            self._judges.setdefault(pt.event_message(tid), self._judges[tid].child())

    def _born(self, tid: int) -> None:
        """A new task stops for the first time, perhaps before the one that has made it."""
        if tid in self._judges:
            return
        makers = (parent_of(tid), thread_group(tid))
        for other, judge in self._judges.items():
            if thread_group(other) in makers:
                self._judges[tid] = judge.child()
                return

    def _other_stop(self, tid: int, status: int) -> None:
        """Serve a stop that is no call's, or an end."""
        raise NotImplementedError

    def _left(self, tid: int) -> None:
        """Serve the end of a call that INFO tells of."""
        self._other_stop(tid, pt.SYSCALL_STOP)

    def _finish(self, tid: int, value: int) -> None:
        """The call that `tid` stands at the entry of does not run, and has this result."""
        pt.skip(tid, value)
        pt.request(self.resume, tid, 0, 0)

    def _have_made(self, tid: int, arch: int, outcome: InstallFd | Replace | Instead) -> None:
        """Have the task make the calls that an outcome takes."""
        from remainroot.engines.inject import install_fd, is_confined, make_instead, replace_fd

        def have_made() -> int:
            if is_confined(tid, self.filters):
                if isinstance(outcome, Instead):
                    pt.skip(tid, outcome.value)
                return self.resume
            if isinstance(outcome, Replace):
                replace_fd(tid, arch, outcome, self._status_of)
            elif isinstance(outcome, Instead):
                make_instead(tid, arch, outcome, self._status_of)
            else:
                install_fd(tid, arch, outcome.fd, self._status_of, cloexec=outcome.cloexec)
            return self._onwards(tid)

        how = self._unless_lost(tid, have_made)
        if how is not None:
            pt.request(how, tid, 0, 0)

    def _unless_lost(self, tid: int, act: Callable[[], T]) -> T | None:
        """What `act` returns, which has a stopped task do something; None: it has ended, as is reported or noted."""
        from remainroot.engines.inject import LostError

        try:
            return act()
        except LostError as lost:
            self._backlog.append((tid, lost.status))
        except OSError:
            pass  # killed meanwhile: its end is reported
        return None

    def _status_of(self, tid: int) -> int:
        """The next wait status of `tid`. What others report is kept: a leader ends only after its threads."""
        while True:
            other, status = os.waitpid(-1, pt.WALL)
            if other == tid:
                return status
            self._backlog.append((other, status))

    # -- calls that are attended

    def _attend(self, tid: int, arch: int, outcome: Attend) -> None:
        """The task stands at the entry of the call: it makes it with the other argument."""
        from remainroot.engines.attending import change
        from remainroot.engines.inject import is_confined

        if is_confined(tid, self.filters):
            outcome.miss()
            pt.request(self.resume, tid, 0, 0)
            return
        try:
            self._attended[tid] = arch, outcome, change(tid, arch, outcome)
        except OSError:
            return  # killed meanwhile: its end is reported
        pt.request(pt.SYSCALL, tid, 0, 0)

    def _attended_over(self, tid: int) -> None:
        """The end of such a call."""
        arch, outcome, original = self._attended.pop(tid)
        from remainroot.engines.attending import over

        self._unless_lost(tid, lambda: over(tid, arch, outcome, original, self._status_of))

    def _renew(self, tid: int) -> None:
        """Have the task make the call that it waits in once more; it has left it when this returns."""
        where = self._stop(tid)
        if where == pt.OP_ENTRY:
            self._backlog.append((tid, self._seen))  # of another
        elif where:
            self._spare(tid)
            pt.request(self._onwards(tid), tid, 0, 0)

    @staticmethod
    def _spare(tid: int) -> None:
        """The call that was interrupted, if any, is to go on unless a handler runs."""
        from remainroot.engines.posting import spare

        try:
            spare(tid)
        except OSError:
            pass  # killed meanwhile

    # -- signals that say who has sent them

    def _post(self, tid: int, outcome: Post) -> None:
        """Have each receiver queue itself its signal; answer the call."""
        from remainroot.engines.posting import post

        found = post(tid, outcome, self._post_own, self._have_queued)
        if found is CONTINUE:
            pt.request(self.resume, tid, 0, 0)
        elif found is not None:
            self._finish(tid, -found.errno if isinstance(found, Fail) else 0)

    def _post_own(self, letter: Letter) -> bool:
        """Have the caller itself queue the signal instead of its call; whether that has been done."""
        from remainroot.engines.posting import can_be_made_to, queue_own

        tid = letter.tid
        if not can_be_made_to(tid, self.filters):
            return False

        def own() -> int:
            queue_own(letter, self._status_of, entered=True)
            return self._onwards(tid)

        how = self._unless_lost(tid, own)
        if how is not None:
            pt.request(how, tid, 0, 0)
        return True

    def _have_queued(self, letter: Letter) -> int | None:
        """Have another task queue itself the signal: 0, or a negative errno; None: it cannot be made to."""
        from remainroot.engines.posting import can_be_made_to, is_in_state, queue

        tid = letter.tid
        if not is_in_state(tid, b"RSt") or not can_be_made_to(tid, self.filters):
            return None
        where = self._stop(tid)
        if not where:
            return None
        result = self._unless_lost(tid, lambda: queue(letter, self._status_of, entering=where == pt.OP_ENTRY))
        if result is not None:
            pt.request(self._onwards(tid), tid, 0, 0)
        return result

    def _stop(self, tid: int) -> int:
        """Stop a task, wherever it is: OP_ENTRY, at a call's entry, _INTERRUPTED, elsewhere; 0: it does not stop."""
        if pt.request(pt.INTERRUPT, tid, 0, 0) < 0:
            return 0
        end = monotonic() + _PATIENCE
        while monotonic() < end:
            status = self._next_of(tid)
            if status is None:
                sleep(_PAUSE)
                continue
            self._seen = status
            if status in (pt.SECCOMP_STOP, pt.SYSCALL_STOP):
                if pt.request(pt.GET_SYSCALL_INFO, tid, pt.INFO_SIZE, pt.INFO) < 0:
                    continue
                if pt.INFO_BYTES[0] in (pt.OP_ENTRY, pt.OP_SECCOMP):
                    return pt.OP_ENTRY
                pt.request(pt.INTERRUPT, tid, 0, 0)  # each stop ends what was asked for before
                self._left(tid)
                continue
            if status >> 16 == pt.EVENT_STOP and status >> 8 & 0xFF == _SIGTRAP:
                return _INTERRUPTED
            pt.request(pt.INTERRUPT, tid, 0, 0)
            self._other_stop(tid, status)
            if status & 0xFF != 0x7F or status >> 16 == pt.EVENT_STOP:
                break
        return 0

    def _next_of(self, tid: int) -> int | None:
        """The wait status of a stop of `tid` that has not been served; None if there is none."""
        for index, (other, status) in enumerate(self._backlog):
            if other == tid:
                del self._backlog[index]
                return status
        try:
            found, status = os.waitpid(tid, pt.WALL | os.WNOHANG)
        except ChildProcessError:
            return None
        return status if found else None
