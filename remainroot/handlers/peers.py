# SPDX-License-Identifier: GPL-2.0-or-later
"""Other tasks: which one a pid means, and what one may do to another by its ids."""

from __future__ import annotations

import os
from errno import EPERM
from fcntl import ioctl

from remainroot.dispatch import CONTINUE, Fail
from remainroot.pids import everyone, levels, number_for, sees, task_called
from remainroot.tracee import status_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from remainroot.credentials import Credentials
    from remainroot.dispatch import Call, Outcome

    Permission = Callable[[Credentials, Credentials], bool]

_NS_GET_USERNS: Final = 0xB701

# ---------------------------------------------------------------- who is meant


def own_pid(call: Call) -> int:
    """The caller's tid as it sees it itself."""
    return levels(call.tid)[-1]


def pid_for(call: Call, tid: int) -> int:
    """How the caller sees the task that is `tid` here: 0 if it does not, or cannot be told (it is gone)."""
    return number_for(call.tid, tid)


def supervisors_pid(call: Call, pid: int) -> int:
    """The task that the caller calls `pid`, by its number here; 0 if there is none."""
    return task_called(call.tid, pid)


def task_of(call: Call, st: os.stat_result, parts: list[bytes]) -> int:
    """Whose file it is, by the number here; 0 if that cannot be told. `parts` is its path, cut at the slashes."""
    if len(parts) < 2 or not parts[-2].isdigit():
        return 0
    pid = int(parts[-2])
    depth = call.world.files.proc_depth(st, call.tid)
    return pid if depth == 1 else task_called(call.tid, pid, depth)


GROUP, SESSION, TERMINAL = 2, 3, 4
"""Which fields of /proc/TID/stat."""


def stat_field(tid: int, index: int) -> int:
    """A number of /proc/TID/stat behind the command's name (proc_pid_stat(5)); 0 if the task is gone."""
    try:
        with open(f"/proc/{tid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return 0
    return int(text[text.rindex(b")") + 2 :].split()[index])


def group_members(call: Call, pid: int) -> list[int]:
    """All processes of the group that the caller calls `pid` (0: its own), the newest first, as in the kernel."""
    return with_group(_group(call, pid) if pid else stat_field(call.tid, GROUP))


def with_group(group: int) -> list[int]:
    """All processes of the group that is `group` here, the newest first; none for 0."""
    return [tid for tid in sorted(everyone(), reverse=True) if stat_field(tid, GROUP) == group] if group else []


def _group(call: Call, number: int) -> int:
    """The group that the caller calls `number`, by its number here, though its first process be gone; 0: none."""
    depth = len(levels(call.tid))
    if depth == 1:
        return number
    for tid in everyone():
        try:
            numbers = [int(one) for one in status_field(tid, b"NSpgid").split()]
            if numbers[depth - 1 : depth] == [number] and sees(call.tid, depth, tid, levels(tid)):
                return stat_field(tid, GROUP)
        except OSError:
            continue  # gone, or somebody else's
    return 0


def owner_of_namespace(tid: int, kind: str) -> int:
    """The user namespace that the task's namespace of this kind ("uts", "ipc") belongs to, by inode number.

    0 if that is not ours, nor within ours.
    """
    try:
        fd = os.open(f"/proc/{tid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            owner = ioctl(fd, _NS_GET_USERNS)
            number = os.fstat(owner).st_ino
            os.close(owner)
        finally:
            os.close(fd)
    except OSError:
        return 0
    return number


def ours(call: Call, processes: list[int]) -> list[int]:
    """Those of these processes that are supervised, and that the caller sees."""
    supervises = call.world.tasks.supervises
    return [pid for pid in processes if supervises(pid) and pid_for(call, pid)]


# ---------------------------------------------------------------- what may be done to them


def affects(call: Call, pid: int, capability: int, allowed: Permission) -> Outcome:
    """EPERM where the caller has not `capability` and its ids are not `allowed` to do this to `pid` (0: itself)."""
    if pid <= 0 or call.world.tasks.untouched:
        return CONTINUE
    creds = call.creds
    if creds.capable(capability):
        return CONTINUE
    tid = supervisors_pid(call, pid)
    if not tid or tid == call.tid:
        return CONTINUE
    target = call.world.tasks.state(tid).creds
    return CONTINUE if creds.capable_in(capability, target.namespace) or allowed(creds, target) else Fail(EPERM)
