# SPDX-License-Identifier: GPL-2.0-or-later
"""Descriptors that tasks are given by a listener, while signals come in between."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from fcntl import ioctl
from typing import TYPE_CHECKING

import pytest

from remainroot import abi as abis
from remainroot import kernel
from remainroot.dispatch import ALWAYS, InstallFd
from remainroot.engines import descriptors
from remainroot.engines.filter import RET_USER_NOTIF, assemble
from remainroot.engines.listener import NOTIF, RECV, RESP, SEND, ask, listen

if TYPE_CHECKING:
    from collections.abc import Callable

ABI = abis.native()[0]
CAUGHT = ABI.numbers["memfd_create"]
COUNT = 1500


def _child(tell: int, check: Callable[[int], bool]) -> None:
    """Make the call that is caught again and again; the status is how often it was answered wrongly."""
    libc = ctypes.CDLL(None, use_errno=True)
    listener, _ = listen(assemble({ABI.audit_arch: {CAUGHT: ALWAYS}}, RET_USER_NOTIF))
    os.write(tell, b"%d" % listener)
    wrong = sum(not check(libc.syscall(CAUGHT, 0, 0)) for _ in range(COUNT))
    os._exit(min(wrong, 255))


def _is_a_pipe(number: int) -> bool:
    """Whether this descriptor is one; it is closed."""
    if number < 0 or not os.path.realpath(f"/proc/self/fd/{number}").split("/")[-1].startswith("pipe:"):
        return False
    os.close(number)
    return True


def _one(listener: int, current: int) -> None:
    end, other = os.pipe()
    os.close(other)
    answer = descriptors.install(listener, current, InstallFd(end, cloexec=False))
    if answer is not None:
        ask(listener, SEND, bytearray(RESP.pack(current, *answer, 0)))


def _pair(listener: int, current: int) -> None:
    numbers, error = descriptors.install_pair(listener, current, os.pipe(), cloexec=False)
    ask(listener, SEND, bytearray(RESP.pack(current, numbers[0] if numbers else 0, -error, 0)))


@pytest.mark.parametrize("give", [_one, _pair])
def test_a_signal_to_us_takes_none_away(give: Callable[[int, int], None]) -> None:
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _child(tell, _is_a_pipe)
        finally:
            os._exit(255)
    pidfd = os.pidfd_open(pid)
    listener = kernel.pidfd_getfd(pidfd, int(os.read(told, 16)))
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    over = threading.Event()
    serving = threading.get_ident()

    def disturb() -> None:
        while not over.is_set():
            signal.pthread_kill(serving, signal.SIGUSR1)
            over.wait(0.0001)

    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        served = 0
        while served < COUNT:
            notification = bytearray(NOTIF.size)
            try:
                ioctl(listener, RECV, notification)
            except InterruptedError:
                continue
            give(listener, NOTIF.unpack(notification)[0])
            served += 1
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        over.set()
        disturber.join()
        signal.signal(signal.SIGUSR1, before)
        for fd in (listener, pidfd, told, tell):
            os.close(fd)
