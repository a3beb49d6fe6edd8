# SPDX-License-Identifier: GPL-2.0-or-later
"""Serving a command that is not under the shim: nothing but telling front what becomes of it."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from remainroot.engines.base import Watcher


def watch(
    watcher: Watcher, become: Callable[[], NoReturn], started: Callable[[int], None], fork: Callable[[], int]
) -> None:
    """As `supervise`, without a supervisor: start CMD by `fork` and tell of its stops and its end."""
    pid = fork()
    if pid == 0:
        try:
            become()
        finally:
            os._exit(125)
    started(pid)
    while True:
        status = os.waitpid(pid, os.WUNTRACED | os.WCONTINUED)[1]
        if os.WIFSTOPPED(status):
            watcher.stopped(os.WSTOPSIG(status))
        elif os.WIFCONTINUED(status):
            watcher.continued()
        else:
            watcher.ended(status)
            return
