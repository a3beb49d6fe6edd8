# SPDX-License-Identifier: GPL-2.0-or-later
"""--trace-calls, --stats and the log say what was answered, and change nothing of it."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
from typing import TYPE_CHECKING

import pytest

from remainroot import abi as abis
from remainroot.dispatch import CONTINUE, SYSCALLS, Exec, Fail, InstallFd, Return
from remainroot.observe import Observer, arguments_of
from remainroot.settings import Settings
from remainroot.supervisor import Supervisor
from remainroot.tasks import PLAIN
from tests.launching import remainroot

if TYPE_CHECKING:
    from pathlib import Path

    from remainroot.dispatch import Outcome

X86_64 = abis.X86_64
TASK = os.getpid()
"""Its memory is read for paths; ours will do."""


class Answering(Supervisor):
    """A supervisor that answers as the test says."""

    outcome: Outcome = CONTINUE

    def answer(self, tid: int, arch: int, nr: int, args: tuple[int, ...]) -> Outcome:
        del tid, arch, nr, args
        return self.outcome


class Log:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

    def debug(self, event: str, **values: object) -> None:
        self.events.append((event, values))


def observer(*, trace: bool = False, stats: bool = False, log: Log | None = None) -> tuple[Observer, Answering]:
    settings = Settings()
    settings.trace_calls, settings.stats, settings.log = trace, stats, log
    supervisor = Answering(settings)
    supervisor.load()
    return Observer(supervisor), supervisor


def line_of(
    capfd: pytest.CaptureFixture[str], name: str, *args: int, outcome: Outcome = CONTINUE, abi: abis.Abi = X86_64
) -> str:
    """What --trace-calls prints of this call, without the task."""
    watching, supervisor = observer(trace=True)
    supervisor.outcome = outcome
    assert watching.answer(TASK, abi.audit_arch, abi.numbers[name], (*args, 0, 0, 0, 0, 0, 0)[:6]) is outcome
    text = capfd.readouterr().err
    assert text.startswith(f"[{TASK}] ")
    assert text.endswith("\n")
    return text.removeprefix(f"[{TASK}] ").removesuffix("\n")


# ---------------------------------------------------------------- --trace-calls


@pytest.mark.parametrize(
    ("outcome", "result"),
    [
        (CONTINUE, "= ? (passed on)"),
        (Return(0), "= 0 (faked)"),
        (Return(42), "= 42 (faked)"),
        (Fail(errno.EPERM), "= -1 EPERM (Operation not permitted) (faked)"),
        (Fail(9999), "= -1 9999 (Unknown error 9999) (faked)"),
        (InstallFd(0, cloexec=False), "= fd (made here)"),
        (Exec(PLAIN, secure=False), "= ? (passed on, ids follow)"),
        (Exec(None, secure=False, stack=(1, 2)), "= ? (passed on, its opens are seen)"),
    ],
)
def test_results(capfd: pytest.CaptureFixture[str], outcome: Outcome, result: str) -> None:
    assert line_of(capfd, "getuid", outcome=outcome) == f"getuid() {result}"


def test_ids_that_are_kept(capfd: pytest.CaptureFixture[str]) -> None:
    line = line_of(capfd, "setresuid", 0xFFFF_FFFF, 42, 0xFFFF_FFFF_FFFF_FFFF, outcome=Return(0))
    assert line == "setresuid(-1, 42, -1) = 0 (faked)"


def test_short_ids(capfd: pytest.CaptureFixture[str]) -> None:
    assert line_of(capfd, "setreuid", 0xFFFF, 0x1_002A, abi=abis.I386).startswith("setreuid(-1, 42) ")
    assert line_of(capfd, "setreuid32", 0xFFFF, 0xFFFF_FFFF, abi=abis.I386).startswith("setreuid32(65535, -1) ")


def test_paths_and_modes(capfd: pytest.CaptureFixture[str]) -> None:
    buffer = ctypes.create_string_buffer(b'/tmp/a "b" \xff')
    address = ctypes.addressof(buffer)
    assert line_of(capfd, "chmod", address, 0o4755).startswith('chmod("/tmp/a \\"b\\" \\xff", 0o4755) ')
    line = line_of(capfd, "fchownat", 0xFFFF_FF9C, address, 0, 42, 0x100)
    assert line.startswith("fchownat(AT_FDCWD, ")
    assert line.endswith(", 0, 42, 256) = ? (passed on)")
    assert line_of(capfd, "chmod", 8, 0).startswith("chmod(0x8, 0")


@pytest.mark.parametrize(
    "name", ["openat2", "fchmodat2", "clone3", "pidfd_send_signal", "landlock_restrict_self", "setuid", "setuid32"]
)
def test_arguments_are_known(name: str) -> None:
    assert not any(re.fullmatch(r"arg\d", argument) for _, argument in arguments_of(name))


def test_unknown_arguments_are_shown_as_numbers() -> None:
    assert len(arguments_of("no_such_call")) == 6


# ---------------------------------------------------------------- --stats


def test_table_counts_answers_and_what_was_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    watching, supervisor = observer(stats=True)
    made: list[tuple[str, Outcome]] = [
        ("getuid", Return(0)), ("getuid", Return(0)), ("stat", CONTINUE), ("stat", Return(0)),
        ("execve", Exec(PLAIN, secure=False)), ("setuid", Fail(errno.EPERM)),
    ]  # fmt: skip
    for name, outcome in made:
        supervisor.outcome = outcome
        watching.answer(TASK, X86_64.audit_arch, X86_64.numbers[name], (0,) * 6)
    assert capfd.readouterr().err == ""
    watching.finish()
    rows = [line.split() for line in capfd.readouterr().err.splitlines()]
    counts = {row[0]: [int(word) for word in row[1:4]] for row in rows[1:]}
    assert counts == {
        "getuid": [2, 2, 0], "stat": [2, 1, 1], "execve": [1, 0, 1], "setuid": [1, 1, 0], "total": [6, 4, 2],
    }  # fmt: skip
    assert rows[-1][0] == "total"
    assert all(float(word) >= 0 for row in rows[1:] for word in row[4:])


def test_no_table_unless_asked(capfd: pytest.CaptureFixture[str]) -> None:
    watching, _ = observer(trace=True)
    watching.finish()
    assert capfd.readouterr().err == ""


# ---------------------------------------------------------------- the log


def test_each_call_is_an_event() -> None:
    log = Log()
    watching, supervisor = observer(log=log)
    supervisor.outcome = Fail(errno.EPERM)
    watching.answer(7, X86_64.audit_arch, X86_64.numbers["setuid"], (0,) * 6)
    ((event, values),) = log.events
    assert event == "call"
    assert values["tid"] == 7
    assert values["syscall"] == "setuid"
    assert "EPERM" in str(values["outcome"])


def test_call_that_is_in_no_table_is_passed_through() -> None:
    watching, supervisor = observer(trace=True, stats=True)
    supervisor.outcome = Return(3)
    assert watching.answer(7, 1, 1, (0,) * 6) is supervisor.outcome


def test_nobody_observes_unless_asked() -> None:
    plain = Supervisor(Settings())
    assert plain.answerer() == plain.answer
    settings = Settings()
    settings.stats = True
    watched = Supervisor(settings)
    assert watched.answerer() == watched.observer.answer


# ---------------------------------------------------------------- the whole


def test_whole_run(tmp_path: Path) -> None:
    file, log = tmp_path / "file", tmp_path / "log"
    file.touch()
    tmp_path.chmod(0o755)
    result = remainroot(
        "--trace-calls", "--stats", "--log", "debug", "--log-format", "json", "--log-file", str(log),
        "--", "chown", "42:43", str(file),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert re.search(rf'^\[\d+\] fchownat\(AT_FDCWD, "{file}", 42, 43, 0\) = 0 \(faked\)$', result.stderr, re.MULTILINE)
    assert re.search(r"^fchownat +1 +1 +0 ", result.stderr, re.MULTILINE)
    events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert any(event["event"] == "call" and event["syscall"] == "fchownat" for event in events)
    assert any(event["event"] == "engine" for event in events)


def test_every_declared_call_shows_its_arguments() -> None:
    """But for those that have none."""
    bare = {name for name in SYSCALLS if not arguments_of(name)}
    ids = {f"get{name}{wide}" for name in ("uid", "euid", "gid", "egid") for wide in ("", "32")}
    assert bare == ids | {"vhangup"}
