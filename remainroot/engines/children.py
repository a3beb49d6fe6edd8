# SPDX-License-Identifier: GPL-2.0-or-later
"""Children that do nothing until they are let go, for an engine to seize them."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

_SIGKILL: Final = 9
_WALL: Final = 0x40000000


def reap(pid: int) -> None:
    """Kill a child and wait for its end."""
    os.kill(pid, _SIGKILL)
    while True:
        status = os.waitpid(pid, _WALL)[1]
        if status & 0xFF != 0x7F:
            return


def held_child(
    body: Callable[[], object], fork: Callable[[], int] = os.fork
) -> tuple[int, Callable[[], None]]:
    """Fork a child that runs `body` once it is let go (it ends if we do first): its pid, what lets it go.

    All that `fork` does in the child is done by then: a place's preparations are not to be caught.
    """
    gate, key = os.pipe()
    ready, done = os.pipe()
    pid = fork()
    if not pid:
        status = 125
        try:
            os.close(key)
            os.close(ready)
            os.close(done)
            if os.read(gate, 1):
                os.close(gate)
                body()
        except OSError as error:
            status = error.errno or status
        except BaseException:  # noqa: BLE001 - nothing of ours may go on in the child
            sys.excepthook(*sys.exc_info())
        os._exit(status)
    os.close(gate)
    os.close(done)
    os.read(ready, 1)  # until its end is closed
    os.close(ready)

    def let_go() -> None:
        os.write(key, b"x")
        os.close(key)

    return pid, let_go
