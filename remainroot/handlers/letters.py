# SPDX-License-Identifier: GPL-2.0-or-later
"""What a signal's siginfo says of its sender (sigaction(2), si_uid), which to the kernel is always the same user.

Where it matters, the receiver is had queue the signal itself (`remainroot.outcomes.Post`): if it has a handler for it,
blocks it (to take it by signalfd(2), or later), or waits for it (sigwaitinfo(2)). Nobody reads the siginfo of a signal
that is ignored, or that ends or stops the process.
"""

from __future__ import annotations

from remainroot.dispatch import CONTINUE, Letter, Post
from remainroot.pids import levels, number_for
from remainroot.tasks import thread_group, thread_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from signal import SIGKILL, SIGSTOP
    from typing import Final

    from remainroot.dispatch import Call, Outcome
else:
    from _signal import SIGKILL, SIGSTOP  # without the module's 8 ms of enum

_SI_USER: Final = 0
_SI_TKILL: Final = -6
_RUNNING: Final = b"running"
_TIMED_WAITS: Final = (b"128", b"177", b"421", b"1073742347")
"""The numbers of rt_sigtimedwait(2), of all ABIs. Another call of such a number does no harm: see `_waits`."""


def _masks(path: str) -> tuple[int, int, int]:
    """What the task blocks, ignores and catches, of /proc/TID/status: bit masks."""
    with open(path + "/status", "rb") as file:
        text = file.read()
    found = []
    for name in (b"\nSigBlk:", b"\nSigIgn:", b"\nSigCgt:"):
        start = text.index(name) + len(name)
        found.append(int(text[start : text.index(b"\n", start)], 16))
    return found[0], found[1], found[2]


def _waits(path: str, bit: int) -> bool:
    """Whether the task blocks the signal, or may be waiting for it.

    A task that does wait for it does not block it meanwhile: then it is asleep in that call, or was a moment ago.
    """
    if _masks(path)[0] & bit:
        return True
    with open(path + "/syscall", "rb") as file:
        number = file.read().split(b" ", 1)[0].strip()
    return number == _RUNNING or number in _TIMED_WAITS or bool(_masks(path)[0] & bit)


def _matters(tid: int, signo: int, *, whole: bool) -> bool:
    """Whether the receiver of such a signal may get to see its siginfo. OSError: it is gone."""
    bit = 1 << (signo - 1)
    own = f"/proc/{tid}"
    blocked, ignored, caught = _masks(own)
    if (blocked | caught) & bit:
        return True
    if ignored & bit:
        return False
    if not whole:
        return _waits(own, bit)
    return any(_waits(f"{own}/task/{thread}", bit) for thread in thread_ids(tid))


def letter(call: Call, tid: int, signo: int, *, whole: bool, always: bool = False) -> Letter | None:
    """The letter by which `tid`, or its process, gets this signal from the caller; None if the kernel's will do.

    `always`: it would, but shall not.
    """
    world = call.world
    tasks = world.tasks
    if tasks.untouched or signo in (0, SIGKILL, SIGSTOP) or not tasks.supervises(tid):
        return None
    uid = world.uid_for(tid, call.tid)
    try:
        if uid == world.told_uid(tid) and not always:
            return None
        process = thread_group(tid)
        receiver = process if whole else tid
        if not process or not (always or _matters(receiver, signo, whole=whole)):
            return None
        sender = number_for(receiver, thread_group(call.tid))
        own = levels(process)[-1], levels(receiver)[-1]
    except OSError:
        return None  # gone
    return Letter(receiver, signo, _SI_USER if whole else _SI_TKILL, sender, uid, own=own, whole=whole)


def to_one(call: Call, tid: int, signo: int, *, whole: bool = True) -> Outcome:
    """The signal, which it is allowed to send, to `tid`, or its process."""
    found = letter(call, tid, signo, whole=whole)
    if found is None:
        return CONTINUE
    call.check()
    return Post((found,), alone=True)
