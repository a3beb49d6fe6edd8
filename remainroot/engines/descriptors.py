# SPDX-License-Identifier: GPL-2.0-or-later
"""Descriptors for tasks that wait for the answer of a listener: SECCOMP_IOCTL_NOTIF_ADDFD, seccomp_unotify(2)."""

from __future__ import annotations

import os
from errno import EBUSY, EINVAL, ENOENT
from fcntl import ioctl
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from signal import SIG_BLOCK, SIG_UNBLOCK, SIGUSR1, pthread_sigmask
    from typing import Final

    from remainroot.outcomes import InstallFd, Replace
else:
    # Without the module's 8 ms of enum.
    from _signal import SIG_BLOCK, SIG_UNBLOCK, SIGUSR1, pthread_sigmask

_ADDFD: Final = 0x40182103
_SETFD: Final = 1
_SEND: Final = 2
_OUR_SIGNAL: Final = (SIGUSR1,)
"""What wakes the serving thread (`remainroot.engines.notify`)."""
_REQUEST: Final = Struct("=QIIII")
"""struct seccomp_notif_addfd: id, flags, the supervisor's fd, the number wanted, flags of the new descriptor."""


def install(listener: int, current: int, outcome: InstallFd) -> tuple[int, int] | None:
    """Give the task one, and its number as the answer to `current`; else the value and the error to be sent yet."""
    cloexec = os.O_CLOEXEC if outcome.cloexec else 0
    try:
        try:
            _give(listener, _REQUEST.pack(current, _SEND, outcome.fd, 0, cloexec))
        except OSError as error:
            if error.errno != EINVAL:
                return None if error.errno in (ENOENT, EBUSY) else (0, -(error.errno or EINVAL))
        else:
            return None
        # Before Linux 5.14: two steps.
        try:
            return _add(listener, current, outcome.fd, cloexec), 0
        except OSError as error:
            return 0, -(error.errno or EINVAL)
    finally:
        os.close(outcome.fd)


def _add(listener: int, current: int, fd: int, flags: int) -> int:
    """Give the task one; its number there."""
    return _give(listener, _REQUEST.pack(current, 0, fd, 0, flags))


def _give(listener: int, request: bytes) -> int:
    """Have the task given one; its number there.

    Our own signal must not interrupt that: with _SEND the kernel would answer the call all the same, and with 0.
    """
    pthread_sigmask(SIG_BLOCK, _OUR_SIGNAL)
    try:
        # The call's result is returned for a mutable argument.
        number: int = ioctl(listener, _ADDFD, bytearray(request))
    finally:
        pthread_sigmask(SIG_UNBLOCK, _OUR_SIGNAL)
    return number


def install_pair(listener: int, current: int, ends: tuple[int, int], *, cloexec: bool) -> tuple[list[int], int]:
    """Give the task both `ends`, which are closed: their numbers, and the errno if it cannot have all of them."""
    numbers: list[int] = []
    flags = os.O_CLOEXEC if cloexec else 0
    try:
        for end in ends:
            numbers.append(_add(listener, current, end, flags))  # noqa: PERF401  # those before a failure count
    except OSError as error:
        return numbers, error.errno or EINVAL
    finally:
        for end in ends:
            os.close(end)
    return numbers, 0


def replace(listener: int, current: int, outcome: Replace) -> None:
    """Put one in the place of the task's descriptor."""
    cloexec = os.O_CLOEXEC if outcome.cloexec else 0
    try:
        _give(listener, _REQUEST.pack(current, _SETFD, outcome.fd, outcome.number, cloexec))
    except OSError:
        pass  # the task died, or has another limit of descriptors now
    finally:
        os.close(outcome.fd)
