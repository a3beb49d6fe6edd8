# SPDX-License-Identifier: GPL-2.0-or-later
"""/proc/PID/oom_score_adj (proc_pid_oom_score_adj(5)): how much sooner, or later, a process is killed for its memory.

To lower it takes CAP_SYS_RESOURCE, which a user namespace's root has not. Who opens the file to write and has it among
its fake capabilities gets a file in memory (`remainroot.adjustments`), and the process' state says which one: so its
children have it. The write that follows is judged (`remainroot.handlers.judging`): EINVAL for what is no number, or
none from -1000 to 1000, EACCES for one that takes the capability. Where it is not seen, such a one is ignored.
"""

from __future__ import annotations

import os
from errno import EACCES, EINVAL, ERANGE

from remainroot.adjustments import LEAST, MOST, Adjustments, number_of
from remainroot.credentials import CAP_SYS_RESOURCE
from remainroot.handlers.judging import WriteJudge
from remainroot.kernel import O_CLOEXEC
from remainroot.outcomes import InstallFd
from remainroot.tasks import thread_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call
    from remainroot.world import World

_PRETENCE: Final = "oom_score_adj"
_SIZE: Final = 64
_INT: Final = 1 << 31
_MOST_DIGITS: Final = 12
"""What is behind them is not looked at."""


def shown(world: World, tid: int, text: bytes) -> bytes:
    """The value of `tid`, for which the kernel says `text`."""
    found = world.tasks.state(tid).pretended(_PRETENCE)
    return text if found is None or world.adjustments is None else b"%d\n" % world.adjustments.value(found[0])


def open_to_write(call: Call, tid: int, fd: int, flags: int) -> InstallFd | None:
    """An open, to write, of that file of `tid`, which `fd` holds; None if the kernel is to open it.

    Who has not the capability may write what is not less than the last value that somebody who has it wrote.
    """
    world = call.world
    exclusive = os.O_CREAT | os.O_EXCL
    if "oom" in world.settings.refused or flags & os.O_DIRECTORY or flags & exclusive == exclusive:
        return None
    before = world.tasks.state(tid).pretended(_PRETENCE)
    capable = call.creds.capable(CAP_SYS_RESOURCE)
    if before is None and not capable:
        return None
    if world.adjustments is None:
        world.adjustments = Adjustments()
    least = LEAST if capable or before is None else world.adjustments.floor(before[0])
    real = -1
    try:
        try:
            real = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | O_CLOEXEC)
            with open(f"/proc/self/fd/{fd}", "rb", buffering=0) as file:
                now = int(shown(world, tid, file.read(_SIZE)))
        except (OSError, ValueError):
            return None  # the kernel will say so
        call.check()
        given, number = world.adjustments.add(real, now, least, flags)
        real = -1
    finally:
        if real >= 0:
            os.close(real)
    for thread in thread_ids(tid):
        world.tasks.set(thread, world.tasks.state(thread).pretend(_PRETENCE, (number, 0)))
    judge = WriteJudge(given, lambda text, _: _refusal(text, least), seekable=True)
    return InstallFd(given, cloexec=bool(flags & O_CLOEXEC), judge=judge)


def _refusal(text: bytes, least: int) -> int:
    """The errno of such a write by who may write no less than `least`; 0: it is in order."""
    value = number_of(text[:_MOST_DIGITS].strip())
    if value is None:
        return EINVAL
    if not -_INT <= value < _INT:
        return ERANGE
    if not LEAST <= value <= MOST:
        return EINVAL
    return EACCES if value < least else 0
