# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls that were passed on while every task was plain root, and may still wait when one is not any more."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def _cannot(_: int) -> None:
    """No engine is there to do it."""


class Waiters:
    """Who waits in such a call. Empty once a task is not plain root."""

    __slots__ = ("calls", "renew")

    def __init__(self) -> None:
        self.calls: dict[int, tuple[int, Callable[[], bool]]] = {}
        """The call's number, and what says whether it can be interrupted unseen, by tid.

        Of tasks that may be gone, or in another call by now.
        """
        self.renew: Callable[[int], None] = _cannot
        """Has a task make the call that it waits in once more; the engine's."""

    def recall(self) -> None:
        """Have them all make their calls again: the answer will be another."""
        for tid, (number, can_be_renewed) in self.calls.items():
            try:
                with open(f"/proc/{tid}/syscall", "rb") as file:
                    word = file.read().split(b" ", 1)[0]
            except OSError:
                continue  # gone
            # It may be on its way into the call. If it is somewhere else by now, it does no harm.
            if word.strip() in (b"%d" % number, b"running") and can_be_renewed():
                self.renew(tid)
        self.calls.clear()
