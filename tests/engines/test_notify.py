# SPDX-License-Identifier: GPL-2.0-or-later
"""The notify engine against real processes, with made-up answers.

The supervisor of each test is a process of its own, as it waits for whatever is its child.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
import time
import traceback
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from remainroot import abi as abis
from remainroot import kernel
from remainroot.dispatch import CONTINUE, Exec, Fail, InstallFd, Instead, Replace, Return
from remainroot.engines import notify, prepared
from remainroot.engines.filter import RET_ALLOW, RET_ERRNO, RET_USER_NOTIF, assemble
from remainroot.settings import Settings
from remainroot.tasks import PLAIN
from remainroot.waiters import Waiters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import NoReturn

    from remainroot.dispatch import Outcome, When
    from remainroot.tasks import State

    Answers = dict[str, Callable[..., Outcome]]

ABI = abis.native()[0]
NUMBERS = ABI.numbers
UMASK = {"x86_64": 95}.get(kernel.MACHINE, 166)
GUEST = f"""
import ctypes, json, os, resource, signal, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
NUMBERS = {NUMBERS!r}
def call(name, *args):
    '''The result of a raw syscall, a negative errno where it fails.'''
    result = libc.syscall(ctypes.c_long(NUMBERS[name]), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    return result if result != -1 else -ctypes.get_errno()
def say(*values):
    os.write(1, json.dumps(values).encode() + b"\\n")
"""


class Recorder:
    """World and Watcher of a test: writes what it is told to a pipe, one JSON list a line."""

    def __init__(self, events: int) -> None:
        self.events = events
        self.settings = Settings()
        self.settings.trace_calls = True  # every call is to be seen
        self.tasks = SimpleNamespace(set_process=lambda *_: None)
        self.filters = 0
        self.vanished: Callable[[], bool] = lambda: False
        self.waiters = Waiters()

    def note(self, *event: object) -> None:
        os.write(self.events, json.dumps(event).encode() + b"\n")

    def executed(self, tid: int, state: State, *, secure: bool, stack: tuple[int, int] | None) -> None:
        assert state == PLAIN
        self.not_executed(tid, stack)
        self.note("executed", os.readlink(f"/proc/{tid}/exe").rpartition("/")[2], secure)

    def not_executed(self, _: int, stack: tuple[int, int] | None) -> None:
        if stack is not None:
            self.note("has its stack", *stack)

    def stopped(self, signo: int) -> None:
        self.note("stopped", signo)

    def continued(self) -> None:
        self.note("continued")

    def ended(self, status: int) -> None:
        self.note("ended", status)


RUNNING: list[int] = []


class Run:
    """A supervisor at work in its own process; CMD is a Python program that can `call` and `say`.

    `answers`, by name of a call, are given the recorder, the task and the arguments.
    """

    def __init__(self, answers: Answers, *program: str, command: list[str] | None = None) -> None:
        command = command or [sys.executable, "-I", "-S", "-c", GUEST + "\n".join(program)]
        names = {NUMBERS[name]: name for name in answers}
        events, events_end = os.pipe()
        output, output_end = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 99
            try:
                os.setpgid(0, 0)
                kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
                recorder = Recorder(events_end)
                rules: dict[int, tuple[When, ...]] = dict.fromkeys(names, ())
                # This test's filter in the place of the one for all that is declared.
                code = assemble({ABI.audit_arch: rules}, RET_USER_NOTIF)
                wanted = prepared.Prepared(code, prepared.get(strict=False).rules, b"")
                vars(prepared)["get"] = lambda **_: wanted

                def answer(tid: int, arch: int, nr: int, args: tuple[int, ...]) -> Outcome:
                    assert arch == ABI.audit_arch
                    return answers[names[nr]](recorder, tid, *args)

                engine = notify.NotifyEngine(Settings())

                def become() -> NoReturn:
                    os.dup2(output_end, 1)
                    os.execv(command[0], command)

                pid = engine.spawn(become)
                engine.equip(recorder, answer, recorder)  # type: ignore[arg-type]
                engine.catch()
                recorder.note("pid", pid)
                before = len(os.listdir("/proc/self/fd"))
                engine.run()
                recorder.note("left", len(os.listdir("/proc/self/fd")) - before)
                status = 0
            finally:
                if status:
                    traceback.print_exc()
                os._exit(status)
        RUNNING.append(self.pid)
        os.close(events_end)
        os.close(output_end)
        self._events = os.fdopen(events)
        self._output = os.fdopen(output)
        word, self.cmd = self.event()
        assert word == "pid"

    def event(self) -> list[Any]:
        event: list[Any] = json.loads(self._events.readline())
        return event

    def said(self) -> list[Any]:
        """The next that CMD said."""
        line: list[Any] = json.loads(self._output.readline())
        return line

    def finish(self) -> tuple[list[list[Any]], list[Any]]:
        """All further events but the last, and what CMD said. The supervisor ends well and leaves nothing open."""
        said = [json.loads(line) for line in self._output]
        events = [json.loads(line) for line in self._events]
        status = os.waitpid(self.pid, 0)[1]
        RUNNING.remove(self.pid)
        self._events.close()
        self._output.close()
        assert status == 0, f"supervisor: {status:#x}, {events}, {said}"
        assert events[-1] == ["left", 0]
        return events[:-1], said


@pytest.fixture(autouse=True)
def _limit() -> Iterator[None]:
    """A test that hangs fails, and its processes end."""

    def too_long(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(30)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        while RUNNING:
            pid = RUNNING.pop()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def passed_on(*_: object) -> Outcome:
    return CONTINUE


# ---------------------------------------------------------------- outcomes


@pytest.mark.parametrize("value", [0, 1, 1234, 0x7FFF_FFFF, 0x1_2345_6789, -5000])
def test_return(value: int) -> None:
    events, said = Run({"getuid": lambda *_: Return(value)}, "say(call('getuid'), os.getppid() > 0)").finish()
    assert said == [[value, True]]
    assert events == [["ended", 0]]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.EINTR, 4095])
def test_fail(number: int) -> None:
    _, said = Run({"setsid": lambda *_: Fail(number)}, "say(call('setsid'))").finish()
    assert said == [[-number]]


def test_continue(tmp_path: Path) -> None:
    """The kernel runs the call as the task made it, and its result is the task's."""
    program = f"path = {str(tmp_path / 'new')!r}.encode()", "say(*[call('mkdirat', -100, path, 0o700) for _ in '12'])"
    _, said = Run({"mkdirat": passed_on}, *program).finish()
    assert said == [[0, -errno.EEXIST]]
    assert (tmp_path / "new").is_dir()


def test_arguments_are_handed_over() -> None:
    def answer(recorder: Recorder, tid: int, *args: int) -> Outcome:
        recorder.note(tid, *args)
        return Return()

    run = Run({"setresuid": answer}, "call('setresuid', 1, -1, 1 << 40, 4, 5, 6)")
    events, _ = run.finish()
    assert events[0] == [run.cmd, 1, (1 << 64) - 1, 1 << 40, 4, 5, 6]


def content(text: bytes) -> int:
    fd = os.memfd_create("answer")
    os.write(fd, text)
    return fd


def test_installed_descriptor() -> None:
    answers: Answers = {"mq_open": lambda *args: InstallFd(content(b"hello"), cloexec=bool(args[3]))}
    _, said = Run(
        answers,
        "os.close(os.open('/dev/null', os.O_RDONLY)); free = os.open('/dev/null', os.O_RDONLY); os.close(free)",
        "one, two = call('mq_open', 0, 0), call('mq_open', 0, 1)",
        "say(one == free, two == free + 1, os.pread(one, 9, 0).decode())",
        "say(os.get_inheritable(one), os.get_inheritable(two))",
        "resource.setrlimit(resource.RLIMIT_NOFILE, (two + 1, two + 1)); say(call('mq_open', 0, 0))",
    ).finish()
    assert said == [[True, True, "hello"], [True, False], [-errno.EMFILE]]


def test_replaced_descriptor() -> None:
    def answer(_: Recorder, __: int, fd: int, *___: int) -> Outcome:
        return Replace(fd, content(b"other"), cloexec=True, value=7)

    _, said = Run(
        {"fchmod": answer},
        "fd = os.open('/dev/null', os.O_RDONLY)",
        "say(call('fchmod', fd, 0), os.pread(fd, 9, 0).decode(), os.get_inheritable(fd))",
    ).finish()
    assert said == [[7, "other", False]]


def test_another_call_instead() -> None:
    """The task itself makes it, and nothing but its result shows that; a signal meanwhile waits for its turn."""

    def answer(_: Recorder, tid: int, mask: int, *args: int) -> Outcome:
        if args[0]:
            os.kill(tid, signal.SIGUSR1)
        return Instead(UMASK, (mask, 0, 0, 0, 0, 0), 7)

    _, said = Run(
        {"mlock": answer, "setsid": lambda *_: Instead(UMASK, (0,), 8), "getgid": lambda *_: Instead(9999, (), 9)},
        "import threading; caught = []; signal.signal(signal.SIGUSR1, lambda *_: caught.append(1))",
        "say(call('mlock', 0o27, 0), os.umask(0o31), call('mlock', 0o5, 1), caught, os.umask(0), os.umask(0))",
        "results = []; old = os.umask(0o77)",
        "threads = [threading.Thread(target=lambda: results.append(call('setsid'))) for _ in range(4)]",
        "for thread in threads: thread.start()",
        "for thread in threads: thread.join()",
        "say(results, os.umask(0), call('getgid'))",
    ).finish()
    assert said == [[7, 0o27, 7, [1], 0o5, 0], [[8] * 4, 0, -errno.ENOSYS]]


SANDBOXED = (
    "import ctypes, struct; code = struct.pack('=HBBI', 6, 0, 0, 0x7fff0000); libc = ctypes.CDLL(None)",
    "text = ctypes.create_string_buffer(code); program = struct.pack('@HP', 1, ctypes.addressof(text))",
    "libc.prctl(38, 1, 0, 0, 0); say(libc.syscall(317, 1, 0, program))",
)
"""A filter of the task's own, which allows all."""


def test_no_other_call_in_a_sandbox() -> None:
    _, said = Run(
        {"setsid": lambda *_: Instead(UMASK, (0o77,), 7)},
        *SANDBOXED,
        "os.umask(0o22); say(call('setsid'), os.umask(0))",
    ).finish()
    assert said == [[0], [7, 0o22]]


# ---------------------------------------------------------------- exec


def told(what: str, outcome: Outcome) -> Callable[..., Outcome]:
    """An answer that the recorder notes."""

    def answer(recorder: Recorder, *_: int) -> Outcome:
        recorder.note(what)
        return outcome

    return answer


def executing(_: Recorder, __: int, *___: int) -> Outcome:
    return Exec(PLAIN, secure=True)


def test_exec_is_reported_once_it_has_succeeded() -> None:
    events, said = Run({"execve": executing}, "os.execv('/bin/echo', ['echo', '[1]'])").finish()
    names = [event[1] for event in events if event[0] == "executed"]
    assert [name for name in names if not name.startswith("python")] == ["echo"]
    assert all(event[2] is True for event in events if event[0] == "executed")
    assert said == [[1]]


def test_exec_that_fails_is_not_reported() -> None:
    events, said = Run(
        {"execve": executing},
        "try:\n    os.execv('/nowhere', ['x'])\nexcept OSError as error:\n    say(error.errno)",
        "say(os.path.exists('/'))",
    ).finish()
    assert said == [[errno.ENOENT], [True]]
    assert [event[1] for event in events if event[0] == "executed" and not event[1].startswith("python")] == []


def test_what_was_lent_for_an_exec_is_given_back() -> None:
    """Once for each: as it succeeds, or before the task goes on after it has failed."""
    lent = iter(range(100))
    events, said = Run(
        {"execve": lambda *_: Exec(PLAIN, secure=True, stack=(next(lent), -1)), "getuid": told("asked", Return(7))},
        "try:\n    os.execv('/nowhere', ['x'])\nexcept OSError as error:\n    call('getuid'); say(error.errno)",
        "os.execv('/bin/echo', ['echo', '[1]'])",
    ).finish()
    assert said == [[errno.ENOENT], [1]]
    seen = [event[1] if event[0] == "has its stack" else event[0] for event in events]
    assert seen == [0, "executed", 1, "asked", 2, "executed", "ended"]


def test_exec_by_a_thread() -> None:
    events, said = Run(
        {"execve": executing},
        "thread = threading.Thread(target=lambda: os.execv('/bin/echo', ['echo', '[2]']))",
        "thread.start(); thread.join(10)",
    ).finish()
    assert said == [[2]]
    assert ["executed", "echo", True] in events
    assert events[-1] == ["ended", 0]


def test_exec_while_another_thread_calls() -> None:
    """Notifications go on while an exec is awaited."""
    answers: Answers = {"execve": executing, "getuid": lambda *_: Return(7)}
    _, said = Run(
        answers,
        "threading.Thread(target=lambda: [call('getuid') for _ in range(10**9)], daemon=True).start()",
        "[call('getuid') for _ in range(100)]; os.execv('/bin/echo', ['echo', '[3]'])",
    ).finish()
    assert said == [[3]]


def test_many_execs_of_children() -> None:
    events, said = Run(
        {"execve": executing},
        "for _ in range(60): os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)",
        "say(1)",
    ).finish()
    assert said == [[1]]
    assert events.count(["executed", "true", True]) == 60


# ---------------------------------------------------------------- tasks that die


def test_killed_while_its_call_is_answered() -> None:
    """The answer is for nobody, and the supervisor knows that."""

    def answer(recorder: Recorder, tid: int, *_: int) -> Outcome:
        before = recorder.vanished()
        os.kill(tid, signal.SIGKILL)
        while not recorder.vanished():
            time.sleep(0.001)
        recorder.note("gone", before)
        return Return(1)

    events, _ = Run({"setsid": answer}, "call('setsid')").finish()
    assert sorted(events) == [["ended", signal.SIGKILL], ["gone", False]]


@pytest.mark.parametrize("kind", ["continue", "fail", "install", "replace", "instead", "exec"])
def test_killed_before_any_outcome_is_delivered(kind: str) -> None:
    """Nothing is left open, nobody is left waiting, other tasks are served."""

    def answer(recorder: Recorder, tid: int, *_: int) -> Outcome:
        os.kill(tid, signal.SIGKILL)
        while not recorder.vanished():
            time.sleep(0.001)
        if kind == "install":
            return InstallFd(content(b""), cloexec=True)
        if kind == "replace":
            return Replace(0, content(b""), cloexec=True)
        if kind == "instead":
            return Instead(UMASK, (0,), 7)
        if kind == "exec":
            return Exec(PLAIN, secure=False)
        return CONTINUE if kind == "continue" else Fail(errno.EPERM)

    events, said = Run(
        {"setsid": answer, "getuid": lambda *_: Return(7)},
        "for _ in range(5):\n    pid = os.fork()\n    if not pid: call('setsid')\n    say(os.waitpid(pid, 0)[1])",
        "say(call('getuid'))",
    ).finish()
    assert said == [[signal.SIGKILL]] * 5 + [[7]]
    assert events == [["ended", 0]]


def test_killed_before_its_call_is_taken() -> None:
    """Of two that call at once, the one whose call is taken has the other killed."""

    def answer(_: Recorder, tid: int, other: int, *__: int) -> Outcome:
        if other:
            time.sleep(0.05)  # by now the other waits too
            os.kill(other, signal.SIGKILL)
            time.sleep(0.05)
        del tid
        return Return(3)

    _, said = Run(
        {"setpgid": answer},
        "pid = os.fork()",
        "if not pid:\n    import time; time.sleep(0.02); call('setpgid', 0); os._exit(0)",
        "say(call('setpgid', pid), os.waitpid(pid, 0)[1])",
    ).finish()
    assert said == [[3, signal.SIGKILL]]


def test_interrupted_by_signals_while_it_waits() -> None:
    """A signal with a handler neither loses the answer nor asks twice."""

    def answer(recorder: Recorder, tid: int, *__: int) -> Outcome:
        recorder.note("asked")
        for _ in range(5):
            os.kill(tid, signal.SIGUSR1)
            time.sleep(0.01)
        return Return(5)

    events, said = Run(
        {"setsid": answer},
        "hits = []; signal.signal(signal.SIGUSR1, lambda *_: hits.append(1))",
        "say(call('setsid')); say(len(hits) > 0)",
    ).finish()
    assert said == [[5], [True]]
    assert events == [["asked"], ["ended", 0]]


# ---------------------------------------------------------------- the tree


@pytest.mark.parametrize(
    ("last", "status"),
    [("os._exit(0)", 0), ("os._exit(42)", 42 << 8), ("os.kill(os.getpid(), 15)", 15), ("os.kill(os.getpid(), 9)", 9)],
)
def test_end_of_the_command(last: str, status: int) -> None:
    events, _ = Run({"getuid": passed_on}, last).finish()
    assert events == [["ended", status]]


def test_stops_of_the_command_are_told() -> None:
    program = "signal.pthread_sigmask(signal.SIG_BLOCK, [10]); say(1); os.kill(os.getpid(), 19); signal.sigwait([10])"
    run = Run({"getuid": passed_on}, program, "say(2)")
    assert run.said() == [1]
    assert run.event() == ["stopped", signal.SIGSTOP]
    os.kill(run.cmd, signal.SIGCONT)
    assert run.event() == ["continued"]
    os.kill(run.cmd, signal.SIGUSR1)
    events, said = run.finish()
    assert events == [["ended", 0]]
    assert said == [[2]]


def test_what_the_command_leaves_behind_is_served() -> None:
    """A daemon by double fork, after the end of its ancestors."""
    run = Run(
        {"getuid": lambda *_: Return(7)},
        "hear, tell = os.pipe()",
        "if os.fork(): os._exit(3)",
        "os.setsid()",
        "if os.fork(): os._exit(0)",
        "os.close(tell); signal.sigtimedwait([], 0.1); say(call('getuid'))",
    )
    assert run.event() == ["ended", 3 << 8]
    assert run.finish() == ([], [[7]])


def test_two_hundred_processes() -> None:
    _, said = Run(
        {"getuid": lambda *_: Return(7)},
        "good = 0",
        "for _ in range(200):",
        "    pid = os.fork()",
        "    if not pid: os._exit(call('getuid'))",
        "    good += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7",
        "say(good)",
    ).finish()
    assert said == [[200]]


def test_program_that_is_not_there() -> None:
    run = Run({"getuid": passed_on}, command=["/nowhere"])
    assert run.finish()[0] == [["ended", 125 << 8]]


# ---------------------------------------------------------------- where it does not work

_SECCOMP = {"x86_64": 317, "aarch64": 277}[os.uname().machine] if os.uname().machine in ("x86_64", "aarch64") else -1


def told_under(prepare: Callable[[], object], ask: Callable[[], str | None]) -> str | None:
    """What `ask` says in a process that has first done `prepare`."""
    hear, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            prepare()
            os.write(tell, json.dumps(ask()).encode())
        except BaseException as error:  # noqa: BLE001  # it is told
            os.write(tell, json.dumps(f"raised {error!r}").encode())
        finally:
            os._exit(0)
    os.close(tell)
    with os.fdopen(hear) as file:
        answer: str | None = json.loads(file.read())
    os.waitpid(pid, 0)
    return answer


def forbid(number: int, error: int) -> Callable[[], object]:
    """A seccomp profile, as a container has it, that fails this call."""
    return lambda: kernel.load_filter(assemble({ABI.audit_arch: {number: ()}}, RET_ERRNO | error))


def spawn_refused() -> str | None:
    recorder = Recorder(2)
    engine = notify.NotifyEngine(Settings())
    try:
        pid = engine.spawn(lambda: os._exit(0))
        engine.equip(recorder, lambda *_: CONTINUE, recorder)  # type: ignore[arg-type]
        engine.catch()
    except OSError as error:
        return error.strerror
    os.waitpid(pid, 0)
    return None


ASKED = [notify.NotifyEngine.unavailable, spawn_refused]


@pytest.mark.parametrize("ask", ASKED)
def test_it_works_here(ask: Callable[[], str | None]) -> None:
    assert told_under(lambda: None, ask) is None
    assert told_under(lambda: kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1), ask) is None
    assert told_under(lambda: kernel.load_filter(assemble({}, RET_ALLOW)), ask) is None


@pytest.mark.parametrize("ask", ASKED)
@pytest.mark.parametrize(
    ("number", "error", "reason"),
    [
        (_SECCOMP, errno.ENOSYS, "seccomp refuses a listener (Function not implemented): the surrounding seccomp"),
        (_SECCOMP, errno.EINVAL, "seccomp refuses a listener (Invalid argument): the kernel is older"),
        (_SECCOMP, errno.EPERM, "seccomp refuses a listener (Operation not permitted)"),
        (438, errno.EPERM, "pidfd_getfd is refused (Operation not permitted): yama or the seccomp profile"),
        (NUMBERS["process_vm_readv"], errno.EPERM, "a task's memory cannot be read (Operation not permitted): yama"),
    ],
)
def test_profile_that_forbids_it(ask: Callable[[], str | None], number: int, error: int, reason: str) -> None:
    told = told_under(forbid(number, error), ask)
    assert told is not None
    assert told.startswith(reason)


@pytest.mark.parametrize("ask", ASKED)
def test_somebody_else_listens(ask: Callable[[], str | None]) -> None:
    def listen() -> None:
        kernel.load_filter(assemble({}, RET_ALLOW), kernel.SECCOMP_FILTER_FLAG_NEW_LISTENER)

    told = told_under(listen, ask)
    assert told is not None
    assert "another seccomp supervisor already listens" in told
