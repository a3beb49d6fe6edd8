# SPDX-License-Identifier: GPL-2.0-or-later
"""Tasks that the notify engine holds with ptrace(2) for a moment, or for a call: see `remainroot.engines.notify`."""

from __future__ import annotations

import _thread
import os
from errno import ENOSYS
from time import monotonic

from remainroot.engines.base import Engine
from remainroot.kernel import Seize
from remainroot.outcomes import CONTINUE, Fail
from remainroot.tasks import parent_of, thread_group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from remainroot.engines.seized import Held
    from remainroot.outcomes import Attend, Instead, Judge, Letter, Post
    from remainroot.settings import Settings

_FLAG_CONTINUE: Final = 1
_SIGTRAP: Final = 5
_PATIENCE: Final = 0.5
"""How many seconds a task has to stop."""
_GLANCE: Final = 0.05
"""After so many seconds it is time to see whether the task still is there."""


class Holding(Engine):
    """What the engine knows of tasks that are held, and what it does with them."""

    injects = True
    """Whether the filter lets tasks make calls of ours, which it knows by an argument that others do not have."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._stops: list[tuple[int, int]] = []
        """What the waiting thread has seen of tasks that were seized, and the other has not: (tid, wait status)."""
        self._later: list[tuple[int, int]] = []
        """Those that have been looked at, and must wait."""
        self._stopped = _thread.allocate_lock()
        """Released when there is something new among them."""
        self._stopped.acquire()
        self._execs: dict[int, Held] = {}
        """What tasks were seized for, by tid."""
        self._held: set[int] = set()
        """Tasks whose stops are awaited elsewhere."""
        self._seized = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        """Readable when a task has been seized."""

    def _send(self, value: int, error: int, flags: int) -> bool:
        """Answer the call; False if its task is gone."""
        raise NotImplementedError

    # -- tasks that are held

    def _make_instead(self, tid: int, arch: int, outcome: Instead) -> None:
        from remainroot.engines.inject import LostError, make_instead

        def act(seize: Seize, _: int) -> None:
            try:
                make_instead(tid, arch, outcome, self._status_of_held, entered=False)
                seize.detach(tid)
            except LostError:
                pass  # it was killed meanwhile

        if not self._hold(tid, act):
            self._send(outcome.value, 0, 0)

    def _take_back(self, tid: int, arch: int, numbers: list[int], errno: int) -> None:
        """Have the task close descriptors that it was given; its call fails with `errno`."""
        from remainroot.engines.inject import LostError, take_back

        def act(seize: Seize, _: int) -> None:
            try:
                take_back(tid, arch, numbers, errno, self._status_of_held)
                seize.detach(tid)
            except LostError:
                pass  # it was killed meanwhile

        if not self._hold(tid, act):
            self._send(0, -errno, 0)

    def _hold(self, tid: int, act: Callable[[Seize, int], None]) -> bool:
        """End the call of `tid` and have `act` done to the task as it leaves it, held with ptrace(2), with its tgid.

        `act` lets the task go. False, and the call still waits for its answer, if the task cannot be had, or has put
        itself into a sandbox, which may kill it for calls we would have it make.
        """
        from remainroot.engines import ptracing as pt
        from remainroot.engines.inject import is_confined

        if is_confined(tid, self.filters):
            return False
        tgid = thread_group(tid)
        self._held = {tid, tgid}
        try:
            seize = Seize(tid, pt.O_TRACESYSGOOD)
        except OSError:
            self._held = set()
            return False
        os.eventfd_write(self._seized, 1)
        # The interrupt must be there before the task can be anywhere but on its way out of this call.
        seize.interrupt()
        self._send(0, -ENOSYS, 0)
        try:
            while (status := self._status_of_held(tid)) >> 16 != seize.EVENT_STOP:
                if not os.WIFSTOPPED(status):
                    return True
                seize.interrupt()  # the stop has ended what was asked for before
                seize.resume(tid, os.WSTOPSIG(status))
            act(seize, tgid)
        except OSError:
            seize.detach(tid)  # it was killed meanwhile
        finally:
            self._held = set()
            self._serve_execs(0)  # what may be left is nobody's
        return True

    def _status_of_held(self, tid: int) -> int:
        """The next wait status of the task that is held. Others, with an exec under way, may report meanwhile."""
        while True:
            stop = self._next_stop(-1)
            assert stop is not None
            if stop[0] == tid or (stop[0] in self._held and stop[0] not in self._execs):
                return stop[1]
            self._meanwhile(*stop)

    def _meanwhile(self, tid: int, status: int) -> None:
        """Another task's stop, while one is awaited: served now, or by `_serve_execs` if that takes a wait, too."""
        held = self._execs.get(tid)
        if held is not None and held.waits:
            self._later.append((tid, status))
        else:
            self._exec_stopped(tid, status)

    def _next_stop(self, patience: float) -> tuple[int, int] | None:
        """The next of `_stops`; None if there is none within `patience` seconds (-1: wait for ever)."""
        while not self._stops:
            if not self._stopped.acquire(timeout=patience):
                return None
        return self._stops.pop(0)

    def _serve_execs(self, patience: float) -> None:
        """Look at the stops that the waiting thread has seen; wait up to `patience` seconds for the first."""
        while True:
            stop = self._later.pop(0) if self._later else self._next_stop(patience if self._execs else 0)
            if stop is None:
                return
            if self._exec_stopped(*stop):
                patience = 0

    def _exec_stopped(self, tid: int, status: int) -> bool:
        """Serve the stop of a task with an exec under way; whether it is let go."""
        held = self._execs.get(tid)
        if status >> 16 == Seize.EVENT_EXEC:
            # It goes by the number of its process' first thread now, which may have been held, too.
            held = next((one for one in self._execs.values() if one.tgid == tid and not one.waits), held)
        if held is None:
            if status >> 16 == Seize.EVENT_STOP and self._is_ours(tid):
                self._born(tid)
            return False
        if not held.stopped(self.world, tid, status):
            return False
        for number in (tid, held.tid, held.tgid):
            if number == tid or self._execs.get(number) is held:
                self._execs.pop(number, None)
        return True

    def _end_signal(self, tid: int) -> None:
        """Have the program that `tid` begins end its parent-death signal. OSError: it is gone."""
        from remainroot.engines.endings import LostError, end_parent_death_signal

        try:
            end_parent_death_signal(tid, self.filters, self._status_of_stopped)
        except LostError:
            pass  # it was killed meanwhile

    # -- tasks whose calls are shown to a judge

    def _watch_calls(self, tid: int, judge: Judge, seize: Seize) -> None:
        from remainroot.engines.watching import Watching

        held = Watching(tid, thread_group(tid), judge, seize, self._adopt)
        self._execs[held.tid] = held
        self._execs.setdefault(held.tgid, held)

    def _adopt(self, tid: int, judge: Judge) -> None:
        """A task that is watched has made this one: it is watched, too."""
        if tid in self._execs:
            return  # it has stopped first
        self._watch_calls(tid, judge, Seize(tid, None))
        if not self._is_ours(tid):
            self._execs.pop(tid, None)  # it was killed meanwhile

    def _born(self, tid: int) -> None:
        """The first stop of a task whose maker has not stopped yet."""
        from remainroot.engines.watching import Watching

        makers = (parent_of(tid), thread_group(tid))
        for held in {*self._execs.values()}:
            if isinstance(held, Watching) and held.tgid in makers:
                self._adopt(tid, held.judge.child())
                self._exec_stopped(tid, Seize.EVENT_STOP << 16 | 0x57F)
                return
        Seize(tid, None).detach(tid)  # its maker was killed

    # -- calls that are attended

    def _attend(self, tid: int, arch: int, outcome: Attend) -> None:
        from remainroot.engines.attending import Attendance

        def act(seize: Seize, _: int) -> None:
            held = self._execs[tid] = Attendance(tid, arch, seize, outcome, self._status_of_stopped)
            try:
                held.begin()
            except OSError:
                del self._execs[tid]
                raise

        if self._is_attended(tid):
            self._send(0, 0, _FLAG_CONTINUE)
        elif not self.injects or not self._hold(tid, act):
            outcome.miss()
            self._send(0, 0, _FLAG_CONTINUE)

    def _is_attended(self, tid: int) -> bool:
        """Whether the call of `tid` is one that it makes while that is attended."""
        held = self._execs.get(tid)
        if held is None or not held.attends:
            return False
        if self._is_ours(tid):
            return True
        del self._execs[tid]  # of a first thread that another one's exec has ended
        return False

    def _renew(self, tid: int) -> None:
        """Have the task make the call that it waits in once more; it has left it when this returns."""
        from remainroot.engines.posting import spare

        seize = self._stop(tid, 0)
        if seize is None:
            return  # it is gone, or somebody inside traces it
        try:
            spare(tid)
        except OSError:
            pass  # killed meanwhile
        seize.detach(tid)
        self._held = set()

    # -- signals that say who has sent them

    def _post(self, tid: int, outcome: Post) -> None:
        """Have each receiver queue itself its signal; answer the call."""
        from remainroot.engines.posting import post

        found = post(tid, outcome, self._post_own, self._have_queued)
        if found is CONTINUE:
            self._send(0, 0, _FLAG_CONTINUE)
        elif found is not None:
            self._send(0, -found.errno if isinstance(found, Fail) else 0, 0)

    def _post_own(self, letter: Letter) -> bool:
        """Have the caller itself queue the signal, as its call ends; whether it has been answered."""
        from remainroot.engines.posting import LostError, can_be_made_to, queue_own

        def act(seize: Seize, _: int) -> None:
            try:
                queue_own(letter, self._status_of_held, entered=False)
                seize.detach(letter.tid)
            except LostError:
                pass  # it was killed meanwhile

        return self.injects and can_be_made_to(letter.tid, self.filters) and self._hold(letter.tid, act)

    def _have_queued(self, letter: Letter) -> int | None:
        """Have another task queue itself the signal: 0, or a negative errno; None: it cannot be made to."""
        from remainroot.engines import ptracing as pt
        from remainroot.engines.posting import LostError, can_be_made_to, is_in_state, queue

        tid = letter.tid
        if not self.injects or not is_in_state(tid, b"RS") or not can_be_made_to(tid, self.filters):
            return None
        seize = self._stop(tid, pt.O_TRACESYSGOOD)
        if seize is None:
            return None
        try:
            try:
                return queue(letter, self._status_of_stopped, entering=False)
            finally:
                seize.detach(tid)
        except (LostError, OSError):
            return None  # killed meanwhile
        finally:
            self._held = set()
            self._serve_execs(0)

    def _stop(self, tid: int, options: int) -> Seize | None:
        """Stop a task wherever it is, and hold it, among `_held`; None if it cannot be had."""
        if tid in self._execs:
            return None
        self._held = {tid}
        try:
            seize = Seize(tid, options)
        except OSError:
            self._held = set()
            return None
        os.eventfd_write(self._seized, 1)
        seize.interrupt()
        end = monotonic() + _PATIENCE
        while (left := end - monotonic()) > 0:
            status = self._status_within(tid, left)
            if status is None:
                break
            if not os.WIFSTOPPED(status):
                self._held = set()
                return None
            if status >> 16 == seize.EVENT_STOP:
                if status >> 8 & 0xFF == _SIGTRAP:
                    return seize
                self._held = set()
                seize.detach(tid)  # into the stop of its process
                return None
            seize.interrupt()  # each stop ends what was asked for before
            seize.resume(tid, 0 if status >> 16 else os.WSTOPSIG(status))
        from remainroot.engines.seized import Unwanted

        # It does not wake up: when it does, it is let go.
        unwanted = Unwanted(tid, tid, seize)
        if self._is_ours(tid):
            self._execs[tid] = unwanted
        self._held = set()
        return None

    @staticmethod
    def _is_ours(tid: int) -> bool:
        """Whether we are the tracer of `tid`, still."""
        from remainroot.tracee import status_field  # the start of CMD need not wait for it

        try:
            return int(status_field(tid, b"TracerPid")) == os.getpid()
        except OSError:
            return False

    def _status_within(self, tid: int, seconds: float) -> int | None:
        """The next wait status of a task that is held; None if there is none for so long, or never will be."""
        end = monotonic() + seconds
        while True:
            stop = self._next_stop(max(0, min(_GLANCE, end - monotonic())))
            if stop is None:
                if monotonic() >= end or not self._is_ours(tid):
                    return None
            elif stop[0] == tid:
                return stop[1]
            else:
                self._meanwhile(*stop)

    def _status_of_stopped(self, tid: int) -> int:
        """The next wait status of a task that makes a call for us."""
        from remainroot.engines.inject import LostError

        while True:
            status = self._status_within(tid, _PATIENCE)
            if status is not None:
                return status
            if not self._is_ours(tid):
                # The first thread of a process, another of whose threads runs a new program, ends without a word.
                raise LostError(0)
