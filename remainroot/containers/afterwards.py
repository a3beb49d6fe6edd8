# SPDX-License-Identifier: GPL-2.0-or-later
"""What is left to do when a box is over, however it ended.

The kernel ends the box's processes and mounts, but it does not remove files and cgroups. If front and the supervisor
are killed, nobody of the box is left to do it. So a process waits that is no child of theirs and belongs to nothing:
it reads from a pipe whose other end they hold, which ends when they have.
"""

from __future__ import annotations

import os

from remainroot import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

_NAME: Final = b"remainroot-end"


def when_over(work: Callable[[], None]) -> None:
    """Have `work` done in a process of its own once this process, and all that it forks from here on, have ended.

    A program that one of them executes does not count, nor a process that closes what it inherited.
    """
    reader, _held = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            if os.fork() == 0:
                _wait(reader)
                work()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(reader)


def _wait(reader: int) -> None:
    """Let go of all that is the caller's, and wait."""
    os.setsid()
    os.chdir("/")
    kernel.set_name(_NAME)
    for fd in {int(name) for name in os.listdir("/proc/self/fd")} - {reader}:
        try:
            os.close(fd)
        except OSError:
            pass  # the directory's own
    os.read(reader, 1)
