# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that the supervisor cannot look at: what it could not judge is not let through."""

from __future__ import annotations

import os
import resource
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.launching import ENGINES, TIMEOUT, in_turn, remainroot, start

if TYPE_CHECKING:
    from pathlib import Path

ASK = """
import errno, os
def attempt(what, call):
    try:
        print(what, call())
    except OSError as error:
        print(what, errno.errorcode[error.errno])
open("theirs", "w").close()
os.chmod("theirs", 0o600)
open("mine", "w").close()
os.chown("mine", 42, 43)
os.setresuid(42, 42, 42)
def ask():
    print(os.access("theirs", os.R_OK))
    attempt("owner", lambda: os.stat("mine").st_uid)
    attempt("open", lambda: os.close(os.open("theirs", os.O_RDONLY)))
ask()
print("ready", os.getppid(), flush=True)
input()
ask()
print("ready", flush=True)
input()
ask()
"""


def lowest_free(pid: int) -> int:
    """The lowest number that no descriptor of the process has."""
    taken = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    return next(number for number in range(len(taken) + 1) if number not in taken)


@pytest.mark.parametrize("engine", ENGINES)
def test_without_descriptors_nothing_is_let_through(engine: str, place: Path) -> None:
    running = start(
        "--engine", engine, "--store", "memory", "--strict", "--", "/usr/bin/python3", "-c", ASK,
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=place / "fake",
    )  # fmt: skip
    assert running.stdin is not None
    assert running.stdout is not None
    said = [running.stdout.readline().split() for _ in range(4)]
    supervisor = int(said[-1][1])
    limits = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (lowest_free(supervisor), limits[1]))
    running.stdin.write("\n")
    running.stdin.flush()
    without = [running.stdout.readline().split() for _ in range(4)]
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, limits)
    rest, errors = running.communicate("\n", timeout=TIMEOUT)
    good = [["False"], ["owner", "42"], ["open", "EACCES"]]
    assert said[:3] == [line.split() for line in rest.splitlines()] == good
    assert without[:3] == [["False"], ["owner", "EMFILE"], ["open", "EMFILE"]]
    assert errors == ""


MANY = """
import os
os.mkdir("mine")
before, held = os.pipe()
after, told = os.pipe()
for number in range(1, 61):
    if os.fork() == 0:
        os.close(held)
        os.chown("mine", number, 7)
        os.write(told, b"x" if os.stat("mine").st_gid == 7 else b"-")
        os.read(before, 1)
        os._exit(0)
print("".join(os.read(after, 1).decode() for number in range(60)))
os.chown("mine", 42, 43)
print(os.stat("mine").st_uid)
"""


@pytest.mark.parametrize(("engine", "limit"), in_turn((64,), (64,), (64,), (20,)))
def test_few_descriptors_serve_many_tasks(engine: str, limit: int, place: Path) -> None:
    """Whatever is kept open for each task."""
    done = remainroot(
        "--engine", engine, "--", "/usr/bin/python3", "-c", MANY,
        cwd=place / "fake", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)),
    )  # fmt: skip
    assert (done.stdout.split(), done.stderr) == (["x" * 60, "42"], "")
