# SPDX-License-Identifier: GPL-2.0-or-later
"""Other tasks: which one a pid means, and what one may do to another by its ids."""

from __future__ import annotations

import os
from errno import EPERM

from remainroot.dispatch import CONTINUE, Fail
from remainroot.tracee import status_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from remainroot.credentials import Credentials
    from remainroot.dispatch import Call, Outcome

    Permission = Callable[[Credentials, Credentials], bool]


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


# ---------------------------------------------------------------- what may be done to them


def affects(call: Call, pid: int, capability: int, allowed: Permission) -> Outcome:
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
