# SPDX-License-Identifier: GPL-2.0-or-later
"""The compiled loop: which calls it answers by itself, and that nobody can tell whether it is there."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remainroot import handlers, kernel, quick
from remainroot import loop as loops
from remainroot.credentials import ROOT, user
from remainroot.dispatch import SYSCALLS, Call, Fail, Return, build_table
from remainroot.engines.filter import RET_USER_NOTIF, program
from remainroot.settings import Settings
from remainroot.store.base import Owner
from remainroot.store.codec import KEEP, encode_resource
from remainroot.store.durable import DurableStore
from remainroot.store.memory import MemoryStore, memory_store
from remainroot.store.xattr import ATTRIBUTES, RESOURCE
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
    """A child that does one step after the other, and what of it the loop hands over.

    What is handed over is let through to the kernel, or (`answers`) answered by its handler.
    """

    def __init__(self, world: World, *, answers: bool = False, interruptible: bool = False) -> None:
        self.world = world
        self.interruptible = interruptible
        self.answers = answers
        self.patience = -1
        self.glances = 0
        """How often the loop came back without a call."""
        self.names = {row.nr: row.name for row in build_table(strict=world.settings.strict)[0xC000003E].values()}

    def run(self, *steps: Callable[[], object]) -> list[list[str]]:
        """The names of the calls handed over, for each step; each is then let through, but for marks."""
        told, tell = os.pipe()
        strict = self.world.settings.strict
        code = program(RET_USER_NOTIF, strict=strict)
        pid = os.fork()
        if pid == 0:
            self._child(code, tell, steps)
        pidfd = os.pidfd_open(pid)
        try:
            listener = kernel.pidfd_getfd(pidfd, int(os.read(told, 16)))
            loop = loops.Loop(self.world, quick.pack_rules(build_table(strict=strict)))
            loop.listen(listener, interruptible=self.interruptible)
            found: list[list[str]] = []
            flags, current, value, error = 1, 0, 0, 0
            while True:
                call = loop.exchange(current, value, error, flags, self.patience)
                if call is None:
                    self.glances += 1
                    current = 0
                    continue
                current, tid, _, nr, args = call
                assert os.path.exists(f"/proc/{pid}/task/{tid}")
                flags, value, error = 1, 0, 0
                if self.names[nr] == MARK:
                    flags = 0
                    if args[0] >= len(steps):
                        break
                    found.append([])
                else:
                    found[-1].append(self.names[nr])
                    if self.answers:
                        flags, value, error = self._answer(tid, nr, args)
                loop.refresh()
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            for fd in (told, tell, pidfd):
                os.close(fd)
        os.close(listener)
        return found

    def _answer(self, tid: int, nr: int, args: tuple[int, ...]) -> tuple[int, int, int]:
        call = Call(self.world)
        call.tid, call.args, row = tid, args, build_table()[0xC000003E][nr]
        call.name, call.short_ids = row.name, row.short_ids
        try:
            outcome = row.handler(call)
        except OSError as error:
            return 0, 0, -(error.errno or errno.EIO)
        if isinstance(outcome, Return):
            return 0, outcome.value, 0
        return (0, 0, -outcome.errno) if isinstance(outcome, Fail) else (1, 0, 0)

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


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test works in its own, and leaves it again."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def bench() -> Bench:
    return Bench(World(Settings(), MemoryStore()))


def override(world: World, path: Path, owner: Owner) -> None:
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    world.store.put(fd, os.fstat(fd), owner)
    os.close(fd)


def test_what_needs_no_knowledge_is_not_handed_over(bench: Bench, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    (tmp_path / "link").symlink_to("plain")
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
        lambda: os.lstat(tmp_path / "absent"),
        lambda: os.stat("./absent/absent", dir_fd=fd),
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
        lambda: os.stat("/proc/filesystems"),
        lambda: os.stat("/proc/sys/kernel"),
        lambda: resource.getrlimit(resource.RLIMIT_AS),
    ]
    assert bench.run(*steps) == [[] for _ in steps]


def test_what_needs_it_is(bench: Bench, tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.touch()
    other.touch()
    (tmp_path / "link").symlink_to("mine")
    (tmp_path / "nowhere").symlink_to("/proc/self/absent")
    override(bench.world, mine, Owner(42, 43))
    fd = os.open(mine, os.O_RDONLY)
    steps = {
        "newfstatat": lambda: os.stat(mine),
        "newfstatat of a relative path": lambda: os.stat("mine"),
        "newfstatat of a link": lambda: os.stat("link"),
        "newfstatat through the kernel": lambda: os.stat(f"/proc/self/fd/{fd}"),
        "newfstatat of procfs": lambda: os.stat("/proc/self/status"),
        "newfstatat of a process": lambda: os.stat("/proc/1"),
        "newfstatat of what procfs has not": lambda: os.lstat("/proc/self/absent"),
        "newfstatat of what is not there through procfs": lambda: os.stat("/proc/self/cwd/absent/absent"),
        "newfstatat of a link to nowhere": lambda: os.stat("./nowhere"),
        "prlimit64 of what is ours": lambda: resource.getrlimit(15),  # RLIMIT_RTTIME
        "prlimit64 to change": lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
        "prlimit64 of another": lambda: resource.prlimit(1, resource.RLIMIT_AS),
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
    limit = tasks.tag + 1
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


def test_the_mode_of_anothers_file_is_handed_over(bench: Bench, tmp_path: Path) -> None:
    """The kernel would refuse to change it, in a user namespace."""
    own, anothers = tmp_path / "own", tmp_path / "another's"
    own.touch()
    anothers.touch()
    os.chown(anothers, 4242, 0)
    fds = [os.open(path, os.O_RDONLY) for path in (own, anothers)]
    found = bench.run(
        lambda: own.chmod(0o600), lambda: anothers.chmod(0o600),
        lambda: os.fchmod(fds[0], 0o600), lambda: os.fchmod(fds[1], 0o600),
    )  # fmt: skip
    assert [[name.replace("fchmodat", "chmod") for name in names] for names in found] == [[], ["chmod"], [], ["fchmod"]]
    for fd in fds:
        os.close(fd)


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


@pytest.fixture
def table() -> Bench:
    return Bench(World(Settings(), memory_store()))


def written(*paths: str | Path | int) -> tuple[Callable[[], object], Callable[[], list[tuple[int, ...]]]]:
    """A step that looks at the files in every way and writes down what it saw, and a function that reads that."""
    read, write = os.pipe()

    def look() -> None:
        for path in paths:
            for seen in (os.stat(path), *([] if isinstance(path, int) else [os.lstat(path)]), statx(path)):
                os.write(write, b" ".join(b"%d" % value for value in (*seen[:7], seen.st_rdev)) + b"\n")

    return look, lambda: [tuple(map(int, line.split())) for line in os.read(read, 65536).splitlines()]


def statx(path: str | Path | int) -> os.stat_result:
    """os.stat by statx(2)."""
    raw = ctypes.create_string_buffer(256)
    name, fd = (b"", path) if isinstance(path, int) else (os.fsencode(path), -100)
    assert libc.syscall(332, fd, name, 0x1000 if isinstance(path, int) else 0, 0x7FF, raw) == 0
    links, uid, gid, mode = struct.unpack_from("=IIIH", raw, 16)
    ino, size = struct.unpack_from("=QQ", raw, 32)
    rdev, dev = (os.makedev(*struct.unpack_from("=II", raw, at)) for at in (128, 136))
    return os.stat_result((mode, ino, dev, links, uid, gid, size, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, rdev))


def all_of_statx(path: Path, mask: int) -> bytes:
    """What statx(2) writes, of the link itself if it is one."""
    raw = ctypes.create_string_buffer(256)
    assert libc.syscall(332, -100, os.fsencode(path), 0x100, mask, raw) == 0
    return raw.raw


def test_an_owner_in_a_table_is_shown_without_us(table: Bench, tmp_path: Path) -> None:
    owned, device, other = tmp_path / "owned", tmp_path / "device", tmp_path / "other"
    for path in (owned, device, other):
        path.write_text(path.name)
    (tmp_path / "link").symlink_to("owned")
    override(table.world, owned, Owner(42, 43))
    override(table.world, device, Owner(0, 6, stat.S_IFBLK | 0o640, os.makedev(8, 1)))
    override(table.world, other, Owner(1, 2, stat.S_IFREG | 0o4755))
    fd = os.open(owned, os.O_RDONLY)
    look, seen = written(owned, "owned", device, "other", fd)
    assert table.run(look) == [[]]
    truth = {path: os.lstat(path) for path in (owned, device, other)}

    def line(path: Path, uid: int, gid: int, mode: int, rdev: int) -> tuple[int, ...]:
        st = truth[path]
        return (mode, st.st_ino, st.st_dev, st.st_nlink, uid, gid, st.st_size, rdev)

    mine = line(owned, 42, 43, truth[owned].st_mode, 0)
    block = line(device, 0, 6, stat.S_IFBLK | 0o640, os.makedev(8, 1))
    assert seen() == [mine] * 6 + [block] * 3 + [line(other, 1, 2, stat.S_IFREG | 0o4755, 0)] * 3 + [mine] * 2


def test_all_of_stat_is_as_the_kernel_has_it(table: Bench, tmp_path: Path) -> None:
    """The loop makes struct stat, and mostly struct statx, of what statx(2) has told it, but for the owner."""
    kinds = [tmp_path / name for name in ("file", "directory", "link", "fifo", "sparse")]
    kinds[0].write_bytes(b"x" * 70_001)
    kinds[1].mkdir(mode=0o751)
    kinds[2].symlink_to("nowhere")
    os.mkfifo(kinds[3], 0o640)
    with open(kinds[4], "wb") as file:
        file.truncate(1 << 41)
    os.utime(kinds[0], ns=(1_000_000_007, -5_000_000_011))
    os.link(kinds[0], tmp_path / "second")
    for path in kinds:
        override(table.world, path, Owner(70_000, 43))
    places = [*kinds, Path("/dev/shm") / f"remainroot-stat-{os.getpid()}"]
    places[-1].touch()
    override(table.world, places[-1], Owner(70_000, 43))
    read, write = os.pipe()

    masks = [0x7FF, 0x7FF, 0x7FF, 0xFFF, 0x47FF, 0x218, 0]

    def look(path: Path) -> None:
        raw = ctypes.create_string_buffer(144)
        assert libc.syscall(262, -100, os.fsencode(path), raw, 0x100) == 0
        os.write(write, raw.raw)

    def look_again(path: Path) -> None:
        os.write(write, b"".join(all_of_statx(path, mask) for mask in masks))

    try:
        assert table.run(*(partial(look, path) for path in places)) == [[]] * len(places)
        for path in places:
            fd = os.open(path, os.O_PATH | os.O_NOFOLLOW)
            expected = bytearray(kernel.raw_stat(fd))
            os.close(fd)
            struct.pack_into("=II", expected, 28, 70_000, 43)
            assert os.read(read, 144) == bytes(expected), path
        assert table.run(*(partial(look_again, path) for path in places)) == [[]] * len(places)
        for path in places:
            told = [bytearray(all_of_statx(path, mask)) for mask in masks]
            assert told[0] != told[4], "the mount's number does not show"
            for raw in told:
                struct.pack_into("=II", raw, 20, 70_000, 43)
            assert os.read(read, 256 * len(masks)) == b"".join(told), path
    finally:
        places[-1].unlink()


def test_devices_are_made_without_us(table: Bench, tmp_path: Path) -> None:
    """Once the first is recorded; not where anything is out of the ordinary, nor where something is in the way."""
    for name in ("plain", "shared", "listed", "given"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("plain")
    (tmp_path / "plain/taken").touch()
    (tmp_path / "shared").chmod(0o2755)
    subprocess.run(["setfacl", "-d", "-m", "u:7:rw", tmp_path / "listed"], check=True)
    override(table.world, tmp_path / "given", Owner(0, 43))
    plain = os.open("plain", os.O_RDONLY)
    block, character, device = stat.S_IFBLK, stat.S_IFCHR, os.makedev(0x345, 0x1_2345)

    def under(mask: int, name: str, kind: int, mode: int) -> None:
        previous = os.umask(mask)
        os.mknod(name, kind | mode, device)
        os.umask(previous)

    look, seen = written("plain/1", "plain/2", "plain/3", "given/5")
    assert table.run(lambda: os.mknod(tmp_path / "first", block | 0o600, device)) == [["mknodat"]]
    table.world.readable_nodes = True
    override(table.world, tmp_path / "plain/taken", Owner(0, 0, block | 0o600, device))
    found = table.run(
        lambda: under(0o022, f"{tmp_path}/plain/1", block, 0o666),
        lambda: under(0o077, "link/2", character, 0o1777),
        lambda: os.mknod("3", character | 0o640, device, dir_fd=plain),
        lambda: libc.syscall(133, b"given/5", block | 0o600, 0x1_0000_0000 | 0x801),
        look,
        lambda: os.mknod("shared/6", block, device),
        lambda: os.mknod("listed/7", block, device),
        lambda: os.mknod("plain/8", block | 0o4600, device),
        lambda: os.mknod("plain/taken", block, device),
        lambda: os.mknod("plain/absent/9", block, device),
        lambda: os.mknod("plain/10/", block, device),
        lambda: os.mknod("/proc/11", block, device),
        lambda: os.mknod("x" * 256, block, device),
        lambda: os.mknod("plain/12", stat.S_IFIFO | 0o600),
        lambda: os.mknod("plain/13", character | 0o600, 0),
    )
    assert found[:5] == [[]] * 5
    assert found[5:13] == [["mknodat"]] * 8
    assert found[13:] == [[], ["mknodat"]]
    assert [(line[0], *line[4:6], line[7]) for line in seen()[::3]] == [
        (block | 0o644, 0, 0, device),
        (character | 0o1700, 0, 0, device),
        (character | 0o640, 0, 0, device),
        (block | 0o600, 0, 0, os.makedev(8, 1)),
    ]
    assert [oct(os.lstat(tmp_path / "plain" / name).st_mode) for name in "123"] == ["0o100644", "0o101700", "0o100640"]


def test_ids_that_are_not_mapped_are_shown_as_root_s_without_us(table: Bench, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    os.chown(path, 12345, 12346)
    table.world._hidden_uid, table.world._hidden_gid = 12345, 12346
    look, seen = written(path)
    assert table.run(look) == [[]]
    assert [line[4:6] for line in seen()] == [(0, 0)] * 3


def test_programs_of_ids_that_are_not_mapped_are_executed_without_us(table: Bench, tmp_path: Path) -> None:
    """A plain user's own machine: all programs are nobody's there."""
    path = tmp_path / "program"
    path.write_bytes(Path("/bin/true").read_bytes())
    path.chmod(0o755)
    os.chown(path, 12345, 12346)
    table.world._hidden_uid, table.world._hidden_gid = 12345, 12346

    def execute() -> None:
        if os.fork() == 0:
            os.execv(path, ["program"])
        assert os.wait()[1] == 0
        os.mkdir("run")

    asked = (execute, lambda: os.getxattr(path, "user.x"), lambda: os.listxattr(path))
    assert table.run(*asked) == [[]] * 3
    assert (tmp_path / "run").is_dir()


def test_a_file_with_a_known_number_is_not_taken_for_the_known(table: Bench, tmp_path: Path) -> None:
    """The table has an owner for the number; the file's handle says that it was another's."""
    path = tmp_path / "file"
    path.touch()
    st = path.stat()
    override(table.world, path, Owner(42, 43))
    assert table.world.store.table is not None
    table.world.store.table.put(st.st_dev, st.st_ino, b"the identity of another", 42, 43, 0, 0)
    found = table.run(lambda: os.stat(path), lambda: os.chown(path, 1, 1))
    assert found == [["newfstatat"], ["chown"]]


def test_files_are_given_away_without_us(table: Bench, tmp_path: Path) -> None:
    """Once the first is recorded; not directories to a group, files with set-id bits, descriptors that only name."""
    names = ["first", "second", "third", "set-id", "directory"]
    for name in names[:-1]:
        (tmp_path / name).touch()
    (tmp_path / "directory").mkdir()
    (tmp_path / "set-id").chmod(0o4755)
    (tmp_path / "link").symlink_to("third")
    override(table.world, tmp_path / "first", Owner(1, 1))
    second = os.open("second", os.O_RDONLY)
    only = os.open("second", os.O_PATH)
    look, seen = written("first", "second", "third")
    found = table.run(
        lambda: os.chown("first", 42, -1),
        lambda: os.fchown(second, 7, 8),
        lambda: os.chown("link", 3, 4),
        lambda: os.chown("link", 5, 6, follow_symlinks=False),
        look,
        lambda: os.chown("first", 0, 0),
        lambda: os.chown("set-id", 1, 1),
        lambda: os.fchown(only, 1, 1),
        lambda: os.chown("directory", 1, 1),
    )
    assert found == [[], [], [], [], [], [], ["chown"], ["fchown"], ["chown"]]
    assert [line[4:6] for line in seen()] == [(42, 1)] * 3 + [(7, 8)] * 3 + [(3, 4)] * 3
    assert table.world.store.table is not None
    assert len(table.world.store.table) == 3  # not first, which is root's again


def drop(world: World, *, uid: int = 33) -> None:
    """The children to come are this user's."""
    world.tasks.untouched = False
    resource.setrlimit(15, (world.tasks.tag + world.tasks._number(State(user(uid, uid, ()))), resource.RLIM_INFINITY))


@pytest.mark.parametrize("patience", [-1, 1000])
def test_it_answers_while_something_else_is_waited_for_and_looks_at_that_in_between(
    bench: Bench, patience: int, tmp_path: Path
) -> None:
    bench.patience = patience
    steps = (lambda: [os.stat(tmp_path) for _ in range(2000)], lambda: os.chown(tmp_path, 1, 1))
    assert bench.run(*steps) == [[], ["chown"]]
    assert (bench.glances > 1) == (patience > 0)


@pytest.mark.parametrize(
    ("strict", "known", "alike"), [(False, True, True), (True, True, False), (False, False, False)]
)
@pytest.mark.usefixtures("plain_again")
def test_who_asks_does_not_matter_where_all_may(strict: bool, known: bool, alike: bool, tmp_path: Path) -> None:
    """Under --strict it does, and where a process has threads that differ: their state has no number of its own."""
    settings = Settings()
    settings.strict = strict
    world = World(settings, MemoryStore())
    drop(world)
    if not known:
        named: list[Any] = world.tasks._named
        named[-1] = object()
    asked = [lambda: os.stat(tmp_path), lambda: os.lstat(tmp_path), lambda: os.getxattr(tmp_path, "user.a")]
    assert [not names for names in Bench(world).run(*asked)] == [alike] * len(asked)


@pytest.mark.parametrize("kind", ["table", "carried"])
def test_users_open_what_is_there_without_us(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """But files whose set-id bits the store keeps: a user's write is to end them."""
    bench: Bench = request.getfixturevalue(kind)
    request.getfixturevalue("plain_again")
    for name in ("plain", "owned", "set-id", "link-target"):
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("link-target")
    (tmp_path / "dangling").symlink_to("absent")
    override(bench.world, tmp_path / "owned", Owner(33, 33))
    override(bench.world, tmp_path / "set-id", Owner(33, 33, stat.S_IFREG | 0o4755))
    drop(bench.world)
    quiet = [
        lambda: os.open("plain", os.O_RDWR),
        lambda: os.open("owned", os.O_WRONLY | os.O_TRUNC),
        lambda: os.open(tmp_path / "link", os.O_RDWR),
        lambda: os.open("absent", os.O_WRONLY),
        lambda: libc.open(b"plain", os.O_RDWR, 0o4755),
    ]
    heard = [
        lambda: os.open("set-id", os.O_RDWR),
        lambda: os.open("set-id", os.O_RDONLY | os.O_TRUNC),
        lambda: os.open("plain", os.O_RDONLY | os.O_NOATIME),
        lambda: os.open("plain", os.O_RDWR | os.O_CREAT),
        lambda: os.open("dangling", os.O_RDWR),
        lambda: os.open("/proc/self/comm", os.O_WRONLY),
    ]
    assert bench.run(*quiet, *heard) == [[]] * len(quiet) + [["openat"]] * len(heard)


def test_root_opens_what_is_surely_no_device_without_us(carried: Bench, tmp_path: Path) -> None:
    """Where there may be device nodes of earlier runs; in another store than the file's own a mode may be one's."""
    for name in ("plain", "set-id"):
        (tmp_path / name).touch()
    override(carried.world, tmp_path / "set-id", Owner(33, 33, stat.S_IFREG | 0o4755))
    carried.world.tasks.untouched = False
    opens = [lambda name=name: os.open(tmp_path / name, os.O_RDWR) for name in ("plain", "absent", "set-id")]
    assert carried.run(*opens) == [[], [], ["openat"]]


def test_own_descriptors_by_their_names_in_proc(bench: Bench, tmp_path: Path) -> None:
    """How libraries change the mode of what may be a link: chmod("/proc/self/fd/N")."""
    plain, owned = tmp_path / "plain", tmp_path / "owned"
    plain.touch()
    owned.touch()
    override(bench.world, owned, Owner(42, 43))
    first, second = os.open(plain, os.O_PATH), os.open(owned, os.O_PATH)

    def in_thread() -> None:
        thread = threading.Thread(target=os.stat, args=(f"/proc/self/fd/{first}",))
        thread.start()
        thread.join()

    found = bench.run(
        lambda: os.chmod(f"/proc/self/fd/{first}", 0o600),
        lambda: os.stat(f"/proc/self/fd/{first}"),
        lambda: os.stat("/proc/self/fd/999"),
        lambda: os.stat(f"/proc/self/fd/{second}"),
        lambda: os.stat("/proc/self/fd/1x"),
        in_thread,
    )
    assert found == [[], [], [], ["newfstatat"], ["newfstatat"], ["newfstatat"]]
    assert stat.S_IMODE(plain.stat().st_mode) == 0o600


def test_connections_of_plain_root_are_not_noted(bench: Bench, plain_again: None) -> None:
    del plain_again
    steps: list[Callable[[], object]] = [
        socket.socketpair,
        lambda: socket.socket(socket.AF_UNIX).connect("/nowhere"),
    ]
    bench.world.tasks.untouched = False
    assert bench.run(*steps) == [[], []]
    drop(bench.world)
    assert bench.run(*steps) == [["socketpair"], ["connect"]]


@pytest.fixture
def carried(tmp_path: Path) -> Bench:
    return Bench(World(Settings(), DurableStore(f"{tmp_path}/owners.db")))


def test_owners_on_the_files_are_shown_without_us(carried: Bench, tmp_path: Path) -> None:
    """But for what override_stat says, and for files that carry attributes of CMD's."""
    names = ["plain", "owned", "user", "group", "nobody", "whole", "flagged", "broken", "other"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("owned")
    (tmp_path / "directory").mkdir()
    for name, owner in {
        "owned": Owner(42, 43), "user": Owner(42, 0), "group": Owner(0, 1 << 31), "directory": Owner(1, 1),
        "whole": Owner(1, 2, stat.S_IFREG | 0o4755), "flagged": Owner(5, 6),
    }.items():  # fmt: skip
        override(carried.world, tmp_path / name, owner)
    os.setxattr(tmp_path / "flagged", f"{ATTRIBUTES}trusted.x", b"")
    os.setxattr(tmp_path / "broken", RESOURCE, b"\x08")
    os.setxattr(tmp_path / "nobody", RESOURCE, encode_resource(KEEP, 7))
    os.setxattr(tmp_path / "other", RESOURCE, b"\x1d....")  # a field that nobody has defined
    os.chown(tmp_path / "other", 33, 33)
    fd = os.open("owned", os.O_RDONLY)
    look, seen = written("plain", "owned", "user", "group", "nobody", "directory", fd)
    found = carried.run(
        look, lambda: os.stat("link"), lambda: os.lstat("link"), *(partial(os.stat, name) for name in names[-4:])
    )
    assert found == [[], []] + [["newfstatat"]] * 5
    ids = [(0, 0), (42, 43), (42, 0), (0, 1 << 31), (0, 7), (1, 1)]
    assert [line[4:6] for line in seen()] == [pair for pair in ids for _ in range(3)] + [(42, 43)] * 2


def test_files_carry_new_owners_without_us(carried: Bench, tmp_path: Path) -> None:
    names = ["first", "second", "third", "set-id", "whole", "flagged", "other"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "directory").mkdir()
    (tmp_path / "set-id").chmod(0o4755)
    (tmp_path / "link").symlink_to("third")
    override(carried.world, tmp_path / "first", Owner(1, 1))
    override(carried.world, tmp_path / "whole", Owner(1, 2, stat.S_IFREG | 0o600))
    os.setxattr(tmp_path / "flagged", f"{ATTRIBUTES}trusted.x", b"")
    os.chown(tmp_path / "other", 33, 33)
    second = os.open("second", os.O_RDONLY)
    found = carried.run(
        lambda: os.chown("first", 42, -1),
        lambda: os.fchown(second, 7, 70_000),
        lambda: os.chown("link", 3, 0),
        lambda: os.chown("directory", 0, 300),
        *(partial(os.chown, name, 1, 1) for name in names[3:]),
        lambda: os.chown("link", 5, 6, follow_symlinks=False),
    )
    assert found == [[], [], [], []] + [["chown"]] * 4 + [["lchown"]]
    store = carried.world.store

    def owner(name: str) -> Owner | None:
        fd = os.open(name, os.O_PATH)
        try:
            return store.get(fd, os.fstat(fd))
        finally:
            os.close(fd)

    got = [owner(name) for name in ("first", "second", "third", "directory")]
    assert got == [Owner(42, 1), Owner(7, 70_000), Owner(3, 0), Owner(0, 300)]
    assert os.getxattr("second", RESOURCE) == encode_resource(7, 70_000)
    assert carried.run(lambda: os.chown("first", 0, 0)) == [[]]
    assert os.listxattr("first") == []


def test_attributes_that_are_written_otherwise_are_read_only(tmp_path: Path) -> None:
    other = Bench(World(Settings(), DurableStore(f"{tmp_path}/owners.db", "containers")))
    path = tmp_path / "file"
    path.touch()
    assert other.run(lambda: os.stat(path), lambda: os.chown(path, 1, 1)) == [[], ["chown"]]


@pytest.mark.parametrize("interruptible", [False, True])
def test_a_handler_that_interrupted_nothing_of_ours_returns_without_us(interruptible: bool) -> None:
    """Where signals interrupt only calls that have not been received, not even a frame with EINTR is looked at."""
    bench = Bench(World(Settings(), MemoryStore()), interruptible=interruptible)
    signal.signal(signal.SIGUSR1, lambda *_: None)

    def interrupted() -> None:
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
        select.select([], [], [], 0.1)

    found = bench.run(lambda: os.kill(os.getpid(), signal.SIGUSR1), interrupted)
    assert found == [["kill"], ["rt_sigreturn"] if interruptible else []]


def setresuid(*ids: int) -> Callable[[], object]:
    return lambda: libc.syscall(117, *ids)


def test_a_change_of_ids_is_asked_for_once(table: Bench) -> None:
    """The same call by equal states goes the same way; not the first, which makes the task undumpable."""
    table.answers = True
    read, write = os.pipe()

    def ids() -> None:
        result = libc.syscall(105, 0), ctypes.get_errno()
        os.write(write, repr((result, [libc.syscall(number) for number in (102, 107)])).encode() + b"\n")

    found = table.run(
        setresuid(42, 43, 0), setresuid(0, 0, 0), setresuid(42, 43, 0), setresuid(0, 0, 0), setresuid(42, 43, 0),
        lambda: libc.syscall(105, 1), lambda: libc.syscall(105, 1), lambda: os.write(write, b"%d" % ctypes.get_errno()),
        setresuid(-1, 0, -1), setresuid(-1, 0, -1), ids,
    )  # fmt: skip
    asked = ["setresuid"]
    assert found == [asked, asked, asked, [], [], ["setuid"], [], [], asked, asked, ["setuid"]]
    assert os.read(read, 200) == b"%d((0, 1), [0, 0])\n" % errno.EPERM


def test_a_change_of_one_thread_is_not_answered_as_that_of_a_process(table: Bench) -> None:
    table.answers = True
    stay = threading.Event()

    def with_a_thread() -> None:
        threading.Thread(target=stay.wait, daemon=True).start()
        libc.syscall(117, 42, 43, 0)

    once = (setresuid(42, 43, 0), setresuid(0, 0, 0))
    found = table.run(*once, *once, with_a_thread)
    assert found[:4] == [["setresuid"]] * 3 + [[]]
    assert found[4][-1] == "setresuid"


def test_a_file_expected_to_be_born_stops_it_all(bench: Bench, tmp_path: Path) -> None:
    bench.world.births.expect(os.getpid(), os.open(tmp_path, os.O_PATH), b"socket", Owner(1, 1))
    assert bench.run(lambda: os.stat(tmp_path), lambda: libc.syscall(102)) == [["newfstatat"], ["getuid"]]


def test_observed_calls_are_all_handed_over() -> None:
    for name in ("trace_calls", "stats"):
        settings = Settings()
        setattr(settings, name, True)
        assert not loops.usable(World(settings, MemoryStore()))


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
            changes = syscall.quick._answer[-2]
            assert fields[0] >= 0 or fields[1] or fields[2] or changes or syscall.quick._results, syscall.name


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
