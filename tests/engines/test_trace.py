# SPDX-License-Identifier: GPL-2.0-or-later
"""The two ptrace engines against real processes, with made-up answers: getuid 1234, chown EPERM, mq_open a
descriptor.

The supervisor of each test is a process of its own, as it waits for whatever is its child.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from remainroot import abi as abis
from remainroot import kernel
from remainroot.dispatch import CONTINUE, Exec, Fail, InstallFd, Instead, Return, When, meets
from remainroot.engines import children, ptracing, trace
from remainroot.engines.filter import RET_TRACE, assemble
from remainroot.settings import Settings
from remainroot.tasks import PLAIN
from remainroot.waiters import Waiters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, NoReturn

    from remainroot.dispatch import Outcome
    from remainroot.tasks import State

PROBE = Path(__file__).with_name("probe.c")
WANTED = ("getuid", "getuid32", "chown", "fchownat", "lchown", "chown32", "mq_open", "execve", "execveat")
NAMES: dict[int, dict[int, str]] = {}
for _abi in abis.native():
    for _name in WANTED:
        if _name in _abi.numbers:
            NAMES.setdefault(_abi.audit_arch, {})[_abi.numbers[_name]] = _name
GETPPID = {ptracing.X86_64: 110, ptracing.I386: 64, ptracing.AARCH64: 173, ptracing.ARM: 64}
FAKED = 1234
KINDS = {"dynamic": [], "static": ["-static"], "i386": ["-m32"], "i386-static": ["-m32", "-static"]}


class Tracing(trace.TraceEngine):
    """The trace engine with the filter of this test."""

    def _prepare(self) -> Callable[[], object]:
        code = assemble({arch: dict.fromkeys(names, ()) for arch, names in NAMES.items()}, RET_TRACE)
        return lambda: kernel.load_filter(code)


class Stopping(trace.PtraceEngine):
    """The ptrace engine with the calls of this test."""

    def _prepare(self) -> Callable[[], object]:
        self.wanted = {arch: dict.fromkeys(names, ()) for arch, names in NAMES.items()}
        return super()._prepare()


ENGINES: dict[str, type[trace.TraceEngine | trace.PtraceEngine]] = {"trace": Tracing, "ptrace": Stopping}


class Recorder:
    """World and Watcher of a test: writes what it is told to a pipe, one JSON list a line."""

    def __init__(self, events: int) -> None:
        self.events = events
        self.waiters = Waiters()

    def note(self, *event: object) -> None:
        os.write(self.events, json.dumps(event).encode() + b"\n")

    def executed(self, tid: int, state: State, *, secure: bool, stack: tuple[int, int] | None) -> None:
        assert state == PLAIN
        self.not_executed(tid, stack)
        self.note("executed", tid, os.readlink(f"/proc/{tid}/exe").split("/")[-1], secure)

    def sender_uid(self, *args: int) -> int:
        return args[2]

    def not_executed(self, _: int, stack: tuple[int, int] | None) -> None:
        if stack is not None:
            self.note("has its stack", *stack)

    def stopped(self, signo: int) -> None:
        self.note("stopped", signo)

    def continued(self) -> None:
        self.note("continued")

    def ended(self, status: int) -> None:
        self.note("ended", status)


def answer(tid: int, arch: int, nr: int, args: tuple[int, ...]) -> Outcome:
    """The answers all tests share; a call that was not asked for is an error."""
    name = NAMES[arch][nr]
    if name.startswith("getuid"):
        return Return(FAKED)
    if name.startswith("exec"):
        return Exec(PLAIN, secure=True)
    if name == "mq_open":
        text = os.memfd_create("answer")
        os.write(text, b"hello")
        return InstallFd(text, cloexec=bool(args[1] & os.O_CLOEXEC))
    assert "chown" in name, (tid, name)
    if kernel.read_string(tid, args[0 if name != "fchownat" else 1]) == b"/nonexistent":
        return Fail(errno.EPERM)
    return CONTINUE


RUNNING: list[int] = []
"""Supervisors that have not been seen to end."""


class Run:
    """A supervisor at work in its own process."""

    def __init__(self, engine: str, command: list[str], answers: Callable[..., Outcome] = answer) -> None:
        events, events_end = os.pipe()
        output, output_end = os.pipe()
        self.pid = os.fork()
        if self.pid:
            RUNNING.append(self.pid)
        else:
            status = 99
            try:
                os.setpgid(0, 0)
                kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
                recorder = Recorder(events_end)
                supervisor = ENGINES[engine](Settings())
                supervisor.equip(recorder, answers, recorder)  # type: ignore[arg-type]

                def become() -> NoReturn:
                    os.dup2(output_end, 1)
                    os.dup2(output_end, 2)
                    os.execv(command[0], command)

                recorder.note("pid", supervisor.spawn(become))
                supervisor.run()
                recorder.note("descriptors", len(os.listdir("/proc/self/fd")) - 1)
                status = 0
            finally:
                os._exit(status)
        os.close(events_end)
        os.close(output_end)
        self._events = os.fdopen(events)
        self._output = os.fdopen(output)

    def event(self) -> list[Any]:
        """The next event."""
        event: list[Any] = json.loads(self._events.readline())
        return event

    def finish(self) -> tuple[list[list[Any]], str]:
        """All further events, and what CMD printed. The supervisor must end well."""
        text = self._output.read()
        events = [json.loads(line) for line in self._events]
        status = os.waitpid(self.pid, 0)[1]
        assert status == 0, f"supervisor: {status:#x}, {events}, {text}"
        self._output.close()
        self._events.close()
        RUNNING.remove(self.pid)
        return events, text


@pytest.fixture(scope="session")
def probes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The probe program, compiled in one of the KINDS when that is first asked for."""
    folder = tmp_path_factory.mktemp("probes")

    def probe(kind: str) -> str:
        target = folder / kind
        if not target.exists():
            flags = ["-O1", "-Wall", "-Wextra", "-Werror", "-pthread", *KINDS[kind]]
            subprocess.run(["cc", *flags, str(PROBE), "-o", str(target)], check=True)
        return str(target)

    return probe


@pytest.fixture(autouse=True)
def _limit() -> Iterator[None]:
    """A test that hangs fails."""

    def late(_signo: int, _frame: object) -> None:
        raise TimeoutError("the engine hangs")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(120)
    yield
    signal.alarm(0)
    while RUNNING:  # of a test that failed: its tasks die with it
        pid = RUNNING.pop()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


each_engine = pytest.mark.parametrize("engine", sorted(ENGINES))
each_kind = pytest.mark.parametrize("kind", sorted(KINDS))
each_width = pytest.mark.parametrize("kind", ["dynamic", "i386"])


def ended(events: list[list[Any]]) -> list[int]:
    """The wait statuses that were reported as CMD's end."""
    return [event[1] for event in events if event[0] == "ended"]


def executed(events: list[list[Any]]) -> list[str]:
    """The programs that were reported as executed."""
    return [event[2] for event in events if event[0] == "executed"]


@each_engine
@each_kind
def test_answers(engine: str, kind: str, probes: Callable[[str], str]) -> None:
    events, text = Run(engine, [probes(kind), "ids"]).finish()
    assert text == "uid 1234 chown -1 EPERM pid 1\n"
    assert ended(events) == [0]
    pid = events[0][1]
    assert [event for event in events if event[0] == "executed"] == [["executed", pid, kind, True]]


@each_engine
@each_kind
def test_a_thousand_short_lived_tasks(engine: str, kind: str, probes: Callable[[str], str]) -> None:
    events, text = Run(engine, [probes(kind), "storm", "1000"]).finish()
    assert text == "good 1000\n"
    assert ended(events) == [0]


@each_engine
@each_width
def test_threads(engine: str, kind: str, probes: Callable[[str], str]) -> None:
    events, text = Run(engine, [probes(kind), "threads"]).finish()
    assert text == "bad 0\n"
    assert ended(events) == [0]


@each_engine
@each_width
@pytest.mark.parametrize("what", ["ids", "threads", "signals"])
def test_another_call_instead(engine: str, kind: str, what: str, probes: Callable[[str], str]) -> None:
    expected = Run(engine, [probes(kind), what]).finish()[1]
    count = iter(range(100_000))

    def answers(tid: int, arch: int, nr: int, args: tuple[int, ...]) -> Outcome:
        if not NAMES[arch][nr].startswith("getuid"):
            return answer(tid, arch, nr, args)
        return Instead(GETPPID[arch], (next(count), 2, 3, 4, 5, 6), FAKED)

    assert Run(engine, [probes(kind), what], answers).finish()[1] == expected


@each_engine
def test_another_call_that_fails(engine: str, probes: Callable[[str], str]) -> None:
    def answers(tid: int, arch: int, nr: int, args: tuple[int, ...]) -> Outcome:
        return Instead(9999, (), 7) if "chown" in NAMES[arch][nr] else answer(tid, arch, nr, args)

    assert Run(engine, [probes("dynamic"), "ids"], answers).finish()[1] == "uid 1234 chown -1 ENOSYS pid 1\n"


@each_engine
@each_width
def test_exec_from_a_thread(engine: str, kind: str, probes: Callable[[str], str]) -> None:
    for _ in range(20):
        events, text = Run(engine, [probes(kind), "exec_thread"]).finish()
        assert text == "uid 1234 chown -1 EPERM pid 1\n"
        assert executed(events) == [kind, kind]
        assert ended(events) == [0]


@each_engine
@each_width
def test_an_exec_that_fails_is_not_reported(engine: str, kind: str, probes: Callable[[str], str]) -> None:
    events, text = Run(engine, [probes(kind), "exec_fails"]).finish()
    assert text == "ENOENT uid 1234\nuid 1234 chown -1 EPERM pid 1\n"
    assert executed(events) == [kind, kind]


@each_engine
def test_a_failed_exec_is_forgotten(engine: str, probes: Callable[[str], str]) -> None:
    """One that was answered with Exec and failed is not taken for a later one, answered with Continue."""
    pending = [Exec(PLAIN, secure=True), Exec(PLAIN, secure=False)]

    def answers(tid: int, arch: int, nr: int, args: tuple[int, ...]) -> Outcome:
        if NAMES[arch][nr] == "execve":
            return pending.pop(0) if pending else CONTINUE
        return answer(tid, arch, nr, args)

    events, _ = Run(engine, [probes("dynamic"), "exec_fails"], answers).finish()
    assert executed(events) == ["dynamic"]


@each_engine
@each_width
def test_what_was_lent_for_an_exec_is_given_back(engine: str, kind: str, probes: Callable[[str], str]) -> None:
    """Once for each: as it succeeds, or as soon as it has failed."""
    lent = iter(range(100))

    def answers(tid: int, arch: int, nr: int, args: tuple[int, ...]) -> Outcome:
        if NAMES[arch][nr] == "execve":
            return Exec(PLAIN, secure=True, stack=(next(lent), -1))
        return answer(tid, arch, nr, args)

    events, text = Run(engine, [probes(kind), "exec_fails"], answers).finish()
    assert text == "ENOENT uid 1234\nuid 1234 chown -1 EPERM pid 1\n"
    seen = [event[1] if event[0] == "has its stack" else event[0] for event in events]
    assert seen == ["pid", 0, "executed", 1, 2, "executed", "ended", "descriptors"]


@each_engine
@each_width
def test_signals_restarts_and_stops_inside(engine: str, kind: str, probes: Callable[[str], str]) -> None:
    events, text = Run(engine, [probes(kind), "signals"]).finish()
    assert text == "bad 0 read 1 x stopped 1 continued 1 status 0\n"
    assert [event[0] for event in events] == ["pid", "executed", "ended", "descriptors"]


@each_engine
def test_job_control(engine: str, probes: Callable[[str], str]) -> None:
    run = Run(engine, [probes("dynamic"), "stops"])
    pid = run.event()[1]
    assert run.event()[0] == "executed"
    assert run.event() == ["stopped", signal.SIGTSTP]
    assert Path(f"/proc/{pid}/stat").read_text().split()[2] in "tT"
    time.sleep(0.1)
    os.kill(pid, signal.SIGCONT)
    assert run.event() == ["continued"]
    events, text = run.finish()
    assert text == "went on, uid 1234\n"
    assert ended(events) == [3 << 8]


@each_engine
def test_killed_while_stopped(engine: str, probes: Callable[[str], str]) -> None:
    run = Run(engine, [probes("dynamic"), "stops"])
    pid = run.event()[1]
    assert [run.event()[0], run.event()[0]] == ["executed", "stopped"]
    os.kill(pid, signal.SIGKILL)
    events, text = run.finish()
    assert text == ""
    assert ended(events) == [signal.SIGKILL]


@each_engine
def test_daemons_are_served_after_the_end(engine: str, probes: Callable[[str], str]) -> None:
    run = Run(engine, [probes("dynamic"), "daemonizes"])
    assert [run.event()[0], run.event()[0]] == ["pid", "executed"]
    assert run.event() == ["ended", 7 << 8]
    assert os.waitpid(run.pid, os.WNOHANG) == (0, 0)
    _, text = run.finish()
    assert text == "daemon uid 1234\n"


@each_engine
def test_fatal_signal(engine: str) -> None:
    events, _ = Run(engine, ["/bin/sh", "-c", "kill -TERM $$"]).finish()
    assert ended(events) == [signal.SIGTERM]


@each_engine
@each_kind
def test_installed_descriptors(engine: str, kind: str, probes: Callable[[str], str]) -> None:
    events, text = Run(engine, [probes(kind), "descriptors"]).finish()
    assert text.splitlines() == [
        "fd 1 read 5 hello cloexec 0 1 low 1 mask 0",
        "new 3",
        "bad 0 ticked 1",
        "full -1 EMFILE uid 1234",
    ]
    # The supervisor's copies are closed: standard ones, the two pipes' two ends each.
    assert events[-1][0] == "descriptors"
    assert events[-1][1] <= 3 + 4 + inherited()


def inherited() -> int:
    """Descriptors of this process beyond the standard ones, which a forked supervisor has too."""
    return len(os.listdir("/proc/self/fd")) - 4


@each_engine
@each_width
def test_descriptor_with_untouched_stack_below(engine: str, kind: str, probes: Callable[[str], str]) -> None:
    _, text = Run(engine, [probes(kind), "fresh_stack"]).finish()
    assert text == "read 5 hello\n"


@each_engine
@each_width
def test_a_sandboxed_task_is_not_made_to_call(engine: str, kind: str, probes: Callable[[str], str]) -> None:
    """Its own filter kills it for a socketpair: the kernel answers the call instead."""
    events, text = Run(engine, [probes(kind), "sandboxed"]).finish()
    assert text == "-1 ENOENT uid 1234\n"
    assert ended(events) == [0]


@each_engine
def test_a_program_that_may_not_be_read(engine: str, probes: Callable[[str], str]) -> None:
    """Nobody unprivileged may look into a task whose program he may not read; its calls are served all the same."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        program = Path(folder, "secret")
        shutil.copy(probes("static"), program)
        program.chmod(0o111)
        setpriv = ["/usr/bin/setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"]
        events, text = Run(engine, [*setpriv, str(program), "ids"]).finish()
    assert text == "uid 1234 chown -1 EPERM pid 1\n"
    assert ended(events) == [0]


@each_engine
def test_a_task_that_wants_to_be_traced(engine: str, probes: Callable[[str], str]) -> None:
    _, text = Run(engine, [probes("dynamic"), "traces"]).finish()
    assert text == "traceme -1 EPERM uid 1234\n"


@each_engine
@each_width
def test_killed_at_any_moment(engine: str, kind: str, probes: Callable[[str], str]) -> None:
    """Four processes that make calls and are made to make some are killed in the middle, again and again."""
    for wait in range(25):
        run = Run(engine, [probes(kind), "busy"])
        pid = run.event()[1]
        assert run.event()[0] == "executed"
        children = busy_children(pid)
        time.sleep(wait * 0.0007)
        for victim in [*children, pid]:
            os.kill(victim, signal.SIGKILL)
        events, _ = run.finish()
        assert ended(events) == [signal.SIGKILL]


def busy_children(pid: int) -> list[int]:
    """The three children that `busy` starts, once they are there."""
    while True:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if len(children) == 3:
            return [int(child) for child in children]
        time.sleep(0.001)


@each_engine
def test_stopped_and_continued_at_any_moment(engine: str, probes: Callable[[str], str]) -> None:
    """Stops that come while a task is made to make calls are neither lost nor left."""
    run = Run(engine, [probes("dynamic"), "busy"])
    pid = run.event()[1]
    assert run.event()[0] == "executed"
    children = busy_children(pid)
    for step in range(60):
        time.sleep(0.001 + step * 0.0001)
        os.kill(pid, signal.SIGSTOP)
        assert run.event() == ["stopped", signal.SIGSTOP]
        os.kill(pid, signal.SIGCONT)
        assert run.event() == ["continued"]
    for victim in [*children, pid]:
        os.kill(victim, signal.SIGKILL)
    assert ended(run.finish()[0]) == [signal.SIGKILL]


@each_engine
def test_everything_dies_with_the_supervisor(engine: str, probes: Callable[[str], str]) -> None:
    run = Run(engine, [probes("dynamic"), "busy"])
    pid = run.event()[1]
    assert run.event()[0] == "executed"
    os.kill(run.pid, signal.SIGKILL)
    # Both end when the last task has closed its end.
    with run._output as output, run._events as events:
        assert (output.read(), events.read()) == ("", "")
    os.waitpid(run.pid, 0)
    RUNNING.remove(run.pid)
    deadline = time.monotonic() + 10
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(pid)


def alive(pid: int) -> bool:
    """Whether the process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] not in "ZX"
    except OSError:
        return False


@each_engine
def test_available(engine: str) -> None:
    assert ENGINES[engine].unavailable() is None


@each_engine
def test_unavailable_says_why(engine: str) -> None:
    """Where ptrace(2) is refused by a filter."""
    import pyseccomp

    wanted = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    wanted.add_rule(pyseccomp.ERRNO(errno.EPERM), "ptrace")
    reason, reason_end = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            wanted.load()
            os.write(reason_end, (ENGINES[engine].unavailable() or "available").encode())
        finally:
            os._exit(0)
    os.close(reason_end)
    with os.fdopen(reason) as file:
        assert file.read().startswith("ptrace is refused (Operation not permitted): ")
    os.waitpid(pid, 0)


def test_conditions() -> None:
    create = When(1, "eq", os.O_CREAT, os.O_CREAT)
    other = When(0, "ne", 5, 0xFFFFFFFF)
    assert meets((), (0, 0))
    assert meets((create,), (0, os.O_CREAT | os.O_RDWR))
    assert not meets((create,), (0, os.O_RDWR))
    assert meets((create, other), (4, 0))
    assert not meets((create, other), (5, 0))
    assert not meets((other,), (1 << 32 | 5, 0))


def test_layouts_are_python_ptraces() -> None:
    """The register indices against the names that python-ptrace has for this machine."""
    from ptrace.binding.func import REGISTER_NAMES

    layout = ptracing.LAYOUTS[ptracing.X86_64]
    assert [REGISTER_NAMES[index] for index in layout.args] == ["rdi", "rsi", "rdx", "r10", "r8", "r9"]
    assert REGISTER_NAMES[layout.ip] == "rip"
    assert REGISTER_NAMES[layout.sp] == "rsp"
    assert (REGISTER_NAMES[layout.number], REGISTER_NAMES[layout.entered or 0]) == ("rax", "orig_rax")
    layout = ptracing.LAYOUTS[ptracing.I386]
    assert [REGISTER_NAMES[index] for index in layout.args] == ["rbx", "rcx", "rdx", "rsi", "rdi", "rbp"]


def test_aarch64_result_registers() -> None:
    registers = ctypes.create_string_buffer(512)
    ptracing.set_result_arm(registers, 272, -1)
    assert registers.raw[:9] == b"\xff" * 8 + b"\0"
    registers = ctypes.create_string_buffer(512)
    ptracing.set_result_arm(registers, 72, -2)
    assert registers.raw[:5] == b"\xfe\xff\xff\xff\0"


def test_what_a_place_prepares_is_done_before_the_child_is_traced(tmp_path: Path) -> None:
    """Else its calls would be answered, not made: a box's bounding set would not be cut."""
    mark = tmp_path / "mark"

    def fork() -> int:
        pid = os.fork()
        if pid == 0:
            time.sleep(0.2)
            mark.touch()
        return pid

    pid, let_go = children.held_child(lambda: None, fork)
    assert mark.exists()
    let_go()
    assert os.waitpid(pid, 0)[0] == pid
