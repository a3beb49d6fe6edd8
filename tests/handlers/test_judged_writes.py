# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes to files of procfs that stand in memory here: refused as the kernel would refuse them."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.launching import ENGINES, PLACE, REMAINROOT, TIMEOUT, environment, remainroot

SCRIPT = ["/usr/bin/python3", str(Path(__file__).with_name("judged_writes.py"))]


def told(prefix: list[str], pure: str = "0") -> list[str]:
    done = subprocess.run(
        [*prefix, *SCRIPT], capture_output=True, text=True, check=False, timeout=TIMEOUT,
        env={**environment(), "REMAINROOT_PURE": pure},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.oracle
@pytest.mark.parametrize("pure", ["0", "1"])
@pytest.mark.parametrize("engine", ENGINES)
def test_as_real_root(engine: str, pure: str) -> None:
    expected = told([])
    assert sum(line.endswith("EINVAL") for line in expected) > 20
    assert sum(line.endswith("EPERM") for line in expected) > 5
    assert told([*PLACE, *REMAINROOT[:-1], engine, "--"], pure) == expected


WAITS = """
import os, signal, sys, time
seen = []
signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
signal.setitimer(signal.ITIMER_REAL, 0.1)
started = time.monotonic()
time.sleep(1.5)
print(time.monotonic() - started >= 1.5, seen, os.write(fd, b"-7"), flush=True)
os.close(fd)
print(open("/proc/self/oom_score_adj").read())
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_who_does_not_write_is_let_go(engine: str) -> None:
    started = time.monotonic()
    shown = remainroot("--engine", engine, "--", "/usr/bin/python3", "-c", WAITS).stdout
    assert shown.split() == ["True", "[1]", "2", "-7"]
    assert time.monotonic() - started < TIMEOUT / 2


MAKES = """
import os, signal, subprocess, threading, time
def make(number):
    pid = os.fork()
    if pid == 0:
        if number % 3 == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if number % 3 == 1:
            os.fork()
        os._exit(0)
    if number % 2:
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
for after in range(3):
    fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    threads = [threading.Thread(target=make, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pid = os.fork()
    if pid == 0:
        os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        while True:
            if os.fork() == 0:
                os._exit(0)
    time.sleep(after / 100)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    print(subprocess.run(["printf", "junk"], stdout=fd, stderr=subprocess.DEVNULL).returncode)
    os.close(fd)
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_whoever_is_made_or_killed_meanwhile(engine: str) -> None:
    assert remainroot("--engine", engine, "--", "/usr/bin/python3", "-c", MAKES).stdout.split() == ["1", "1", "1"]


def test_a_debugger_keeps_its_task() -> None:
    """Its write is not judged then: a limit that README.md states."""
    command = ["strace", "-qq", "-o", "/dev/null", "sh", "-c", "echo junk >/proc/self/oom_score_adj && echo done"]
    assert remainroot("--engine", "notify", "--", *command).stdout == "done\n"
