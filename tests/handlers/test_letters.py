# SPDX-License-Identifier: GPL-2.0-or-later
"""Who siginfo says has sent a signal, however it is taken, as real root sees it; no signal, and no call, is lost."""

from __future__ import annotations

import functools
import subprocess

import pytest

from tests.compiling import FIXTURES, abis, program
from tests.handlers.rooted import PYTHON, as_real_root, bare, printed, under
from tests.launching import ENGINES, PLACE, REMAINROOT, TIMEOUT, remainroot

TAKERS = FIXTURES / "signal_takers.c"
STORM = FIXTURES / "signal_storm.c"


@functools.cache
def really(abi: str) -> str:
    command = [str(program(TAKERS, abi))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT)
    return done.stdout


@pytest.mark.oracle
@pytest.mark.parametrize("abi", abis())
@pytest.mark.parametrize("engine", ENGINES)
def test_senders(engine: str, abi: str) -> None:
    """Blocked signals, by all ways; those that end a wait; those that interrupt a call, or let it go on."""
    expected = really(abi)
    assert expected.count("uid 3") == 20
    assert remainroot("--engine", engine, "--", str(program(TAKERS, abi))).stdout == expected


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
def test_threads_in_a_pid_namespace(engine: str) -> None:
    """That a user may not signal them, either; of a siginfo that cannot be read nothing else is asked."""
    alone = ["unshare", "--pid", "--fork"]
    expected = printed(alone, "signals_to_threads")
    assert expected[-1].startswith("[(33, ")
    assert printed([*PLACE, *REMAINROOT[:-1], engine, "--", *alone], "signals_to_threads") == expected


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
def test_senders_in_another_user_namespace(engine: str) -> None:
    expected = as_real_root("senders_outside")
    assert expected[0] == "inside 0 33 65534"
    assert under(engine, "senders_outside") == expected
    assert bare("senders_outside") != expected


@pytest.mark.parametrize("engine", ENGINES)
def test_storm(engine: str) -> None:
    """None is lost, none comes twice, each says by whom it was sent, and nothing is interrupted."""
    done = remainroot("--engine", engine, "--", str(program(STORM)), "25")
    assert (done.stdout, done.stderr, done.returncode) == ("25 25 25, by others 0, wrong 0\n", "", 0)


OUT_OF_REACH = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
me = os.getpid()
sleeper = os.fork()
if sleeper == 0:
    print("taken", signal.sigwaitinfo([signal.SIGUSR1]).si_code, flush=True)
    os._exit(0)
os.kill(sleeper, signal.SIGSTOP)
os.waitpid(sleeper, os.WUNTRACED)
user = os.fork()
if user == 0:
    os.setresuid(33, 33, 33)
    try:
        os.kill(sleeper, signal.SIGUSR1)
    except PermissionError:
        print("refused", flush=True)
    os._exit(0)
os.waitpid(user, 0)
user = os.fork()
if user == 0:
    os.setresuid(33, 0, 0)
    os.kill(sleeper, signal.SIGUSR1)
    os.kill(sleeper, 0)
    os._exit(0)
print(os.waitpid(user, 0)[1])
os.kill(sleeper, signal.SIGCONT)
print(os.waitpid(sleeper, 0)[1])
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_who_is_stopped_gets_its_signal_all_the_same(engine: str) -> None:
    command = [PYTHON, "-c", OUT_OF_REACH]
    expected = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT).stdout
    assert expected.split() == ["refused", "0", "taken", "0", "0"]
    assert remainroot("--engine", engine, "--", *command).stdout == expected


DEBUGGED = """
import os, signal
signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"handled "))
me = os.getpid()
user = os.fork()
if user == 0:
    os.setresuid(33, 0, 0)
    os.kill(me, signal.SIGUSR1)
    os._exit(0)
print(os.waitid(os.P_PID, user, os.WEXITED).si_status)
"""


def test_under_a_debugger() -> None:
    """Whom somebody inside traces gets its signals, and its children, as the kernel has them."""
    done = remainroot("--engine", "notify", "--", "strace", "-qf", "-o", "/dev/null", PYTHON, "-c", DEBUGGED)
    assert (done.stdout, done.stderr, done.returncode) == ("handled 0\n", "", 0)
