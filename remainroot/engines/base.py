# SPDX-License-Identifier: GPL-2.0-or-later
"""What an engine owes.

An engine catches the wanted syscalls of a tree of tasks and delivers the outcomes. Its duties:

1. Each caught call gets exactly one outcome.
2. Nothing outside the wanted set (the filter derived from the declarations) reaches the handlers.
3. A new task has its parent's state, as of the fork, before its first call is answered. (The kernel keeps that book:
   the state is named by an inherited resource limit, see `remainroot.tasks`.)
4. An exec that a handler answered with `Exec` is reported by `World.executed` once it has succeeded, before the new
   program runs; if it fails, by `World.not_executed` before the task goes on, or as soon as it is known.
5. What a handler that answered with `Lend` has lent a call is given back by `World.give_back` when the call is over,
   before the task goes on; where that cannot be seen `World.owe` is told.
6. After an `InstallFd` with a judge it has that see the calls that the task makes, and the tasks that it makes, if it
   can, and refuse them.
7. The receivers of a `Post` have their signals before the call returns, and nothing else of theirs has changed.
8. A call answered with `Attend` is finished before the task goes on, or runs as it is. `Waiters.renew` has a task leave
   the call that it waits in, and make it again.
9. The stops, the continuation and the end of CMD are each reported once, to `Watcher`.
10. Nothing is left stopped.
11. `unavailable()` says why it cannot work here, from trying.

An engine knows no syscall and no handler.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn, Protocol

    from remainroot.dispatch import Outcome
    from remainroot.settings import Settings
    from remainroot.world import World

    class Answer(Protocol):
        """Answers one caught call: the audit architecture, the syscall number and the six argument registers."""

        def __call__(self, tid: int, arch: int, nr: int, args: tuple[int, ...]) -> Outcome:
            """The outcome of the call."""
            ...

    class Watcher(Protocol):
        """Told what becomes of CMD's own process, so that the caller can see it too."""

        def stopped(self, signo: int) -> None:
            """CMD was stopped by `signo`."""

        def continued(self) -> None:
            """CMD goes on after a stop."""

        def ended(self, status: int) -> None:
            """CMD ended with this wait status."""


class Engine:
    """One way to catch calls.

    `spawn` starts CMD's process; while that has itself caught, `equip` is told what to serve with; `catch` sees to it
    that all is ready; `run` serves until the last task of the tree is gone.
    """

    name = ""
    filters = 0
    """How many seccomp filters the engine puts on CMD."""
    spawn_tells = False
    """`spawn` and `catch` find out whether the engine works here, so that a start can do without `unavailable`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.fork: Callable[[], int] = os.fork
        """Makes CMD's process, as fork(2) would."""
        self.world: World
        self.answer: Answer
        self.watcher: Watcher

    @staticmethod
    def unavailable() -> str | None:
        """Why this engine does not work here (one clause), or None. Tries it on a real child."""
        raise NotImplementedError

    def spawn(self, become: Callable[[], NoReturn]) -> int:
        """Fork CMD's process, which runs `become` (which execs) once it is caught, from its first call on.

        Returns its pid. OSError, and nothing is left running, if it cannot; its strerror is a clause that says why.
        """
        raise NotImplementedError

    def equip(self, world: World, answer: Answer, watcher: Watcher) -> None:
        """Take what there is to serve with."""
        world.filters = self.filters
        self.world = world
        self.answer = answer
        self.watcher = watcher

    def catch(self) -> None:
        """Wait until CMD's process is caught, and let it go on. OSError as `spawn`."""

    def run(self) -> None:
        """Serve every task of the tree; return when the last one is gone."""
        raise NotImplementedError
