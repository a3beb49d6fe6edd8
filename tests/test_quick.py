# SPDX-License-Identifier: GPL-2.0-or-later
"""The compiled loop: which calls it answers by itself, and that nobody can tell whether it is there."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remainroot import handlers, kernel, quick
from remainroot.credentials import ROOT
from remainroot.dispatch import SYSCALLS, build_table
from remainroot.engines.filter import RET_USER_NOTIF, program
from remainroot.settings import Settings
from remainroot.store.base import Owner
from remainroot.store.memory import MemoryStore
from remainroot.tasks import State
from remainroot.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

assert handlers.__all__  # its import declares the syscalls
TOP = Path(__file__).parent.parent
MARK = "setgroups"
"""A call that is always handed over: its number tells which step begins."""
pytestmark = pytest.mark.skipif(kernel.compiled is None, reason="there is no compiled half, or REMAINROOT_PURE is set")

libc = ctypes.CDLL(None, use_errno=True)


class Bench:
    """A child that does one step after the other, and what of it the loop hands over."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.names = {row.nr: row.name for row in build_table()[0xC000003E].values()}

    def run(self, *steps: Callable[[], object]) -> list[list[str]]:
        """The names of the calls handed over, for each step; each is then let through, but for marks."""
        told, tell = os.pipe()
        code = program(RET_USER_NOTIF)
        pid = os.fork()
        if pid == 0:
            self._child(code, tell, steps)
        pidfd = os.pidfd_open(pid)
        try:
            listener = kernel.pidfd_getfd(pidfd, int(os.read(told, 16)))
            loop = quick.Loop(self.world, listener, build_table())
            found: list[list[str]] = []
            flags, current = 1, 0
            while True:
                call = loop.exchange(current, 0, 0, flags, -1)
                assert call is not None
                current, tid, _, nr, args = call
                assert tid == pid
                flags = 1
                if self.names[nr] == MARK:
                    flags = 0
                    if args[0] >= len(steps):
                        break
                    found.append([])
                else:
                    found[-1].append(self.names[nr])
                loop.refresh()
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            for fd in (told, tell, pidfd):
                os.close(fd)
        os.close(listener)
        return found

    @staticmethod
    def _child(code: bytes, tell: int, steps: tuple[Callable[[], object], ...]) -> None:
        try:
            os.write(tell, b"%d" % kernel.load_filter(code, kernel.SECCOMP_FILTER_FLAG_NEW_LISTENER))
            for number, step in enumerate(steps):
                libc.syscall(116, number, None)
                try:
                    step()
                except OSError:
                    pass
            libc.syscall(116, len(steps), None)
        finally:
            os._exit(1)


@pytest.fixture
def bench() -> Bench:
    return Bench(World(Settings(), MemoryStore()))


def override(world: World, path: Path, owner: Owner) -> None:
    fd = os.open(path, os.O_PATH)
    world.store.put(fd, os.fstat(fd), owner)
    os.close(fd)


def test_what_needs_no_knowledge_is_not_handed_over(bench: Bench, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    (tmp_path / "link").symlink_to("plain")
    os.chdir(tmp_path)
    fd = os.open(tmp_path, os.O_RDONLY)
    steps = [
        lambda: libc.syscall(102),
        lambda: os.stat(plain),
        lambda: os.lstat("plain"),
        lambda: os.stat("link"),
        lambda: os.stat("plain", dir_fd=fd),
        lambda: os.stat("./link", dir_fd=fd),
        lambda: os.fstat(fd),
        lambda: os.stat(tmp_path / "absent"),
        lambda: os.stat(b"x" * 5000),
        lambda: libc.stat(None, None),
        lambda: os.chmod(plain, 0o600),
        lambda: os.open("new", os.O_CREAT | os.O_WRONLY, 0o644),
        lambda: os.mkdir("directory"),
        lambda: os.symlink("x", "other"),
        lambda: os.chown(plain, 0, 0),
        lambda: os.chown(plain, 0, -1),
        lambda: os.getxattr(plain, "system.posix_acl_access"),
        lambda: os.listxattr(plain),
    ]
    assert bench.run(*steps) == [[] for _ in steps]


def test_what_needs_it_is(bench: Bench, tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.touch()
    other.touch()
    (tmp_path / "link").symlink_to("mine")
    override(bench.world, mine, Owner(42, 43))
    os.chdir(tmp_path)
    fd = os.open(mine, os.O_RDONLY)
    steps = {
        "newfstatat": lambda: os.stat(mine),
        "newfstatat of a relative path": lambda: os.stat("mine"),
        "newfstatat of a link": lambda: os.stat("link"),
        "newfstatat through the kernel": lambda: os.stat(f"/proc/self/fd/{fd}"),
        "newfstatat of procfs": lambda: os.stat("/proc/self/status"),
        "fstat": lambda: libc.syscall(5, fd, ctypes.create_string_buffer(256)),
        "chown": lambda: os.chown(other, 1, 0),
        "fchown": lambda: os.fchown(fd, 0, 0),
        "chmod": lambda: os.chmod(other, 0o4755),
        "getxattr": lambda: os.getxattr(other, "trusted.x"),
        "setxattr": lambda: os.setxattr(other, "user.x", b""),
        "mknod": lambda: os.mknod("node", stat.S_IFCHR | 0o600, os.makedev(1, 3)),
    }
    found = bench.run(*steps.values(), lambda: os.stat(other))
    assert [[name.replace("fchmodat", "chmod").replace("mknodat", "mknod") for name in names] for names in found] == [
        *([name.split()[0]] for name in steps),
        [],
    ]


def test_a_task_that_dropped_its_powers_is_told_its_ids_and_not_let_through(bench: Bench, tmp_path: Path) -> None:
    """The state is read from the task itself, as remainroot.tasks put it there."""
    plain = tmp_path / "plain"
    plain.touch()
    tasks = bench.world.tasks
    state = State(ROOT.setresgid(43, 43, 43).setresuid(42, 42, 42))
    limit = (1 << 62) + 1
    tasks._named.append(state)
    tasks.untouched = False
    read, write = os.pipe()
    found = bench.run(
        lambda: resource.setrlimit(15, (limit, resource.RLIM_INFINITY)),
        lambda: os.stat(plain),
        lambda: os.write(write, repr([libc.syscall(number) for number in (102, 107, 104, 108)]).encode()),
        lambda: os.chmod(plain, 0o600),
        lambda: os.chown(plain, 0, 0),
        lambda: os.mkdir(tmp_path / "directory"),
    )
    assert found[1:] == [[], [], ["chmod"], ["chown"], ["mkdir"]]
    assert os.read(read, 100) == b"[42, 42, 43, 43]"
    os.close(read)
    os.close(write)


def test_group_directories_matter_only_where_they_are(bench: Bench, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o2775)
    override(bench.world, shared, Owner(0, 43))
    assert bench.world.store.group_directories
    found = bench.run(
        lambda: os.mkdir(tmp_path / "one"),
        lambda: os.mkdir(shared / "two"),
        lambda: os.close(os.open(tmp_path / "three", os.O_CREAT, 0o644)),
        lambda: os.close(os.open(shared / "four", os.O_CREAT, 0o644)),
        lambda: os.close(os.open(tmp_path / "five", os.O_CREAT, 0o4755)),
    )
    assert found == [[], ["mkdir"], [], ["openat"], ["openat"]]


def test_a_file_expected_to_be_born_stops_it_all(bench: Bench, tmp_path: Path) -> None:
    bench.world.births.expect(os.getpid(), os.open(tmp_path, os.O_PATH), b"socket", Owner(1, 1))
    assert bench.run(lambda: os.stat(tmp_path), lambda: libc.syscall(102)) == [["newfstatat"], ["getuid"]]


def test_observed_calls_are_all_handed_over() -> None:
    for name in ("trace_calls", "stats"):
        settings = Settings()
        setattr(settings, name, True)
        assert not quick.usable(World(settings, MemoryStore()))


@given(st.sets(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), max_size=600))
def test_keys_never_lack_a_file(files: set[tuple[int, int]]) -> None:
    keys = kernel.compiled.Keys()
    for dev, ino in files:
        keys.add(dev, ino)
        keys.add(dev, ino)
    assert all(keys.may_hold(dev, ino) for dev, ino in files)
    strangers = [(dev, ino ^ 1) for dev, ino in files if (dev, ino ^ 1) not in files]
    assert not any(keys.may_hold(dev, ino) for dev, ino in strangers)


def test_rules_are_of_declared_calls_only() -> None:
    """A rule without a file it may look at, and without powers, would let everything through."""
    for syscall in SYSCALLS.values():
        if syscall.quick is not None:
            fields = syscall.quick._fields
            assert fields[0] >= 0 or fields[1] or fields[2], syscall.name


def test_proc_can_be_unmounted(tmp_path: Path) -> None:
    """The loop keeps directories of /proc open; nobody may notice."""
    inner = f"mount -t proc proc /proc && cd {tmp_path} && ls -l x && stat x && cd / && umount /proc && echo unmounted"
    (tmp_path / "x").mkdir()
    outer = 'mount -t proc proc /proc && exec "$@"'
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", outer, "sh",
         sys.executable, "-m", "remainroot", "--engine", "notify", "--store", "memory", "--", "sh", "-c", inner],
        cwd=TOP, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.endswith("unmounted\n"), done.stderr


@pytest.mark.parametrize("program", ["credfuzz", "filefuzz"])
def test_nobody_can_tell_that_it_is_missing(program: str) -> None:
    """The oracle tests run with the compiled loop; here without."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.oracle", "--engine", "notify", "--program", program, "--seeds", "0:6", "--brief"],
        cwd=TOP, env=os.environ | {"REMAINROOT_PURE": "1"}, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 differences" in done.stdout
