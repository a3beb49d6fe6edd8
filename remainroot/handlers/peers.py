# SPDX-License-Identifier: GPL-2.0-or-later
"""What one task may do to another by its ids: kill(2), setpriority(2), sched_setaffinity(2), prlimit(2).

A task that has the capability asks the kernel, for which all of us are one user. Only one that lacks it is judged here.
"""

from __future__ import annotations

import os
from errno import EPERM, ESRCH

from remainroot.credentials import CAP_KILL, CAP_SYS_NICE, CAP_SYS_RESOURCE
from remainroot.dispatch import CONTINUE, DONE, Fail, handles
from remainroot.handlers.resource_limits import RLIMIT_RTTIME_WHEN, rttime
from remainroot.tracee import status_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from signal import SIGCONT, pidfd_send_signal
    from typing import Final

    from remainroot.credentials import Credentials
    from remainroot.dispatch import Call, Outcome

    Permission = Callable[[Credentials, Credentials], bool]
else:
    from _signal import SIGCONT, pidfd_send_signal  # without the module's 8 ms of enum

_PRIO_PROCESS: Final = 0
_NSIG: Final = 64


# ---------------------------------------------------------------- who is meant


def _levels(tid: int) -> list[int]:
    """The task's number in each pid namespace from the supervisor's procfs down to its own."""
    return [int(number) for number in status_field(tid, b"NSpid").split()]


def own_pid(call: Call) -> int:
    """The caller's tid as it sees it itself."""
    return _levels(call.tid)[-1]


def supervisors_pid(call: Call, pid: int) -> int:
    """The task that the caller calls `pid`, by its number here; 0 if there is none."""
    depth = len(_levels(call.tid))
    if depth == 1:
        return pid if os.path.exists(f"/proc/{pid}") else 0
    for tid in _everyone():
        try:
            levels = _levels(tid)
        except OSError:
            continue
        if len(levels) >= depth and levels[depth - 1] == pid:
            return tid
    return 0


def _everyone() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _group(tid: int) -> int:
    """The process group of `tid`, as it is numbered here; 0 if the task is gone."""
    try:
        with open(f"/proc/{tid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return 0
    return int(text[text.rindex(b")") + 2 :].split()[2])


def _session(tid: int) -> int:
    try:
        with open(f"/proc/{tid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return 0
    return int(text[text.rindex(b")") + 2 :].split()[3])


# ---------------------------------------------------------------- signals


def _may_signal(call: Call, tid: int, signo: int) -> bool:
    """kill(2): the ids match, or it is SIGCONT within the session."""
    if call.creds.may_signal(call.world.tasks.state(tid).creds):
        return True
    return signo == SIGCONT and _session(tid) == _session(call.tid)


def _one(call: Call, pid: int, signo: int) -> Outcome:
    if pid <= 0 or not 0 <= signo <= _NSIG or call.creds.capable(CAP_KILL):
        return CONTINUE
    tid = supervisors_pid(call, pid)
    if not tid or _may_signal(call, tid, signo):
        return CONTINUE
    return Fail(EPERM)


@handles("kill")
def kill(call: Call) -> Outcome:
    """Send a signal to a process, a group (0, -pgid) or all (-1); of several, those it may not signal are left out."""
    pid, signo = call.signed(0), call.signed(1)
    if call.world.tasks.untouched or call.creds.capable(CAP_KILL) or not 0 <= signo <= _NSIG:
        return CONTINUE
    if pid > 0:
        return _one(call, pid, signo)
    if pid == -1:
        targets = [tid for tid in _everyone() if tid not in (1, os.getpid(), call.tid)]
    else:
        leader = call.tid if pid == 0 else supervisors_pid(call, -pid)
        group = _group(leader)
        targets = [tid for tid in _everyone() if _group(tid) == group] if group else []
    allowed = [tid for tid in targets if _may_signal(call, tid, signo)]
    if not targets or (len(allowed) == len(targets) and pid != -1):
        return CONTINUE
    if not allowed:
        return Fail(ESRCH if pid == -1 and not targets else EPERM)
    for tid in allowed:
        try:
            pidfd = os.pidfd_open(tid)
        except OSError:
            continue
        try:
            pidfd_send_signal(pidfd, signo)
        except OSError:
            pass
        finally:
            os.close(pidfd)
    return DONE


@handles("tkill")
def tkill(call: Call) -> Outcome:
    """Send a signal to a thread: tkill(2)."""
    return CONTINUE if call.world.tasks.untouched else _one(call, call.signed(0), call.signed(1))


@handles("tgkill", "rt_tgsigqueueinfo")
def tgkill(call: Call) -> Outcome:
    """Send a signal to a thread of a process: tgkill(2), rt_tgsigqueueinfo(2)."""
    return CONTINUE if call.world.tasks.untouched else _one(call, call.signed(1), call.signed(2))


@handles("rt_sigqueueinfo")
def rt_sigqueueinfo(call: Call) -> Outcome:
    """Queue a signal and data to a process: rt_sigqueueinfo(2)."""
    return CONTINUE if call.world.tasks.untouched else _one(call, call.signed(0), call.signed(1))


@handles("pidfd_send_signal")
def pidfd_send(call: Call) -> Outcome:
    """Send a signal to the process behind a descriptor: pidfd_send_signal(2)."""
    signo = call.signed(1)
    if call.world.tasks.untouched or not 0 <= signo <= _NSIG or call.creds.capable(CAP_KILL):
        return CONTINUE
    with open(f"/proc/{call.tid}/fdinfo/{call.signed(0)}", "rb") as file:
        for line in file:
            if line.startswith(b"Pid:"):
                tid = int(line[4:])
                if tid > 0 and not _may_signal(call, tid, signo):
                    return Fail(EPERM)
    return CONTINUE


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


@handles("setpriority")
def setpriority(call: Call) -> Outcome:
    """Another process' nice value: setpriority(2), EPERM unless the effective id is its real or effective one."""
    if call.signed(0) != _PRIO_PROCESS:
        return CONTINUE
    return _affects(call, call.signed(1), CAP_SYS_NICE, _scheduling)


@handles("sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr")
def sched_set(call: Call) -> Outcome:
    """Another task's CPUs, policy or priority: sched_setaffinity(2), sched_setscheduler(2); as setpriority."""
    return _affects(call, call.signed(0), CAP_SYS_NICE, _scheduling)


@handles("ioprio_set")
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
