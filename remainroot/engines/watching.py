# SPDX-License-Identifier: GPL-2.0-or-later
"""Tasks whose calls are shown to a judge for a while (`remainroot.outcomes.Judge`), under the notify engine."""

from __future__ import annotations

import os
from ctypes import c_long
from time import monotonic

from remainroot.engines import ptracing as pt
from remainroot.engines.seized import Held

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from remainroot.kernel import Seize
    from remainroot.outcomes import Judge
    from remainroot.world import World

OPTIONS: Final = pt.O_TRACESYSGOOD | pt.O_TRACEFORK | pt.O_TRACEVFORK | pt.O_TRACECLONE
"""What such a task is to be seized with."""
_LONGEST: Final = 1.0
"""How many seconds a task is watched that makes no call, or stays in one."""


class Watching(Held):
    """A task that was given a file, seized, and shown to a judge at each of its calls.

    `adopt`: told of each task that it makes, which is traced, too, and will stop, and of that one's judge.
    """

    __slots__ = ("_adopt", "_answer", "_deadline", "judge", "leaving")

    def __init__(
        self, tid: int, tgid: int, judge: Judge, seize: Seize, adopt: Callable[[int, Judge], None]
    ) -> None:
        super().__init__(tid, tgid, seize)
        self._adopt = adopt
        self.judge = judge
        self.leaving = False
        self._answer = 0
        self._deadline = monotonic() + _LONGEST

    def check(self) -> None:
        """Have the task let go, if this has taken long enough."""
        if not self.leaving and monotonic() > self._deadline:
            self.leaving = True
            self.seize.interrupt()

    def stopped(self, world: World, tid: int, status: int) -> bool:
        """One stop (or the end) of the task; True when it is let go and nothing more will come."""
        del world
        if not os.WIFSTOPPED(status):
            return tid == self.tid or not os.path.exists(f"/proc/{self.tid}")
        if self._call(tid) if status == pt.SYSCALL_STOP else self.leaving:
            self.seize.detach(tid)
            return True
        if status >> 16 in pt.BIRTHS:
            child = pt.event_message(tid)
            if child:
                self._adopt(child, self.judge.child())
        signo = 0 if status >> 16 or status == pt.SYSCALL_STOP else os.WSTOPSIG(status)
        pt.request(pt.SYSCALL, tid, 0, c_long(signo))
        return False

    def _call(self, tid: int) -> bool:
        """The stop at a call's entry or exit; whether it was the last."""
        if pt.request(pt.GET_SYSCALL_INFO, tid, pt.INFO_SIZE, pt.INFO) < 0:
            return False
        self._deadline = monotonic() + _LONGEST
        op, arch, nr, *args = pt.call_info()
        if op == pt.OP_ENTRY:
            error = self.judge.enters(tid, arch, nr, (*args,))
            self._answer = -error
            if error:
                pt.skip(tid, -error)
            return False
        if self._answer and pt.exit_value() != self._answer:
            pt.skip(tid, self._answer)  # a filter that was there before us has had its say
        self._answer = 0
        return self.judge.over or self.leaving
