# SPDX-License-Identifier: GPL-2.0-or-later
"""The listener of the notify engine: CMD's process makes it with the filter, the supervisor takes a duplicate."""

from __future__ import annotations

import os
from _struct import Struct
from errno import EINVAL
from fcntl import ioctl

from remainroot.kernel import (
    SECCOMP_FILTER_FLAG_NEW_LISTENER,
    SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
    address_of,
    load_filter,
    pidfd_getfd,
    read_memory,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

RECV: Final = 0xC0502100
SEND: Final = 0xC0182101
ID_VALID: Final = 0x40082102
NOTIF: Final = Struct("=QIIiIQ6Q")
"""struct seccomp_notif: id, pid, flags, then seccomp_data: nr, arch, instruction pointer, six arguments."""
RESP: Final = Struct("=QqiI")
"""struct seccomp_notif_resp: id, value, error, flags."""


def listen(code: bytes) -> tuple[int, bool]:
    """Put the filter on this thread. Its listener; whether a signal interrupts calls that were received, too.

    It does before Linux 5.19, which knows no WAIT_KILLABLE_RECV.
    """
    flags = SECCOMP_FILTER_FLAG_NEW_LISTENER
    try:
        return load_filter(code, flags | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV), False
    except OSError as error:
        if error.errno != EINVAL:
            raise
    return load_filter(code, flags), True


def ask(listener: int, what: int, argument: bytes | bytearray) -> bool:
    """SEND or ID_VALID; False if the task is gone, or its call has ended.

    They wait for nothing but the listener's lock. A signal to us may come meanwhile: then nothing has been done yet.
    """
    while True:
        try:
            ioctl(listener, what, argument)
        except InterruptedError:
            continue
        except OSError:
            return False
        return True


def take_listener(pid: int, word: bytes, common: bytes) -> int:
    """Our duplicate of the listener that the child `pid` told of, by its `word`; OSError whose strerror says why not.

    `common` is something that both have in memory, for it was there when the child was forked.
    """
    if word[:1] not in (b"L", b"I"):
        from remainroot.engines import trial

        number = int(word[1:] or b"0")
        raise OSError(number, trial.no_listener(number))
    try:
        pidfd = os.pidfd_open(pid)
        try:
            listener = pidfd_getfd(pidfd, int(word[1:]))
        finally:
            os.close(pidfd)
    except OSError as error:
        from remainroot.engines import trial

        raise OSError(error.errno, trial.no_duplicate(error)) from None
    try:
        read_memory(pid, address_of(common), 1)
    except OSError as error:
        from remainroot.engines import trial

        os.close(listener)
        raise OSError(error.errno, trial.no_memory(error)) from None
    return listener
