# SPDX-License-Identifier: GPL-2.0-or-later
"""Times of files that really are another's: what root sets is remembered until they really change."""

from __future__ import annotations

import os
import subprocess
from itertools import product
from typing import TYPE_CHECKING

import pytest

from tests.compiling import FIXTURES, program
from tests.launching import ENGINES, PLACE, REMAINROOT, TIMEOUT, environment, in_turn, remainroot

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.oracle

ANOTHER = 54321
OLD = 1_000_000_000
FILES = ("file", "open", "directory", "fifo")

SCRIPT = r"""
import ctypes, errno, os, subprocess, sys, time
every = "every" in sys.argv
libc = ctypes.CDLL(None, use_errno=True)
start = time.time_ns() - 10**9  # the clock of files is coarse
def one(ns): return "now" if ns >= start else ns
def show(name):
    st = os.stat(name)
    fd = os.open(name, os.O_PATH)
    assert os.fstat(fd)[7:9] == os.stat(f"/proc/self/fd/{fd}")[7:9] == st[7:9]
    os.close(fd)
    print(name, one(st.st_atime_ns), one(st.st_mtime_ns))
def attempt(what, *arguments, **more):
    try:
        what(*arguments, **more)
        print("done", end=" ")
    except OSError as error:
        print(errno.errorcode[error.errno], end=" ")
    show(arguments[0])
def call(name, *arguments):
    if getattr(libc, name)(*arguments): raise OSError(ctypes.get_errno(), "")
def raw(path, *times, flags=0):
    both = (ctypes.c_long * 4)(*times)
    call("utimensat", -100, path.encode(), both if times else None, flags)
NOW, OMIT = 0x3fffffff, 0x3ffffffe
def touch(name, *options): subprocess.run(["touch", *options, name], check=True)
def all_of_it():
    for name in FILES:
        attempt(os.utime, name)
        attempt(raw, name)
        attempt(lambda path: call("utimes", path.encode(), None), name)
        attempt(lambda path: call("futimesat", -100, path.encode(), None), name)
        if every:
            attempt(os.utime, name, ns=(123, 456))
            attempt(raw, name, 0, OMIT, 7, 8)
            attempt(raw, name, 0, NOW, 0, OMIT)
            attempt(raw, name, 0, OMIT, 0, OMIT)
            attempt(raw, name, 5, 10**9, 0, 0)
            attempt(raw, name, 5, NOW, 6, NOW)
            attempt(raw, name, 5, 6, 9, 10, flags=0x100)
            attempt(lambda path: call("utimes", path.encode(), (ctypes.c_long * 4)(1, 2, 3, 4)), name)
            attempt(lambda path: call("utimes", path.encode(), (ctypes.c_long * 4)(1, 2, 3, 10**6)), name)
            fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
            attempt(lambda path: os.utime(fd, ns=(11, 12)), name)
            os.close(fd)
FILES = sys.argv[1].split()
for name in FILES: show(name)
all_of_it()
touch("file"); show("file")
touch("open", "-d", "@77"); show("open")
touch("open", "-a", "-d", "@78"); show("open")
with open("open", "a") as file: file.write("x")
show("open")
attempt(os.utime, "/proc/self/status") if every else None
attempt(os.utime, "frozen")
attempt(os.utime, "immutable")
if os.fork() == 0:
    os.chown("file", 1000, 0)
    os.setgroups([]); os.setgid(1000); os.setuid(1000)
    for name in FILES: attempt(os.utime, name); attempt(os.utime, name, ns=(1, 2)) if every else None
    os._exit(0)
print(os.wait()[1])
for name in FILES: show(name)
told = subprocess.run(["stat", "-c", "%X %Y", *FILES], capture_output=True, text=True, check=True).stdout.split()
assert told == [str(int(time)) for name in FILES for time in os.stat(name)[7:9]], told  # statx(2)
"""


def printed(side: Path, *prefix: str, every: bool, **variables: str) -> list[str]:
    """What the script finds, "frozen" mounted read-only."""
    freeze = 'mount --bind frozen frozen; mount -o remount,bind,ro frozen; exec "$@"'
    words = [*prefix, "/usr/bin/python3", "-c", SCRIPT, " ".join(FILES), "every" if every else "some"]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", freeze, "sh", *words], cwd=side, env=environment() | variables,
        capture_output=True, text=True, check=False, timeout=TIMEOUT,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def prepare(top: Path, owner: int) -> None:
    """Files of `owner`'s, and old."""
    (top / "directory").mkdir()
    os.mkfifo(top / "fifo")
    for name in ("file", "open", "frozen", "immutable"):
        (top / name).write_text("text")
    for path in top.iterdir():
        os.chown(path, owner, owner)
        path.chmod({"open": 0o666, "directory": 0o755}.get(path.name, 0o644))
        os.utime(path, (OLD, OLD))
    subprocess.run(["chattr", "+i", top / "immutable"], check=True)


@pytest.mark.parametrize(
    ("engine", "options", "pure"),
    [
        *((engine, "--store=memory", "") for engine in ENGINES), ("notify", "--store=durable:{}/owners.db", "1"),
        ("notify", "--store=memory --strict", ""), ("trace", "--store=durable:{}/owners.db --strict", ""),
    ],
)  # fmt: skip
def test_as_real_root(place: Path, engine: str, options: str, pure: str) -> None:
    real, fake = place / "real", place / "fake"
    every = "--strict" in options
    try:
        prepare(real, 0)
        prepare(fake, ANOTHER)
        words = [*REMAINROOT[:-1], engine, *options.format(place).split(), "--"]
        told = printed(fake, *PLACE, *words, every=every, **({"REMAINROOT_PURE": pure} if pure else {}))
        assert told == printed(real, every=every)
        assert (fake / "file").stat().st_mtime == OLD
    finally:
        subprocess.run(["chattr", "-i", *place.glob("*/immutable")], check=True)


@pytest.mark.parametrize(
    ("engine", "pure", "options"), in_turn(*product("01", ([], ["--store", "memory"], ["--store", "xattr"])))
)
def test_a_users_new_file_has_the_ctime_of_its_birth(
    tmp_path: Path, engine: str, pure: str, options: list[str]
) -> None:
    """But where the clock has ticked between, every 4 ms: so of one in so many."""
    command = [str(program(FIXTURES / "new_files.c")), str(tmp_path), "100"]
    pures = {**environment(), "REMAINROOT_PURE": pure}
    done = remainroot("--engine", engine, *options, "--", *command, env=pures)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 10
