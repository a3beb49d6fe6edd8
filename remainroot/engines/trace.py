# SPDX-License-Identifier: GPL-2.0-or-later
"""The ptrace engines: `trace`, where a filter chooses the calls that stop, `ptrace`, where all stop twice.

The supervisor seizes CMD's process before it makes its first call and is given every later task by the
kernel, already traced. A call that is answered here is skipped: its number becomes -1 and its result
register the answer, both of which outlive the entry stop, so an answered call costs the trace engine one
stop and four requests.

Nothing is done about which CPU anybody runs on. Measured on two CPUs: 6.6 us a call with supervisor and task
on one CPU, 130 to 180 us with each on its own, and 7 to 8 us when left alone, as the kernel wakes a tracer on
the CPU of its task. Pinning the supervisor makes a shell script of short commands 10 % faster and three busy
processes 35 % slower; pinning tasks too would show in sched_getaffinity(2) and take the second CPU from them.

Nothing is remembered of a task between its stops, except an exec that was answered with `Exec` until its
outcome is seen. Each stop tells by itself what it is, so tasks may appear, and be killed, in any order.
"""

from __future__ import annotations

import os
from ctypes import c_long

from remainroot.dispatch import (
    Attend,
    Continue,
    Exec,
    Fail,
    InstallFd,
    Instead,
    Lend,
    Post,
    Replace,
    Return,
    build_table,
    meets,
)
from remainroot.engines import ptracing as pt
from remainroot.engines.children import held_child, reap
from remainroot.engines.errands import Errands
from remainroot.kernel import load_filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, NoReturn

    from remainroot.dispatch import Outcome, When
    from remainroot.settings import Settings

    Wanted = dict[int, dict[int, tuple[When, ...]]]

_OPTIONS: Final = (
    pt.O_EXITKILL | pt.O_TRACESYSGOOD | pt.O_TRACEFORK | pt.O_TRACEVFORK | pt.O_TRACECLONE | pt.O_TRACEEXEC
)  # fmt: skip
_SIGTRAP: Final = 5
_MOSTLY_IGNORED: Final = (17, 23, 28)
"""SIGCHLD, SIGURG, SIGWINCH: nobody is woken by them without a handler, but who is traced."""
_TRACE_EVERYTHING: Final = b"\x06\0\0\0\0\0\xf0\x7f"
"""A filter that answers SECCOMP_RET_TRACE to every call."""


def wanted_calls(*, strict: bool = False) -> Wanted:
    """The declared calls by audit architecture and number, with their conditions; `strict`: the guarded ones, too."""
    table = build_table(strict=strict)
    return {arch: {nr: row.when for nr, row in rows.items() if not row.waits} for arch, rows in table.items()}


def _seize(pid: int, options: int) -> None:
    pt.demand(pt.SEIZE, pid, 0, options)


class _Ptracing(Errands):
    """What both engines share: every stop but those of caught calls."""

    options = _OPTIONS

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.pid = 0
        self._stopped = False
        self._execs: dict[int, Exec] = {}
        self._loans: dict[int, Lend] = {}

    # -- starting

    def _prepare(self) -> Callable[[], object]:
        """What CMD's process must do before it becomes CMD."""
        raise NotImplementedError

    def spawn(self, become: Callable[[], NoReturn]) -> int:
        """Fork CMD's process, seize it, and have it run `become`. OSError: the kernel refuses to trace it."""
        prepare = self._prepare()

        def body() -> None:
            prepare()
            become()

        pid, let_go = held_child(body, self.fork)
        try:
            self._attach(pid)
        except OSError:
            reap(pid)
            raise
        self.pid = pid
        let_go()
        return pid

    def _attach(self, pid: int) -> None:
        _seize(pid, self.options)

    # -- stops

    def _other_stop(self, tid: int, status: int) -> None:
        """Serve a stop that is no call's, or an end."""
        if status & 0xFF != 0x7F:
            self._ended(tid, status)
            return
        event = status >> 16
        signo = status >> 8 & 0xFF
        if status == pt.SYSCALL_STOP:
            if tid in self._judges:
                self._show(tid)
                return
            # The end of a call that the engine that is asked by a filter waits for: a loan, or an exec that has failed.
            self._not_executed(tid)
            self._give_back(tid)
            pt.request(self.resume, tid, 0, 0)
            return
        if event == 0:
            # About to be delivered: it is.
            self._tell_sender(tid)
            if signo in _MOSTLY_IGNORED:
                self._spare(tid)
            pt.request(self._onwards(tid), tid, 0, c_long(signo))
            return
        if event == pt.EVENT_STOP:
            self._stop_event(tid, signo)
            return
        if event == pt.EVENT_EXEC:
            self._executed(tid)
        elif self._judges:
            self._made(tid)
        pt.request(self._onwards(tid), tid, 0, 0)

    def _tell_sender(self, tid: int) -> None:
        """Have the siginfo of the signal that is about to be delivered say who sent it (sigaction(2), si_uid)."""
        if pt.request(pt.GETSIGINFO, tid, 0, pt.SIGINFO) < 0:
            return  # killed meanwhile
        pid, shown = pt.sender()
        uid = self.world.sender_uid(tid, pid, shown) if pid else shown
        if uid != shown:
            pt.set_sender(uid)
            pt.request(pt.SETSIGINFO, tid, 0, pt.SIGINFO)

    def _show(self, tid: int) -> None:
        """Have a judge see a call that enters, under the engine that is asked by a filter; the end of one is let go."""
        if pt.request(pt.GET_SYSCALL_INFO, tid, pt.INFO_SIZE, pt.INFO) < 0:
            return
        op, arch, nr, *args = pt.call_info()
        if op == pt.OP_ENTRY:
            error = self._judges[tid].enters(tid, arch, nr, (*args,))
            if error:
                pt.skip(tid, -error)
        elif self._judges[tid].over:
            del self._judges[tid]
        pt.request(self._onwards(tid), tid, 0, 0)

    def _ended(self, tid: int, status: int) -> None:
        self._execs.pop(tid, None)
        self._loans.pop(tid, None)
        self._attended.pop(tid, None)
        self._judges.pop(tid, None)
        if tid == self.pid:
            self.pid = 0
            self.watcher.ended(status)

    def _stop_event(self, tid: int, signo: int) -> None:
        """A new task's first stop, a stop of the whole process, or its end."""
        if signo == _SIGTRAP:
            of_command = self._stopped and self._of_command(tid)
            if self._judges:
                self._born(tid)
            pt.request(self._onwards(tid), tid, 0, 0)
            if of_command:
                self._stopped = False
                self.watcher.continued()
            return
        pt.request(pt.LISTEN, tid, 0, 0)
        if not self._stopped and self._of_command(tid):
            self._stopped = True
            self.watcher.stopped(signo)

    def _of_command(self, tid: int) -> bool:
        """Whether `tid` is a thread of CMD's own process."""
        return tid == self.pid or (self.pid != 0 and os.path.exists(f"/proc/{self.pid}/task/{tid}"))

    def _executed(self, tid: int) -> None:
        """A task runs a new program, and goes by its process' number from now on."""
        if not self._execs:
            return
        former = pt.event_message(tid)
        own = self._execs.pop(tid, None)
        outcome = own if former == tid else self._execs.pop(former, None)
        if outcome is not None:
            try:
                self.world.executed(tid, outcome.state, secure=outcome.secure, stack=outcome.stack)
            except OSError:
                return  # killed meanwhile
            if outcome.endings:
                from remainroot.engines.endings import end_parent_death_signal

                self._unless_lost(tid, lambda: end_parent_death_signal(tid, self.filters, self._status_of))

    def _not_executed(self, tid: int) -> None:
        """An exec that was answered with `Exec` has failed."""
        outcome = self._execs.pop(tid, None)
        if outcome is not None:
            self.world.not_executed(tid, outcome.stack)

    def _give_back(self, tid: int) -> None:
        """A call that was answered with `Lend` is over."""
        if tid in self._attended:
            self._attended_over(tid)
        loan = self._loans.pop(tid, None)
        if loan is not None:
            self.world.give_back(tid, loan.kept)

    # -- outcomes

    def _deliver(self, tid: int, arch: int, outcome: Outcome) -> None:
        """Carry out an outcome that is neither Continue, Return nor Fail."""
        self._judges.pop(tid, None)
        if isinstance(outcome, InstallFd | Replace):
            if isinstance(outcome, InstallFd) and outcome.judge is not None:
                self._judges[tid] = outcome.judge
            try:
                self._have_made(tid, arch, outcome)
            finally:
                os.close(outcome.fd)
            return
        if isinstance(outcome, Instead):
            self._have_made(tid, arch, outcome)
            return
        if isinstance(outcome, Post):
            self._post(tid, outcome)
            return
        if isinstance(outcome, Attend):
            self._attend(tid, arch, outcome)
            return
        if isinstance(outcome, Lend):
            self._loans[tid] = outcome
            pt.request(pt.SYSCALL, tid, 0, 0)  # to be told when it is over
            return
        if isinstance(outcome, Exec):
            self._execs[tid] = outcome
            if outcome.stack is not None:
                pt.request(pt.SYSCALL, tid, 0, 0)  # to be told at once if it fails
                return
        pt.request(self.resume, tid, 0, 0)


class TraceEngine(_Ptracing):
    """ptrace narrowed by SECCOMP_RET_TRACE: only the calls that the filter chooses stop."""

    name = "trace"
    options = _OPTIONS | pt.O_TRACESECCOMP
    filters = 1

    @staticmethod
    def unavailable() -> str | None:
        """Why not; tried by having a child's call stopped by a filter."""
        pid, let_go = held_child(lambda: load_filter(_TRACE_EVERYTHING))
        try:
            try:
                _seize(pid, TraceEngine.options)
            except OSError as error:
                return pt.refused(error)
            let_go()
            status = os.waitpid(pid, pt.WALL)[1]
            if status & 0xFF != 0x7F:
                pid = 0
                reason = os.strerror(status >> 8 & 0xFF)
                return f"seccomp filters are refused ({reason}): the kernel or the container forbids them"
            return pt.call_info_missing(pid, pt.OP_SECCOMP)
        finally:
            if pid:
                reap(pid)

    def _prepare(self) -> Callable[[], object]:
        from remainroot.engines.filter import RET_TRACE, program
        from remainroot.engines.prepared import completed

        code = completed(program(RET_TRACE, strict=self.settings.strict), self.settings.root)
        return lambda: load_filter(code)

    def run(self) -> None:
        """Serve every task of the tree; return when the last one is gone."""
        waitpid, request, call_info, skip, answer = os.waitpid, pt.request, pt.call_info, pt.skip, self.answer
        everyone, seccomp_stop, seccomp = pt.WALL, pt.SECCOMP_STOP, pt.OP_SECCOMP
        get_info, size, info = pt.GET_SYSCALL_INFO, pt.INFO_SIZE, pt.INFO
        execs, backlog, judges = self._execs, self._backlog, self._judges
        while True:
            if backlog:
                tid, status = backlog.pop(0)
            else:
                try:
                    tid, status = waitpid(-1, everyone)
                except ChildProcessError:
                    return
            if status != seccomp_stop:
                self._other_stop(tid, status)
                continue
            if request(get_info, tid, size, info) < 0:
                continue
            op, arch, nr, *args = call_info()
            if op != seccomp:
                continue  # another thread's exec took this one's place: its own stop is to come
            if execs:
                self._not_executed(tid)  # it makes another call: that exec failed
            cont = pt.SYSCALL if judges and tid in judges else pt.CONT
            outcome = answer(tid, arch, nr, args)  # type: ignore[arg-type]  # a list reads like a tuple
            kind = outcome.__class__
            if kind is Continue:
                request(cont, tid, 0, 0)
            elif kind is Return:
                skip(tid, outcome.value)  # type: ignore[union-attr]
                request(cont, tid, 0, 0)
            elif kind is Fail:
                skip(tid, -outcome.errno)  # type: ignore[union-attr]
                request(cont, tid, 0, 0)
            else:
                self._deliver(tid, arch, outcome)


class PtraceEngine(_Ptracing):
    """ptrace alone: every call stops at its entry and at its exit; most are let go on at once."""

    name = "ptrace"
    resume = pt.SYSCALL

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.wanted: Wanted = {}
        """The calls to answer, filled by `spawn` from the declarations where it is empty."""
        self.reading: dict[tuple[int, int], int] = {}
        """By architecture and number: which readers' calls are seen, too; anybody's, once there are device nodes."""
        self._answered: dict[int, int] = {}
        """The results given at an entry stop, until the exit stop.

        A filter that was there before us (a container's) is asked after the entry stop, about the call number -1, and
        may write an error of its own over the result.
        """

    def _ended(self, tid: int, status: int) -> None:
        self._answered.pop(tid, None)
        super()._ended(tid, status)

    @staticmethod
    def unavailable() -> str | None:
        """Why not; tried by stopping a child at a call."""
        pid, let_go = held_child(lambda: None)
        try:
            try:
                _seize(pid, _OPTIONS)
                _await_stop(pid)
            except OSError as error:
                return pt.refused(error)
            let_go()
            os.waitpid(pid, pt.WALL)
            return pt.call_info_missing(pid, pt.OP_ENTRY)
        finally:
            reap(pid)

    def _prepare(self) -> Callable[[], object]:
        if not self.wanted:
            strict = self.settings.strict
            self.wanted = wanted_calls(strict=strict)
            table = build_table(strict=strict)
            self.reading = {
                (arch, nr): row.readers for arch, rows in table.items() for nr, row in rows.items() if row.readers
            }
        return lambda: None

    def _attach(self, pid: int) -> None:
        _seize(pid, self.options)
        _await_stop(pid)

    def run(self) -> None:  # noqa: C901, PLR0912, PLR0915 - the hot loop calls nothing that it can do itself
        """Serve every task of the tree; return when the last one is gone."""
        waitpid, request, skip, answer = os.waitpid, pt.request, pt.skip, self.answer
        everyone, syscall_stop, entry, leave = pt.WALL, pt.SYSCALL_STOP, pt.OP_ENTRY, pt.OP_EXIT
        get_info, size, info, resume = pt.GET_SYSCALL_INFO, pt.INFO_SIZE, pt.INFO, pt.SYSCALL
        info_bytes, call_number, call_args = pt.INFO_BYTES, pt.call_number, pt.call_args
        execs, loans, backlog, answered = self._execs, self._loans, self._backlog, self._answered
        attended = self._attended
        exit_value = pt.exit_value
        wanted, reading, world, judges = self.wanted, self.reading, self.world, self._judges
        nothing: dict[int, tuple[When, ...]] = {}
        while True:
            if backlog:
                tid, status = backlog.pop(0)
            else:
                try:
                    tid, status = waitpid(-1, everyone)
                except ChildProcessError:
                    return
            if status != syscall_stop:
                self._other_stop(tid, status)
                continue
            if request(get_info, tid, size, info) < 0:
                continue
            op = info_bytes[0]
            if op != entry:
                if op == leave:
                    if execs and pt.failed():
                        self._not_executed(tid)
                    if loans or attended:
                        self._give_back(tid)
                    value = answered.pop(tid, None)
                    if value is not None and exit_value() != value:
                        skip(tid, value)
                    request(resume, tid, 0, 0)
                continue  # neither: another thread's exec took this one's place, and its own stop is to come
            arch, nr = call_number()
            if judges and tid in judges and self._judge(tid, arch, nr):
                continue
            conditions = wanted.get(arch, nothing).get(nr)
            if conditions is None:
                request(resume, tid, 0, 0)
                continue
            args = call_args()
            seen = not conditions or meets(conditions, args)
            if not seen and not (
                (kinds := reading.get((arch, nr))) and (world.readable_nodes or pt.by_reader(kinds))
            ):
                request(resume, tid, 0, 0)
                continue
            outcome = answer(tid, arch, nr, args)
            kind = outcome.__class__
            if kind is Continue:
                request(resume, tid, 0, 0)
            elif kind is Return:
                value = answered[tid] = outcome.value  # type: ignore[union-attr]
                skip(tid, value)
                request(resume, tid, 0, 0)
            elif kind is Fail:
                value = answered[tid] = -outcome.errno  # type: ignore[union-attr]
                skip(tid, value)
                request(resume, tid, 0, 0)
            else:
                self._deliver(tid, arch, outcome)


    def _left(self, tid: int) -> None:
        """As `run` does."""
        if self._execs and pt.failed():
            self._not_executed(tid)
        self._give_back(tid)
        value = self._answered.pop(tid, None)
        if value is not None and pt.exit_value() != value:
            pt.skip(tid, value)
        pt.request(self.resume, tid, 0, 0)

    def _finish(self, tid: int, value: int) -> None:
        self._answered[tid] = value
        super()._finish(tid, value)

    def _judge(self, tid: int, arch: int, nr: int) -> bool:
        """Whether a judge refuses the call that enters."""
        judge = self._judges[tid]
        error = judge.enters(tid, arch, nr, pt.call_args())
        if judge.over:
            del self._judges[tid]
        if error:
            value = self._answered[tid] = -error
            pt.skip(tid, value)
            pt.request(self.resume, tid, 0, 0)
        return bool(error)


# ---------------------------------------------------------------- trying


def _await_stop(pid: int) -> None:
    """Stop a seized child and have it go on to its next call, stopping there."""
    pt.demand(pt.INTERRUPT, pid)
    os.waitpid(pid, pt.WALL)
    pt.demand(pt.SYSCALL, pid)
