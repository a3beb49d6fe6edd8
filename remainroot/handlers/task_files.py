# SPDX-License-Identifier: GPL-2.0-or-later
"""Opens to write of what a task's directory in procfs has: files that take here what the kernel would not: proc(5)."""

from __future__ import annotations

import os

from remainroot.handlers import login, oom_score, user_namespaces
from remainroot.handlers.paths import Unresolved, find_path
from remainroot.handlers.peers import task_of
from remainroot.kernel import AT_SYMLINK_NOFOLLOW
from remainroot.quick import LOGIN_UID, OOM_SCORE_ADJ, WRITTEN_NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
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
        if name == OOM_SCORE_ADJ:
            return oom_score.open_to_write(call, tid, fd, flags)
        if name == LOGIN_UID:
            return login.open_to_write(call, tid, fd, flags)
        return user_namespaces.open_to_write(call, tid, name, flags)
    finally:
        os.close(fd)
