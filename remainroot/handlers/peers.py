# SPDX-License-Identifier: GPL-2.0-or-later
"""What one task may do to another by its ids: setpriority(2), sched_setaffinity(2), prlimit(2).

A task that has the capability asks the kernel, for which all of us are one user. Only one that lacks it is judged here.
"""

from __future__ import annotations

import os
from errno import EPERM

from remainroot import quick
from remainroot.credentials import CAP_SYS_NICE, CAP_SYS_RESOURCE
from remainroot.dispatch import CONTINUE, Fail, handles
from remainroot.handlers.resource_limits import RLIMIT_RTTIME_WHEN, rttime
from remainroot.tracee import status_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from remainroot.credentials import Credentials
    from remainroot.dispatch import Call, Outcome

    Permission = Callable[[Credentials, Credentials], bool]
else:
    pass  # without the module's 8 ms of enum

_PRIO_PROCESS: Final = 0


# ---------------------------------------------------------------- who is meant


def levels(tid: int) -> list[int]:
    """The task's number in each pid namespace from the supervisor's procfs down to its own."""
    return [int(number) for number in status_field(tid, b"NSpid").split()]


def own_pid(call: Call) -> int:
    """The caller's tid as it sees it itself."""
    return levels(call.tid)[-1]


def pid_for(call: Call, tid: int) -> int:
    """How the caller sees the task that is `tid` here: 0 if it does not, or cannot be told (it is gone)."""
    depth = len(levels(call.tid))
    if depth == 1:
        return tid
    try:
        numbers = levels(tid)
    except OSError:
        return 0
    return numbers[depth - 1] if len(numbers) >= depth else 0


def supervisors_pid(call: Call, pid: int) -> int:
    """The task that the caller calls `pid`, by its number here; 0 if there is none."""
    depth = len(levels(call.tid))
    if depth == 1:
        return pid if os.path.exists(f"/proc/{pid}") else 0
    for tid in everyone():
        try:
            numbers = levels(tid)
        except OSError:
            continue
        if len(numbers) >= depth and numbers[depth - 1] == pid:
            return tid
    return 0


def everyone() -> list[int]:
    """The processes there are, by their numbers here."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


# ---------------------------------------------------------------- scheduling and limits


def _affects(call: Call, pid: int, capability: int, allowed: Permission) -> Outcome:
    """EPERM where the caller has not `capability` and its ids are not `allowed` to do this to `pid` (0: itself)."""
    if pid <= 0 or call.world.tasks.untouched:
        return CONTINUE
    creds = call.creds
    if creds.capable(capability):
        return CONTINUE
    tid = supervisors_pid(call, pid)
    if tid and tid != call.tid and not allowed(creds, call.world.tasks.state(tid).creds):
        return Fail(EPERM)
    return CONTINUE


def _scheduling(creds: Credentials, target: Credentials) -> bool:
    return creds.may_set_scheduling(target)


@handles("setpriority", quick=quick.SCHEDULE)
def setpriority(call: Call) -> Outcome:
    """Another process' nice value: setpriority(2), EPERM unless the effective id is its real or effective one."""
    if call.signed(0) != _PRIO_PROCESS:
        return CONTINUE
    return _affects(call, call.signed(1), CAP_SYS_NICE, _scheduling)


@handles("sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr", quick=quick.SCHEDULE)
def sched_set(call: Call) -> Outcome:
    """Another task's CPUs, policy or priority: sched_setaffinity(2), sched_setscheduler(2); as setpriority."""
    return _affects(call, call.signed(0), CAP_SYS_NICE, _scheduling)


@handles("ioprio_set", quick=quick.SCHEDULE)
def ioprio_set(call: Call) -> Outcome:
    """Another process' I/O priority: ioprio_set(2)."""
    if call.signed(0) != 1:  # IOPRIO_WHO_PROCESS
        return CONTINUE
    return _affects(call, call.signed(1), CAP_SYS_NICE, _scheduling)


@handles("prlimit64", when=RLIMIT_RTTIME_WHEN)
def prlimit64(call: Call) -> Outcome:
    """Another process' limits: prlimit(2), EPERM unless all its user and group ids are the caller's real ones."""
    outcome = _affects(call, call.signed(0), CAP_SYS_RESOURCE, lambda creds, target: creds.may_set_limits(target))
    return rttime(call, call.signed(0), call.unsigned(1)) if outcome is CONTINUE else outcome
