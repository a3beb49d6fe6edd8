# SPDX-License-Identifier: GPL-2.0-or-later
"""Seeing what a run does.

--trace-calls, --stats and the log. Wrapped around `Supervisor.answer` only where asked for.
"""

from __future__ import annotations

import errno
import os
from time import perf_counter_ns

from remainroot.dispatch import Attend, Continue, Exec, Fail, InstallFd, Instead, Lend, Post, Replace, Return
from remainroot.kernel import AT_FDCWD, read_string

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from remainroot.dispatch import Outcome
    from remainroot.supervisor import Supervisor

_AT: Final = (("int", "dfd"), ("const char *", "filename"))
_FLAGS: Final = ("unsigned int", "at_flags")
_NAME: Final = ("const char *", "name")
_NEWER: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "openat2": (("int", "dfd"), ("const char *", "filename"), ("struct open_how *", "how"), ("size_t", "size")),
    "fchmodat2": (("int", "dfd"), ("const char *", "filename"), ("umode_t", "mode"), ("int", "flags")),
    "clone3": (("struct clone_args *", "args"), ("size_t", "size")),
    "pidfd_send_signal": (("int", "pidfd"), ("int", "sig"), ("siginfo_t *", "info"), ("unsigned int", "flags")),
    "landlock_restrict_self": (("int", "ruleset_fd"), ("unsigned int", "flags")),
    "faccessat2": (*_AT, ("int", "mode"), ("int", "flags")),
    "setxattrat": (*_AT, _FLAGS, _NAME, ("const struct xattr_args *", "uargs"), ("size_t", "usize")),
    "getxattrat": (*_AT, _FLAGS, _NAME, ("struct xattr_args *", "uargs"), ("size_t", "usize")),
    "listxattrat": (*_AT, _FLAGS, ("char *", "list"), ("size_t", "size")),
    "removexattrat": (*_AT, _FLAGS, _NAME),
    "fsconfig": (
        ("int", "fd"), ("unsigned int", "cmd"), ("const char *", "key"), ("const char *", "value"), ("int", "aux"),
    ),
    "file_getattr": (*_AT, ("struct file_attr *", "ufattr"), ("size_t", "usize"), _FLAGS),
    "file_setattr": (*_AT, ("struct file_attr *", "ufattr"), ("size_t", "usize"), _FLAGS),
}
"""Arguments of calls that are newer than python-ptrace's prototypes."""


def arguments_of(name: str) -> tuple[tuple[str, str], ...]:
    """The (C type, name) of each argument of the syscall `name`; variants of other widths have the same ones."""
    from ptrace.syscall.prototypes import SYSCALL_PROTOTYPES

    base = name.removesuffix("32").removeprefix("old").removeprefix("u")
    for candidate in (name, base):
        if candidate in _NEWER:
            return _NEWER[candidate]
        if candidate in SYSCALL_PROTOTYPES:
            found: tuple[tuple[str, str], ...] = SYSCALL_PROTOTYPES[candidate][1]
            return found
    return tuple(("unsigned long", f"arg{index}") for index in range(1, 7))


class Observer:
    """Counts, times and prints calls. `answer` takes the place of the supervisor's."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._inner: Callable[..., Outcome] = supervisor.answer
        self._trace = supervisor.settings.trace_calls
        self._stats = supervisor.settings.stats
        self._log = supervisor.settings.log
        self._rows: dict[str, list[int]] = {}

    def answer(self, tid: int, arch: int, nr: int, args: tuple[int, ...]) -> Outcome:
        """As Supervisor.answer, observed."""
        row = self._supervisor.table.get(arch, {}).get(nr)
        if row is None:
            return self._inner(tid, arch, nr, args)
        text = self._describe(tid, args, row.name, short_ids=row.short_ids) if self._trace else ""
        begin = perf_counter_ns()
        outcome = self._inner(tid, arch, nr, args)
        spent = perf_counter_ns() - begin
        if self._stats:
            counts = self._rows.setdefault(row.name, [0, 0, 0])
            counts[isinstance(outcome, (Continue, Exec, Lend))] += 1
            counts[2] += spent
        if self._trace:
            self._say(f"[{tid}] {text} {_result(outcome)}")
        if self._log is not None:
            self._log.debug("call", tid=tid, syscall=row.name, outcome=_result(outcome), microseconds=spent // 1000)
        return outcome

    @staticmethod
    def _say(line: str) -> None:
        try:
            os.write(2, line.encode(errors="backslashreplace") + b"\n")
        except OSError:
            pass

    def _describe(self, tid: int, args: tuple[int, ...], name: str, *, short_ids: bool) -> str:
        """The call as a C programmer would write it; paths are read, -1 stands for an id that is kept."""
        shown = []
        for value, (kind, _) in zip(args, arguments_of(name), strict=False):
            low = value & 0xFFFF_FFFF
            if kind == "const char *":
                shown.append(self._path(tid, value))
            elif kind in ("uid_t", "gid_t"):
                keep = 0xFFFF if short_ids else 0xFFFF_FFFF
                shown.append("-1" if value & keep == keep else str(value & keep))
            elif kind == "umode_t":
                shown.append(f"{low:#o}")
            elif kind in ("int", "pid_t"):
                signed = low - 0x1_0000_0000 if low & 0x8000_0000 else low
                shown.append("AT_FDCWD" if signed == AT_FDCWD else str(signed))
            else:
                shown.append(f"{value:#x}" if value else "0")
        return f"{name}({', '.join(shown)})"

    @staticmethod
    def _path(tid: int, address: int) -> str:
        try:
            return '"' + read_string(tid, address).decode(errors="backslashreplace").replace('"', '\\"') + '"'
        except OSError:
            return f"{address:#x}"

    def finish(self) -> None:
        """Print the table of --stats.

        Calls by syscall, how many were answered here and passed on, time spent on them.
        """
        if not self._stats:
            return
        lines = [f"{'syscall':<24}{'calls':>10}{'answered':>10}{'passed on':>11}{'total ms':>10}{'us each':>9}"]
        total = [0, 0, 0]
        for name, counts in sorted(self._rows.items(), key=lambda item: -item[1][2]):
            lines.append(_row(name, counts))
            total = [one + other for one, other in zip(total, counts, strict=True)]
        lines.append(_row("total", total))
        self._say("\n".join(lines))


def _row(name: str, counts: list[int]) -> str:
    answered, passed, spent = counts
    calls = answered + passed
    return f"{name:<24}{calls:>10}{answered:>10}{passed:>11}{spent / 1e6:>10.1f}{spent / 1e3 / max(calls, 1):>9.1f}"


def _while_passed_on(outcome: Exec | Lend) -> str:
    if isinstance(outcome, Lend):
        return "with the real ids"
    return "its opens are seen" if outcome.state is None else "ids follow"


def _result(outcome: Outcome) -> str:  # noqa: PLR0911 - one for each
    match outcome:
        case Continue():
            return "= ? (passed on)"
        case Return():
            return f"= {outcome.value} (faked)"
        case Fail():
            name = errno.errorcode.get(outcome.errno, str(outcome.errno))
            return f"= -1 {name} ({os.strerror(outcome.errno)}) (faked)"
        case InstallFd():
            return "= fd (made here)"
        case Replace():
            return f"= {outcome.value} (faked, what descriptor {outcome.number} reads too)"
        case Instead():
            return f"= {outcome.value} (faked, another call is made)"
        case Post():
            return "= 0 (queued by who receives it)"
        case Attend():
            return "= ? (passed on, and attended)"
        case Exec() | Lend():
            return f"= ? (passed on, {_while_passed_on(outcome)})"
