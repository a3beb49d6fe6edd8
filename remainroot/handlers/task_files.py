# SPDX-License-Identifier: GPL-2.0-or-later
"""Opens to write of what a task's directory in procfs has: files that take here what the kernel would not: proc(5)."""

from __future__ import annotations

import os

from remainroot.credentials import CAP_SYS_NICE
from remainroot.handlers import login, oom_score, user_namespaces
from remainroot.handlers.paths import Unresolved, find_path
from remainroot.handlers.peers import task_of
from remainroot.kernel import AT_SYMLINK_NOFOLLOW
from remainroot.quick import LOGIN_UID, OOM_SCORE_ADJ, TIMER_SLACK, WRITTEN_NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call
    from remainroot.outcomes import Outcome


def open_to_write(call: Call, dirfd: int, index: int, flags: int) -> Outcome | None:
    """An open, to write, of what may be such a file of a supervised task; None if the kernel is to open it."""
    try:
        fd, st = find_path(call, dirfd, index, AT_SYMLINK_NOFOLLOW if flags & os.O_NOFOLLOW else 0)
    except Unresolved:
        return None
    try:
        parts = os.readlink(b"/proc/self/fd/%d" % fd).split(b"/")
        name = parts[-1]
        if name not in WRITTEN_NAMES or not call.world.files.lies_on_proc(fd, st):
            return None
        tid = task_of(call, st, parts)
        if not tid or not call.world.tasks.supervises(tid):
            return None
        opens = _OPENS.get(name)
        return opens(call, tid, fd, flags) if opens else user_namespaces.open_to_write(call, tid, name, flags)
    finally:
        os.close(fd)


def _timer_slack(call: Call, tid: int, _fd: int, flags: int) -> Outcome | None:
    """proc_pid_timerslack_ns(5): that of another takes CAP_SYS_NICE."""
    if tid == call.tid or call.creds.capable_in(CAP_SYS_NICE, call.world.tasks.state(tid).creds.namespace):
        return None
    return user_namespaces.unwritable(flags)


_OPENS: Final = {
    OOM_SCORE_ADJ: oom_score.open_to_write,
    LOGIN_UID: login.open_to_write,
    TIMER_SLACK: _timer_slack,
}
