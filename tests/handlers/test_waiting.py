# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose the child was that waitid(2) has waited for, as real root is told."""

from __future__ import annotations

import functools
import subprocess

import pytest

from remainroot.engines import attending, ptracing
from remainroot.outcomes import Attend
from tests.compiling import FIXTURES, abis, program
from tests.handlers.rooted import PYTHON
from tests.launching import ENGINES, TIMEOUT, remainroot

TAKERS = FIXTURES / "signal_takers.c"


@functools.cache
def really(abi: str) -> str:
    command = [str(program(TAKERS, abi)), "waits"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT)
    return done.stdout


@pytest.mark.oracle
@pytest.mark.parametrize("abi", abis())
@pytest.mark.parametrize("engine", ENGINES)
def test_children(engine: str, abi: str) -> None:
    """The first one waited for becomes a user, the first of all, while it is waited for; the last in many threads."""
    expected = really(abi)
    assert expected.startswith("waits: signal 17 code 1 status 3 uid 41 ")
    assert expected.endswith("50 51 52 53 54 55 \n")
    assert remainroot("--engine", engine, "--", str(program(TAKERS, abi)), "waits").stdout == expected


WAITERS = """
import os, signal, sys

def started(end):
    child = os.fork()
    if child == 0:
        os.setresuid(55, 0, 0)
        os.read(end, 1)
        os._exit(3)
    return child

def waiting(end):
    waiter = os.fork()
    if waiter == 0:
        os.close(more)
        info = os.waitid(os.P_PID, started(end), os.WEXITED)
        print("waited", info.si_uid, info.si_status, flush=True)
        os._exit(0)
    asleep = 0
    while asleep < 3:  # in the call, as every other state passes
        with open(f"/proc/{waiter}/wchan") as file:
            asleep = asleep + 1 if file.read() == "do_wait" else 0
        os.sched_yield()
    return waiter

end, more = os.pipe()
os.waitpid(started(os.open("/dev/null", os.O_RDONLY)), 0)
waiter = waiting(end)
os.kill(waiter, signal.SIGKILL)
print(os.waitpid(waiter, 0)[1], flush=True)
waiter = waiting(end)
os.kill(waiter, signal.SIGSTOP)
print(os.WSTOPSIG(os.waitpid(waiter, os.WUNTRACED)[1]), flush=True)
os.kill(waiter, signal.SIGCONT)
os.write(more, b"xx")
os.close(more)
print(os.waitpid(waiter, 0)[1], flush=True)
"""


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
def test_waiters_that_are_killed_or_stopped(engine: str) -> None:
    command = [PYTHON, "-c", WAITERS]
    expected = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT).stdout
    assert expected.split() == ["9", "19", "waited", "55", "3", "0"]
    assert remainroot("--engine", engine, "--", *command).stdout == expected


NOWHERE = """
import ctypes, errno, os, time

def nowhere(address, options):
    child = os.fork()
    if child == 0:
        os.setresuid(55, 0, 0)
        os._exit(3)
    while options & os.WNOHANG and os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        time.sleep(0.01)
    print(libc.waitid(os.P_PID, child, ctypes.c_void_p(address), options), errno.errorcode[ctypes.get_errno()])
    try:
        print(os.waitpid(child, 0)[1])
    except ChildProcessError:
        print("reaped")

libc = ctypes.CDLL(None, use_errno=True)
for address in (16, 1 << 47):
    for options in (os.WEXITED, os.WEXITED | os.WNOWAIT, os.WEXITED | os.WNOHANG):
        nowhere(address, options)
"""


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
def test_nowhere_to_tell(engine: str) -> None:
    """The child is reaped before the kernel finds that it cannot say whom; the first is waited for by plain root."""
    command = [PYTHON, "-c", NOWHERE]
    expected = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT).stdout
    assert expected.split().count("reaped") == 4
    assert remainroot("--engine", engine, "--", *command).stdout == expected


def test_first_argument_where_the_result_takes_its_place() -> None:
    """On aarch64 a call that is made again has its first argument again; elsewhere no register is touched."""
    attend = Attend(95, 77, 3, 0, lambda _have, _made: None)
    for arch, first in ((ptracing.AARCH64, 77), (ptracing.ARM, 77), (ptracing.X86_64, 0), (ptracing.I386, 0)):
        registers = [*range(34)]
        attending._as_made(registers, ptracing.LAYOUTS[arch], attend)
        assert registers == [first, *range(1, 34)]
