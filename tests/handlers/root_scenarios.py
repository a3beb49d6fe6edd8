# SPDX-License-Identifier: GPL-2.0-or-later
"""What real root sees: each function prints it, run once as real root and once under the shim.

python3 root_scenarios.py NAME
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import functools
import os
import random
import resource
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIBC = ctypes.CDLL(None, use_errno=True)
SO_PEERGROUPS = 59
SCM_CREDENTIALS = 2
UCRED = struct.Struct("=iII")


def drop(uid: int, gid: int, groups: tuple[int, ...] = ()) -> None:
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def attempt(what: str, call: Callable[[], object]) -> None:
    """Print the call's result, or its errno."""
    try:
        print(what, call())
    except OSError as error:
        print(what, errno.errorcode[error.errno or 0])


def in_child(body: Callable[[], None]) -> int:
    """Run `body` in a child, printing what it prints; its status."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            body()
            status = 0
        finally:
            sys.stdout.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# ---------------------------------------------------------------- what a change of ids ends

PR_SET_PDEATHSIG, PR_GET_PDEATHSIG = 1, 2
_SETRESUID = 117


def death_signal() -> int:
    number = ctypes.c_int(-1)
    LIBC.prctl(PR_GET_PDEATHSIG, ctypes.byref(number), 0, 0, 0)
    return number.value


def parent_death() -> None:
    """prctl(2), PR_SET_PDEATHSIG: cleared when the task acts as another, and in a child."""

    def after(what: str, change: Callable[[], object]) -> None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGUSR1, 0, 0, 0)
        attempt(what, change)
        print(what, death_signal(), os.getresuid(), os.getresgid())

    def body() -> None:
        for number in (signal.SIGTERM, 0, 65, 64):
            print(number, LIBC.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0), death_signal())
        after("nothing", lambda: os.setresuid(-1, 0, -1))
        after("groups", lambda: os.setgroups([5, 6]))
        after("saved", lambda: os.setresgid(-1, -1, 7))
        after("group", lambda: os.setegid(7))
        after("file systems' id", lambda: LIBC.setfsuid(33))
        after("and back", lambda: LIBC.setfsuid(0))
        after("child", lambda: in_child(lambda: print(death_signal())))
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGUSR1, 0, 0, 0)
        sys.stdout.flush()
        print(os.spawnlp(os.P_WAIT, "sh", "sh", "-c", "exec true"), death_signal())
        after("user", lambda: os.seteuid(1000))
        after("refused", lambda: os.setuid(7))
        after("root", lambda: os.seteuid(0))
        thread = threading.Thread(target=lambda: after("thread", lambda: LIBC.syscall(_SETRESUID, -1, 5, -1)))
        thread.start()
        thread.join()
        while len(os.listdir("/proc/self/task")) > 1:  # glibc aborts where it must change one that may not be changed
            time.sleep(0.001)
        print("first thread", death_signal(), os.getresuid())
        after("for good", lambda: drop(1000, 1000))
        after("again", lambda: os.setuid(1000))

    in_child(body)


def orphans_of_users() -> None:
    """Whom the end of a parent kills: not who has become another since asking for it."""

    def parent() -> None:
        waits, ready = os.pipe()
        for becomes in (0, 1000):
            if os.fork() == 0:
                LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                os.setuid(becomes)
                os.close(ready)
                os.read(ends, 1)
                os.write(told, b"%d lives " % becomes)
                os._exit(0)
        os.close(ready)
        os.read(waits, 1)  # until both are what they want to be

    (ends, end), (tells, told) = os.pipe(), os.pipe()
    in_child(parent)
    os.close(told)
    os.write(end, b"..")
    print(b"".join(iter(lambda: os.read(tells, 100), b"")))


# ---------------------------------------------------------------- files that only the kernel can make


def shown(path: str) -> str:
    st = os.lstat(path)
    return f"{path} {st.st_mode:o} {st.st_uid}:{st.st_gid} {st.st_rdev}"


_TMPFILE = os.O_TMPFILE & ~os.O_DIRECTORY


def open_restricted(path: str, flags: int, resolve: int, dirfd: int = -100) -> int:
    """openat2(2)."""
    how = struct.pack("=QQQ", flags, 0o640 if flags & (os.O_CREAT | _TMPFILE) else 0, resolve)
    fd: int = LIBC.syscall(437, dirfd, os.fsencode(path), how, len(how))
    if fd < 0:
        raise OSError(ctypes.get_errno(), "")
    return fd


def restricted_opens() -> None:
    """New files of openat2 with RESOLVE_*: whose they are, be they asked for by path or by descriptor."""
    write, new = os.O_RDWR | os.O_CREAT, os.O_RDWR | os.O_CREAT | os.O_EXCL
    no_xdev, no_magiclinks, no_symlinks, beneath, in_root, cached = 1, 2, 4, 8, 16, 32
    os.umask(0o022)
    os.mkdir("d")
    os.chmod("d", 0o777)
    os.mkdir("g")
    os.chown("g", 0, 55)
    os.chmod("g", 0o2777)
    os.symlink("d/behind", "link")
    os.symlink("/inside", "d/absolute")
    os.symlink("g", "to-g")
    top = os.open(".", os.O_RDONLY)

    def make(path: str, flags: int, resolve: int, dirfd: int = -100) -> None:
        def act() -> str:
            fd = open_restricted(path, flags, resolve, dirfd)
            st = os.fstat(fd)
            os.close(fd)
            return f"{st.st_uid}:{st.st_gid} {st.st_mode:o}"

        attempt(f"{path.removeprefix(os.getcwd())} {flags:o} {resolve}", act)

    def work(uid: int, gid: int) -> None:
        drop(uid, gid, (55,))
        for number, resolve in enumerate((no_xdev, no_magiclinks, no_symlinks, beneath, in_root, cached)):
            make(f"d/{os.geteuid()}-{number}", write, resolve)
            make(f"g/{os.geteuid()}-{number}", new, resolve)
            make(f"d/{os.geteuid()}-{number}", new, resolve)
            make(f"/d/{os.geteuid()}-in-{number}", write, resolve, top)
        make("link", write, no_symlinks)
        make("link", new, beneath)
        make("link", write, beneath)
        make("d/absolute", write, beneath)
        make("nowhere/x", write, beneath)
        make("../up", write, beneath)
        nameless = os.O_RDWR | os.O_TMPFILE
        for resolve in (0, no_xdev, no_magiclinks, no_symlinks, beneath, in_root, cached, beneath | no_symlinks):
            for path in ("d", "g", "to-g", "absent", "link", "..", os.getcwd() + "/g"):
                make(path, nameless, resolve)
            make("/g", nameless, resolve, top)
        make("d", nameless, beneath | in_root)
        make("d", os.O_TMPFILE, beneath)
        os.umask(0o077)
        make(f"d/{os.geteuid()}-umask", write, beneath)

    for ids in ((42, 43), (0, 44), (1000, 1000)):
        in_child(functools.partial(work, *ids))
        if os.path.lexists("d/behind"):
            os.unlink("d/behind")
    for place in ("d", "g", "."):
        for name in sorted(os.listdir(place)):
            print(shown(f"{place}/{name}"))


def whiteouts() -> None:
    """What renameat2 with RENAME_WHITEOUT leaves behind."""
    whiteout, no_replace, exchange = 4, 1, 2
    os.mkdir("d")
    os.chmod("d", 0o777)
    os.mkdir("g")
    os.chown("g", 0, 55)
    os.chmod("g", 0o2777)

    def rename(old: str, new: str, flags: int) -> None:
        result = LIBC.syscall(316, -100, os.fsencode(old), -100, os.fsencode(new), flags)
        print(old, new, flags, errno.errorcode[ctypes.get_errno()] if result else "done")

    def work(ids: tuple[int, int]) -> None:
        drop(*ids)
        for place in ("d", "g"):
            name = f"{place}/{ids[0]}-{ids[1]}"
            open(name, "w").close()
            rename(name, f"{name}-moved", whiteout)
            print(shown(name), shown(f"{name}-moved"))
            rename(f"{name}-moved", f"{name}-more", whiteout | no_replace)
            rename(f"{name}-more", name, whiteout | exchange)
            rename(f"{name}-more", name, whiteout | no_replace)
            rename(f"{name}-more", name, whiteout)
            rename(f"{name}-none", name, whiteout)
            open(f"{name}-none", "w").close()
            print(shown(f"{name}-none"))

    for ids in ((0, 0), (42, 43), (0, 44), (1000, 1000)):
        in_child(functools.partial(work, ids))
    for place in ("d", "g"):
        for name in sorted(os.listdir(place)):
            print(shown(f"{place}/{name}"))


def outsiders_writing() -> None:
    """Which set-id bits a file loses when somebody writes who is, or is not, in its group."""

    def append(path: str) -> None:
        with open(path, "ab") as file:
            file.write(b"x")

    ways = (append, functools.partial(os.truncate, length=3))

    def give(ids: tuple[int, int, int], mode: int) -> None:
        if ids[2]:  # the owner, not root, gives it the bits
            drop(ids[0], ids[1])
        os.chmod("file", mode)

    def write(way: Callable[[str], None], who: tuple[int, int, tuple[int, ...]]) -> None:
        os.setgroups(who[2])
        os.setresgid(who[1], who[1], who[1])
        os.setresuid(who[0], who[0], who[0])
        way("file")

    def work(ids: tuple[int, int, int], who: tuple[int, int, tuple[int, ...]]) -> None:
        for way in ways:
            for mode in (0o6666, 0o2666, 0o2766, 0o2767, 0o4666, 0o6777, 0o2676):
                with open("file", "wb") as file:
                    file.write(b"a" * 9)
                os.chown("file", ids[0], ids[1])
                in_child(functools.partial(give, ids, mode))
                in_child(functools.partial(write, way, who))
                print(ids, who, oct(mode), shown("file"))
                os.unlink("file")

    os.umask(0)
    for ids in ((0, 0, 0), (42, 43, 0), (42, 0, 0), (42, 43, 1)):
        for who in ((42, 43, ()), (42, 1, ()), (7, 43, ()), (7, 8, (43,)), (7, 8, ()), (0, 0, ())):
            work(ids, who)


def mounts_with_owners() -> None:
    """File systems in memory whose options say whose they are."""
    assert LIBC.unshare(0x20000) == 0  # CLONE_NEWNS
    assert LIBC.mount(None, b"/", None, ctypes.c_ulong(1 << 18 | 0x4000), None) == 0
    os.mkdir("t")
    for kind, options in (
        (b"tmpfs", b"mode=700,uid=5,gid=6"), (b"tmpfs", b"uid=1000"), (b"tmpfs", b"gid=44,size=1m"),
        (b"tmpfs", b"uid=010"), (b"tmpfs", b"uid=0x10,gid=0"),
        (b"tmpfs", b"uid=1,uid=7"), (b"tmpfs", b"uid=4294967295"), (b"tmpfs", b"uid=09"),
        (b"tmpfs", b"uid=-1"), (b"tmpfs", b"uid="), (b"tmpfs", b"uid=99999999999"), (b"tmpfs", b"uid=5,nonsense"),
        (b"tmpfs", b"size=1m"), (b"devpts", b"newinstance,mode=620,gid=5"), (b"ramfs", b"mode=750"),
    ):  # fmt: skip
        data = ctypes.create_string_buffer(options)
        result = LIBC.mount(b"none", b"t", kind, ctypes.c_ulong(0), data)
        print(kind, options, errno.errorcode[ctypes.get_errno()] if result else "done", data.value == options)
        if not result:
            st = os.stat("t")
            print(st.st_uid, st.st_gid, oct(st.st_mode))
            result = LIBC.mount(b"none", b"t", kind, ctypes.c_ulong(0x20), data)
            print("again", errno.errorcode[ctypes.get_errno()] if result else "done")
            assert LIBC.umount2(b"t", 2) == 0


def read_only_mounts() -> None:
    """Of the same kind, on which nobody writes."""
    assert LIBC.unshare(0x20000) == 0  # CLONE_NEWNS
    assert LIBC.mount(None, b"/", None, ctypes.c_ulong(1 << 18 | 0x4000), None) == 0
    os.mkdir("t")
    for options in (b"uid=5,gid=6", b"gid=44,mode=2750", b"mode=700"):
        print(options, LIBC.mount(b"none", b"t", b"tmpfs", ctypes.c_ulong(1), options))
        st = os.stat("t")
        print(st.st_uid, st.st_gid, oct(st.st_mode))
        attempt("chown", lambda: os.chown("t", 7, 7))
        print(LIBC.mount(None, b"t", None, ctypes.c_ulong(0x20), None), os.stat("t").st_gid)
        attempt("chown", lambda: os.chown("t", 7, 7))
        print(os.stat("t").st_uid, LIBC.umount2(b"t", 2))


def memory_files() -> None:
    """memfd_create(2), and a message queue that its maker's limit is too small for."""

    def look(fd: int) -> str:
        st = os.fstat(fd)
        return f"{st.st_mode:o} {st.st_uid}:{st.st_gid}"

    def work(ids: tuple[int, int, int]) -> None:
        uid, gid, other = ids
        os.setresgid(0, gid, 0)
        os.setresuid(0, uid, 0)
        for flags in (0, 1, os.MFD_ALLOW_SEALING, 8, 0x100):
            fd = LIBC.memfd_create(b"x", flags)
            print(flags, errno.errorcode[ctypes.get_errno()] if fd < 0 else os.get_inheritable(fd))
            if fd >= 0:
                print(look(fd))
                attempt("mode", functools.partial(os.fchmod, fd, 0o640))
                attempt("owner", functools.partial(os.fchown, fd, other, -1))
                print(look(fd), os.write(fd, b"x"))
                os.close(fd)
        for name in (b"n" * 249, b"n" * 250, b"n" * 5000, None, ctypes.c_void_p(16)):
            fd = LIBC.memfd_create(name, 0)
            print(errno.errorcode[ctypes.get_errno()] if fd < 0 else "done")
            if fd >= 0:
                os.close(fd)
        for limit in (1, 1 << 20):
            resource.prlimit(0, resource.RLIMIT_MSGQUEUE, (limit, resource.getrlimit(resource.RLIMIT_MSGQUEUE)[1]))
            fd = LIBC.syscall(240, b"small-queue", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600, None)
            print("queue", errno.errorcode[ctypes.get_errno()] if fd < 0 else "done")
            LIBC.syscall(241, b"small-queue")

    assert LIBC.unshare(0x8000000) == 0  # CLONE_NEWIPC
    for ids in ((0, 0, 7), (42, 43, 42), (0, 44, 8), (1000, 1000, 0)):
        print(ids)
        in_child(functools.partial(work, ids))


def frozen_file_systems() -> None:
    """For --strict: who may freeze one, and give a file a generation; nothing is frozen here, nor can be."""
    freeze, thaw, set_version, get_version, set_version_4 = 0xC0045877, 0xC0045878, 0x40087602, 0x80087601, 0x40086604
    assert LIBC.unshare(0x20000) == 0  # CLONE_NEWNS
    os.mkdir("t")
    assert LIBC.mount(b"none", b"t", b"tmpfs", ctypes.c_ulong(0), None) == 0
    os.chmod("t", 0o777)
    for path, owner in (("mine", 42), ("theirs", 0), ("t/mine", 42), ("t/theirs", 0)):
        open(path, "w").close()
        os.chmod(path, 0o666)
        os.chown(path, owner, 0)

    def ask() -> None:
        for path in ("mine", "theirs", "t/mine", "t/theirs", "t"):
            for flags in (os.O_RDONLY, os.O_PATH):
                fd = os.open(path, flags)
                codes = (freeze, thaw) if path.startswith("t") and path != "theirs" else ()
                for code in (*codes, set_version, set_version_4, get_version):
                    result = LIBC.ioctl(fd, ctypes.c_ulong(code), struct.pack("l", 7))
                    print(path, flags, hex(code), errno.errorcode[ctypes.get_errno()] if result else "done")
                os.close(fd)

    def user() -> None:
        drop(42, 42)
        ask()

    in_child(user)


def low_ports() -> None:
    """For --strict: which ports are everybody's, as the network namespace says."""

    def bind(port: int, family: int = socket.AF_INET) -> None:
        with socket.socket(family) as one:
            one.bind(("", port))

    def user() -> None:
        drop(42, 42)
        for port in (79, 80, 81, 1023, 1024):
            attempt(f"port {port}", functools.partial(bind, port))
            attempt(f"port {port}", functools.partial(bind, port, socket.AF_INET6))

    assert LIBC.unshare(0x40000000) == 0  # CLONE_NEWNET
    in_child(user)
    for first in ("80", "0", "1500"):
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", "w", encoding="ascii") as file:
            file.write(first)
        in_child(user)


# ---------------------------------------------------------------- procfs


def mount_proc() -> None:
    """Mount a procfs on a new directory, for nobody else to see."""
    os.mkdir("proc")
    assert LIBC.unshare(0x20000) == 0  # CLONE_NEWNS
    assert LIBC.mount(b"none", b"/", None, ctypes.c_ulong(0x44000), None) == 0  # MS_REC | MS_PRIVATE
    assert LIBC.mount(b"proc", b"proc", b"proc", ctypes.c_ulong(0), None) == 0


def fields(path: str, *names: str) -> list[str]:
    with open(path, encoding="ascii") as file:
        found = dict(line.rstrip("\n").split(":", 1) for line in file)
    return [found.get(name, "-") for name in names]


PR_GET_SECCOMP = 21
IDS = ("Uid", "Gid", "Groups", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters", "TracerPid")
OWN = (*IDS, "State")


def status() -> None:
    path = "/proc/self/status"
    print(fields(path, *OWN), LIBC.prctl(PR_GET_SECCOMP, 0, 0, 0, 0))
    os.setgroups([44, 7, 33])
    print(fields(path, *OWN))
    os.setresgid(1, 2, 3)
    os.setresuid(33, 42, 44)
    print(fields(path, *OWN, "CapPrm", "CapEff"))
    print(fields(f"/proc/{os.getpid()}/status", *OWN), fields("/proc/thread-self/status", *OWN))
    LIBC.prctl(38, 1, 0, 0, 0)
    print(fields(path, *OWN))


OF_TASKS = (
    "", "task", "fd", "fdinfo", "net", "attr", "ns", "map_files", "status", "environ", "exe", "task/TID",
    "task/TID/status", "task/TID/fd",
)  # fmt: skip


def kinds_of_tasks() -> Iterator[tuple[str, int]]:
    """A user's tasks: one as they are, one that is not dumpable, and a zombie."""
    go, let_go = os.pipe()
    for kind in ("plain", "undumpable", "zombie"):
        ready, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(let_go)
            drop(33, 34)
            LIBC.prctl(4, int(kind != "undumpable"), 0, 0, 0)  # PR_SET_DUMPABLE
            os.write(tell, b"x")
            if kind != "zombie":
                os.read(go, 1)
            os._exit(0)
        os.read(ready, 1)
        if kind == "zombie":
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        yield kind, pid
    os.close(let_go)


def owners_of_tasks() -> None:
    for kind, pid in kinds_of_tasks():
        for name in OF_TASKS:
            found = os.lstat(f"/proc/{pid}/{name}".replace("TID", str(pid)))
            print(kind, name, found.st_uid, found.st_gid, oct(found.st_mode))


def files_of_tasks() -> None:
    """What the user itself may open of them."""

    def opens(path: str) -> None:
        os.close(os.open(path, os.O_RDONLY))

    def look(kind: str, pid: int) -> None:
        drop(33, 34)
        LIBC.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE
        for name in ("status", "environ", "io", "auxv", "oom_score_adj", "fd", "map_files", "task"):
            attempt(f"{kind} {name}", functools.partial(opens, f"/proc/{pid}/{name}"))

    for kind, pid in kinds_of_tasks():
        in_child(functools.partial(look, kind, pid))


def status_of_others() -> None:
    ready, tell = os.pipe()
    go, let_go = os.pipe()
    pid = os.fork()
    if pid == 0:
        drop(33, 34, (5,))
        os.write(tell, b"x")
        os.close(let_go)
        os.read(go, 1)
        os._exit(0)
    os.read(ready, 1)
    print(fields(f"/proc/{pid}/status", *IDS))
    print(fields(f"/proc/{pid}/task/{pid}/status", *IDS), fields("/proc/self/status", *IDS))
    for command in (["cat", f"/proc/{pid}/status"], ["grep", "-h", "", f"/proc/{pid}/status"],
                    ["perl", "-ne", "print", f"/proc/{pid}/status"], ["sed", "", f"/proc/{pid}/status"],
                    ["python3", "-c", f"print(open('/proc/{pid}/status').read())"]):  # fmt: skip
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        print([line for line in text.split("\n") if line.startswith(("Uid", "Gid", "Groups"))])
    os.close(let_go)
    os.close(go)
    os.waitpid(pid, 0)


def status_of_threads() -> None:
    def raw() -> None:
        LIBC.syscall(117, 33, 42, 44)
        print(fields("/proc/thread-self/status", *IDS))

    thread = threading.Thread(target=raw)
    thread.start()
    thread.join()
    print(fields("/proc/self/status", *IDS))


def timer_slacks() -> None:
    """Of both threads of a process whose threads differ: one is another user, and one may have a slack of its own."""

    def told(tid: int | str) -> str:
        with open(f"/proc/{tid}/timerslack_ns", encoding="ascii") as file:
            return file.read()

    ready, end = threading.Event(), threading.Event()
    tids = []

    def raw(slack: int) -> None:
        LIBC.syscall(117, 0, 42, 0)
        if slack:
            LIBC.prctl(29, slack, 0, 0, 0)
        tids.append(threading.get_native_id())
        ready.set()
        end.wait()

    print(told("self"))
    for slack in (0, 70_000):
        thread = threading.Thread(target=raw, args=(slack,))
        thread.start()
        ready.wait()
        ready.clear()
        print(told("self"), told(tids[-1]), told(os.getpid()))
        end.set()
        thread.join()
        end.clear()
    print(told("self"))


def timer_slacks_of_others() -> None:
    """A user may change its own alone."""

    def write(pid: str, text: bytes) -> str:
        fd = os.open(f"/proc/{pid}/timerslack_ns", os.O_WRONLY)
        try:
            os.write(fd, text)
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        finally:
            os.close(fd)
        return str(LIBC.prctl(30, 0, 0, 0, 0)) if pid == "self" else "written"  # PR_GET_TIMERSLACK

    others = []
    for uid in (0, 33, 42):
        others.append(os.fork())
        if not others[-1]:
            drop(uid, uid)
            signal.pause()

    def as_each() -> None:
        for uid in (0, 33):
            if uid:
                drop(uid, uid)
            print(uid, [write(pid, b"70000") for pid in [*map(str, others), "self"]])

    in_child(as_each)
    for pid in others:
        os.kill(pid, signal.SIGKILL)


def descriptors() -> None:
    """The exchanged descriptor has the old one's number and flags."""
    import fcntl

    os.setgroups([9])
    for flags in (os.O_RDONLY, os.O_RDONLY | os.O_CLOEXEC):
        fd = os.open("/proc/self/status", flags)
        os.set_inheritable(fd, not flags & os.O_CLOEXEC)
        st = os.fstat(fd)
        mode = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
        print(fd, oct(st.st_mode), st.st_uid, st.st_size, mode, fcntl.fcntl(fd, fcntl.F_GETFD))
        first = os.read(fd, 4)
        os.fstat(fd)
        print(first, os.read(fd, 3))
        attempt("write", functools.partial(os.write, fd, b"x"))
        print(os.lseek(fd, 0, os.SEEK_SET), os.read(fd, 4096).count(b"\nGroups:\t9 \n"))
        os.close(fd)
    fd = os.open("/proc/self/status", os.O_PATH)
    print(oct(os.fstat(fd).st_mode), os.readlink(f"/proc/self/fd/{fd}").endswith("/status"))
    pid = in_child(lambda: print(sorted(int(name) for name in os.listdir("/proc/self/fd"))))
    print(pid)


def id_maps() -> None:
    for name in ("uid_map", "gid_map", "setgroups"):
        with open(f"/proc/self/{name}", encoding="ascii") as file:
            print(repr(file.read()))
    drop(33, 33)
    with open("/proc/self/uid_map", encoding="ascii") as file:
        print(repr(file.read()))


def realtime_limit() -> None:
    import resource

    os.seteuid(33)
    os.seteuid(0)
    with open("/proc/self/limits", encoding="ascii") as file:
        print([line for line in file if "realtime timeout" in line])
    resource.setrlimit(15, (1 << 40, 1 << 41))
    with open("/proc/self/limits", encoding="ascii") as file:
        print([line for line in file if "realtime" in line])


def login_uid(path: str = "/proc/self/loginuid") -> None:
    """As pam_loginuid(8) sets it. Only for a process that ends soon: it cannot be undone without privileges."""

    def told(path: str = path) -> bytes:
        fd = os.open(path, os.O_RDONLY)
        try:
            return os.read(fd, 99)
        finally:
            os.close(fd)

    def change(uid: int) -> None:
        fd = os.open(path, os.O_NOFOLLOW | os.O_RDWR)
        os.read(fd, 99)
        os.lseek(fd, 0, os.SEEK_SET)
        os.ftruncate(fd, 0)
        print(os.write(fd, b"%d" % uid))
        os.close(fd)

    change(33)
    print(told(), subprocess.run(["cat", path], capture_output=True, check=True).stdout)

    def child() -> None:
        print(told())
        change(44)
        print(told(), told(path.replace("self", str(os.getppid()))))
        drop(33, 33)
        attempt("user", lambda: os.open(path, os.O_RDWR))
        print(told())

    print(in_child(child), told())
    with open(path, "w", encoding="ascii") as file:
        file.write("55")
    print(told())


def login_uid_elsewhere() -> None:
    mount_proc()
    login_uid("proc/self/loginuid")


# ---------------------------------------------------------------- peers


def peer(sock: socket.socket, me: int) -> tuple[object, ...]:
    pid, uid, gid = UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size))
    groups: list[int] | str
    try:
        groups = array.array("I", sock.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 400)).tolist()
    except OSError as error:
        groups = errno.errorcode[error.errno or 0]
    return ("me" if pid == me else "other" if pid else 0, uid, gid, groups)


def pairs() -> None:
    me = os.getpid()
    one, two = socket.socketpair()
    print(peer(one, me), peer(two, me))
    os.setgroups([3, 9])
    os.setresgid(7, 8, 9)
    os.setresuid(0, 42, 0)
    three, four = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    print(peer(three, me), peer(four, me))
    os.setresuid(0, 0, 0)
    print(peer(three, me), peer(four, me))

    def child() -> None:
        drop(33, 33)
        print(peer(three, me))
        print(peer(socket.socketpair()[0], os.getpid()))

    print(in_child(child))
    for uid, groups in ((5, [7, 8]), (0, []), (6, [9]), (0, [])):  # plain root again, where it was another before
        LIBC.syscall(116, len(groups), array.array("I", groups).tobytes())
        os.setresgid(uid, uid, 0)
        os.setresuid(uid, uid, 0)
        server, client = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        server.bind(b"\0remainroot-again-%d" % me)
        server.listen()
        client.connect(server.getsockname())
        accepted = server.accept()[0]
        print([peer(one, me) for one in (*socket.socketpair(), client, accepted)])
        for one in (server, client, accepted):
            one.close()
        os.setresuid(0, 0, 0)


def file_owners() -> None:
    """Who chose whom a socket's signals go to, and who gets them: F_SETOWN."""
    got: list[int] = []
    for signo in (signal.SIGIO, signal.SIGURG):
        signal.signal(signo, lambda number, _: got.append(number))
    here, there = socket.socketpair()
    me = os.getpid()

    def look(what: str) -> None:
        owner = struct.unpack("=ii", fcntl.fcntl(here, 16, bytes(8)))
        uids = struct.unpack("=II", fcntl.fcntl(here, 17, bytes(8)))
        there.send(b"x")
        print(what, fcntl.fcntl(here, fcntl.F_GETOWN) == me, owner[0], owner[1] == me, uids, len(got), flush=True)

    look("nobody")
    fcntl.fcntl(here, fcntl.F_SETOWN, me)
    fcntl.fcntl(here, fcntl.F_SETFL, os.O_ASYNC)
    look("root")

    def choose(uids: tuple[int, int, int], how: int, who: int | bytes) -> None:
        os.setresgid(44, 44, 44)
        os.setresuid(*uids)
        fcntl.fcntl(here, how, who)

    def stranger() -> None:
        choose((33, 44, 44), fcntl.F_SETOWN, me)

    def half_root() -> None:
        choose((33, 0, 44), 15, struct.pack("=ii", 1, me))

    def thread() -> None:
        choose((33, 33, 33), 15, struct.pack("=ii", 0, me))

    def oneself() -> None:
        choose((33, 33, 33), fcntl.F_SETOWN, os.getpid())
        signal.signal(signal.SIGIO, lambda *_: print("told", flush=True))
        there.send(b"x")
        choose((33, 33, 33), fcntl.F_SETOWN, 0)
        there.send(b"x")

    for act in (stranger, half_root, thread, oneself, stranger):
        print(in_child(act))
        look(act.__name__)
    os.setresuid(7, 33, 0)
    look("from a user")
    os.setresuid(0, 0, 0)
    fcntl.fcntl(here, fcntl.F_SETOWN, me)
    look("root again")


def group_owners() -> None:
    """As `file_owners`, of a process group, and by ioctl(2): FIOSETOWN, SIOCSPGRP, FIOGETOWN, SIOCGPGRP."""
    got: list[int] = []
    signal.signal(signal.SIGIO, lambda number, _: got.append(number))
    here, there = socket.socketpair()
    os.setpgid(0, 0)
    me, group = os.getpid(), struct.pack("=i", -os.getpid())
    fcntl.fcntl(here, fcntl.F_SETFL, os.O_ASYNC)

    def asks(way: int, number: int, value: int | bytes) -> Callable[[], object]:
        return lambda: (fcntl.ioctl if way else fcntl.fcntl)(here, number, value)

    acts = (
        ("one", asks(1, 0x8901, struct.pack("=i", me))), ("group", asks(0, fcntl.F_SETOWN, -me)),
        ("group by ioctl", asks(1, 0x8902, group)), ("nobody", asks(1, 0x8901, struct.pack("=i", 1 << 22))),
        ("the other call", asks(1, 0x8902, struct.pack("=i", me))), ("none", asks(1, 0x8901, bytes(4))),
    )  # fmt: skip
    for uid in (0, 33, 0):
        for name, act in acts:

            def child(uid: int = uid, act: Callable[[], object] = act) -> None:
                signal.signal(signal.SIGIO, signal.SIG_IGN)
                os.setresuid(uid, uid, uid)
                attempt("choose", lambda: act() and None)

            in_child(child)
            there.send(b"x")
            told = [struct.unpack("=i", fcntl.ioctl(here, number, bytes(4)))[0] for number in (0x8903, 0x8904)]
            kind, owner = struct.unpack("=ii", fcntl.fcntl(here, 16, bytes(8)))
            uids = struct.unpack("=II", fcntl.fcntl(here, 17, bytes(8)))
            named = [{me: "me", -me: "group"}.get(one, one) for one in (*told, owner)]
            print(uid, name, len(got), kind, named, uids, flush=True)


def connections() -> None:
    """Both ends ask after both have become others."""
    for address in (os.path.join(os.getcwd(), "sock"), b"\0remainroot-%d" % os.getpid()):
        server = socket.socket(socket.AF_UNIX)
        server.bind(address)
        if isinstance(address, str):
            os.chmod(address, 0o777)
        me = os.getpid()

        def listening(server: socket.socket = server, address: str | bytes = address) -> None:
            os.setgroups([5, 6])
            os.setresgid(50, 50, 0)
            os.setresuid(0, 42, 0)
            server.listen()
            os.setresuid(0, 0, 0)
            print(peer(server, os.getpid()))
            os.setresgid(0, 0, 0)
            client(server, address)

        def client(server: socket.socket, address: str | bytes) -> None:
            mine = os.getpid()
            hear, tell = os.pipe()

            def connecting() -> None:
                first = socket.socket(socket.AF_UNIX)
                first.connect(address)
                os.setgroups([77])
                os.setresgid(33, 34, 35)
                os.setresuid(0, 35, 0)
                second = socket.socket(socket.AF_UNIX)
                second.connect(address)
                os.setresuid(0, 0, 0)
                os.setresuid(99, 99, 99)
                print(peer(first, mine), peer(second, mine))
                sys.stdout.flush()
                os.read(hear, 1)

            sys.stdout.flush()
            pid = os.fork()
            if pid == 0:
                os.close(tell)
                connecting()
                os._exit(0)
            accepted = [server.accept()[0] for _ in range(2)]
            found = [peer(sock, pid) for sock in accepted]
            os.close(tell)
            os.waitpid(pid, 0)
            print(found)

        print(in_child(listening), peer(server, me)[1:3] == (0, 0))


def others() -> None:
    """Sockets that have no peer, or not one that has ids, and arguments that are wrong."""
    me = os.getpid()
    os.seteuid(33)
    print(peer(socket.socket(socket.AF_UNIX), me), peer(socket.socket(), me))
    one, _ = socket.socketpair()
    buffer = ctypes.create_string_buffer(b"x" * 16, 16)
    for option in (socket.SO_PEERCRED, SO_PEERGROUPS):
        for size in (0, 4, 8, 11, 12, 16, -1):
            length = ctypes.c_int(size)
            ctypes.memset(buffer, 0x78, 16)
            result = LIBC.getsockopt(one.fileno(), 1, option, buffer, ctypes.byref(length))
            # The pid differs from run to run.
            print(option, size, result, ctypes.get_errno() if result else 0, length.value, buffer.raw[4:])
    for arguments in ((-1, 1, 17, buffer), (one.fileno(), 1, 17, None), (0, 1, 17, buffer)):
        result = LIBC.getsockopt(*arguments, ctypes.byref(ctypes.c_int(12)))
        print(result, ctypes.get_errno() if result else 0)


# ---------------------------------------------------------------- messages


def told(sock: socket.socket, size: int = 100, flags: int = 0) -> tuple[bytes, list[tuple[object, ...]], int]:
    """A message and the ids that came with it."""
    data, ancillary, result, _ = sock.recvmsg(size, 200, flags)
    seen: list[tuple[object, ...]] = []
    for _, kind, value in ancillary:
        if kind == SCM_CREDENTIALS:
            pid, uid, gid = UCRED.unpack(value)
            seen.append(("pid" if pid else 0, uid, gid))
        else:
            seen.append((kind, len(value)))
            for fd in struct.unpack(f"={len(value) // 4}i", value):
                os.close(fd)
    return data, seen, result & ~socket.MSG_CMSG_CLOEXEC


def claim(sock: socket.socket, uid: int, gid: int, data: bytes = b"m", *more: tuple[int, int, bytes]) -> int:
    own = UCRED.pack(os.getpid(), uid & 0xFFFF_FFFF, gid & 0xFFFF_FFFF)
    return sock.sendmsg([data], [(socket.SOL_SOCKET, SCM_CREDENTIALS, own), *more])


def messages() -> None:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
        left, right = socket.socketpair(socket.AF_UNIX, kind)
        right.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        left.send(b"plain")
        print(told(right))
        attempt("root claims", functools.partial(claim, left, 33, 44))
        print(told(right, flags=socket.MSG_PEEK), told(right))
        attempt("root claims itself", functools.partial(claim, left, 0, 0))
        print(told(right))

        def user(left: socket.socket = left) -> None:
            os.setresgid(5, 6, 7)
            os.setresuid(1, 2, 3)
            for uid, gid in ((1, 5), (2, 6), (3, 7), (0, 5), (1, 0), (4, 7), (3, 8), (-1, 5), (1, -1)):
                attempt(f"{uid} {gid}", functools.partial(claim, left, uid, gid, b"%d" % uid))
            for pid in (os.getppid(), 0, 1 << 22):
                other = (socket.SOL_SOCKET, SCM_CREDENTIALS, UCRED.pack(pid, 1, 5))
                attempt("for another", lambda: left.sendmsg([b"m"], [other]))  # noqa: B023  # called at once

        print(in_child(user))
        right.setblocking(False)
        count = 3 if kind != socket.SOCK_STREAM else 1
        for _ in range(count):
            got = told(right)
            print(got if count == 3 else str(got)[:4])


def named_processes() -> None:
    """Root names any process as the sender, if there is one."""
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    right.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    ready, tell = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(tell)
        drop(7, 8)
        os.read(ready, 1)
        os._exit(0)
    gone = os.fork()
    if gone == 0:
        os._exit(0)
    os.waitpid(gone, 0)
    names = {os.getpid(): "own", child: "child", os.getppid(): "parent"}

    def name(pid: int, uid: int, data: bytes) -> None:
        sent = (socket.SOL_SOCKET, SCM_CREDENTIALS, UCRED.pack(pid, uid & 0xFFFF_FFFF, 4))
        attempt(f"{names.get(pid)} {uid}", lambda: left.sendmsg([data], [sent]))

    def take() -> None:
        data, ((_, _, value),), _, _ = right.recvmsg(100, 100)
        pid, *ids = UCRED.unpack(value)
        print(data, names.get(pid), ids)

    for pid in (child, os.getpid(), os.getppid(), gone, 0, -1, 1 << 22):
        name(pid, 0, b"first %d" % names.get(pid, "").count("c"))
        name(pid, 33, b"second")
        name(pid, -1, b"third")
    for _ in range(6):
        take()
    name(child, 33, b"before")
    left.send(b"plain")
    for _ in range(2):
        take()

    def user() -> None:
        drop(33, 4)
        for pid in (child, os.getppid(), gone, 0, os.getpid()):
            name(pid, 33, b"user's")
            name(pid, -1, b"user's")

    in_child(user)
    internet = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for pid in (gone, os.getpid()):
        sent = (socket.SOL_SOCKET, SCM_CREDENTIALS, UCRED.pack(pid, -1 & 0xFFFF_FFFF, 4))
        attempt("looks at none", lambda: internet.sendmsg([b"x"], [sent], 0, ("127.0.0.1", 9)))  # noqa: B023
    os.close(tell)
    os.waitpid(child, 0)


def implicit() -> None:
    """What the kernel adds by itself: the real ids of the sender."""
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    right.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    ready, tell = os.pipe()
    go, let_go = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.close(let_go)
        drop(33, 34)
        left.send(b"whole message")
        left.sendmsg([b"two ", b"parts"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", 1))])
        left.send(b"long" * 50)
        os.write(tell, b"x")
        os.read(go, 1)
        os._exit(0)
    os.read(ready, 1)
    buffers = [bytearray(3), bytearray(0), bytearray(50)]
    size, ancillary, flags, address = right.recvmsg_into(buffers, 100)
    print(size, [bytes(buffer) for buffer in buffers], flags, address)
    print([UCRED.unpack(value)[1:] for *_, value in ancillary])
    data, kinds, flags = told(right)
    print(data, [kind for kind in kinds if kind[0] == socket.SCM_RIGHTS], flags)  # the descriptor is not lost
    print(told(right, 8))
    os.close(let_go)
    os.waitpid(pid, 0)


def waited_for() -> None:
    """Who waits in recvmsg(2) is told who has sent what then comes, as who finds it there."""

    def from_user(*calls: Callable[[socket.socket], object], sock: socket.socket) -> int:
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            drop(33, 34)
            for call in calls:
                time.sleep(0.15)
                call(sock)
            os._exit(0)
        return pid

    def with_descriptor(sock: socket.socket) -> None:
        sock.sendmsg([b"one"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", 1))])

    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
        left, right = socket.socketpair(socket.AF_UNIX, kind)
        right.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        calls = (lambda sock: sock.send(b"plain"), lambda sock: claim(sock, 33, 34), with_descriptor)
        pid = from_user(*calls, sock=left)
        print(told(right), told(right, flags=socket.MSG_PEEK), told(right))
        before = os.listdir("/proc/self/fd")
        data, ancillary, _, _ = right.recvmsg(100, 200)
        for fd in [fd for _, kind, value in ancillary if kind == socket.SCM_RIGHTS for fd in struct.unpack("i", value)]:
            os.close(fd)
        print(data, len(ancillary), os.listdir("/proc/self/fd") == before)
        os.waitpid(pid, 0)
        if kind == socket.SOCK_DGRAM:
            right.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("qq", 0, 100000))
            attempt("times out", lambda: told(right))  # noqa: B023  # called at once
            continue
        signal.signal(signal.SIGALRM, lambda *_: print("alarm"))
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        pid = from_user(lambda sock: sock.send(b"in two parts"), sock=left)
        print(told(right, 6), kind == socket.SOCK_STREAM and told(right))
        os.waitpid(pid, 0)
        pid = from_user(lambda sock: sock.shutdown(socket.SHUT_WR), sock=left)
        print(right.recvmsg(100, 0)[:2], right.recvmsg(100, 200)[0])
        os.waitpid(pid, 0)


def many_messages() -> None:
    """sendmmsg(2) and recvmmsg(2): each with its credentials, or all with those in one place."""
    libc = ctypes.CDLL(None, use_errno=True)
    space = socket.CMSG_SPACE(UCRED.size)

    def headers(buffers: list[ctypes.Array[ctypes.c_char]], controls: list[ctypes.Array[ctypes.c_char]]) -> bytes:
        vector = b""
        for buffer, control in zip(buffers, controls, strict=True):
            part = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(buffer), len(buffer)), 16)
            keep.append(part)
            vector += struct.pack("QQQQQQQQ", 0, 0, ctypes.addressof(part), 1, ctypes.addressof(control), space, 0, 0)
        return vector

    def send(ids: list[tuple[int, int]], *, shared: bool = False) -> None:
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        right.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        claims = [struct.pack("Qii", space - 4, 1, SCM_CREDENTIALS) + UCRED.pack(os.getpid(), *one) for one in ids]
        controls = [ctypes.create_string_buffer(claim, space) for claim in claims]
        if shared:
            controls = controls[:1] * len(ids)
        buffers = [ctypes.create_string_buffer(b"%d" % index, 1) for index in range(len(ids))]
        vector = headers(buffers, controls)
        print("sent", libc.sendmmsg(left.fileno(), vector, len(ids), 0), ctypes.get_errno())
        rooms = [ctypes.create_string_buffer(space) for _ in ids]
        into = ctypes.create_string_buffer(headers([ctypes.create_string_buffer(4) for _ in ids], rooms), 64 * len(ids))
        number = libc.recvmmsg(right.fileno(), into, len(ids), socket.MSG_DONTWAIT, None)
        print("received", number, [UCRED.unpack_from(room, 16)[1:] for room in rooms[: max(number, 0)]])
        print([struct.unpack_from("I", into, 64 * index + 56)[0] for index in range(len(ids))])

    keep: list[object] = []
    send([(0, 0), (33, 44), (0, 0)])
    send([(33, 44)] * 3, shared=True)
    os.setresgid(5, 6, 7)
    os.setresuid(1, 2, 3)
    send([(1, 5), (2, 6), (3, 7)])
    send([(1, 5)] * 2, shared=True)
    send([(1, 5), (4, 5), (1, 5)])
    send([(4, 5), (1, 5)])


def stamped() -> None:
    """The time of arrival comes with the credentials, in the kernel's order, and so little room that one is cut off."""
    for option in (29, 35, 63, 64):  # SO_TIMESTAMP, SO_TIMESTAMPNS, and both with 64 bits
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        right.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        right.setsockopt(socket.SOL_SOCKET, option, 1)
        attempt("claims", functools.partial(claim, left, 33, 44))
        before = time.time()
        data, ancillary, flags, _ = right.recvmsg(100, 200)
        for _, kind, value in ancillary:
            if kind == SCM_CREDENTIALS:
                print(UCRED.unpack(value)[1:])
            else:
                seconds, _ = struct.unpack("qq", value)
                print(kind, abs(seconds - before) < 100)
        print(data, flags & ~socket.MSG_CMSG_CLOEXEC)
        attempt("claims", functools.partial(claim, left, 33, 44))
        _, ancillary, flags, _ = right.recvmsg(100, socket.CMSG_SPACE(16))
        print([kind for _, kind, _ in ancillary], flags & ~socket.MSG_CMSG_CLOEXEC)


def named_sender() -> None:
    with tempfile.TemporaryDirectory(dir=".") as place:
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        receiver.bind(f"{place}/in")
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sender.bind(f"{place}/out")
        os.setresuid(42, 0, 0)
        sender.sendto(b"hello", f"{place}/in")
        data, ancillary, flags, address = receiver.recvmsg(9, 100)
        print(data, [UCRED.unpack(value)[1:] for *_, value in ancillary], flags, address.removeprefix(place))


# ---------------------------------------------------------------- signals


def queued_signals() -> None:
    """sigqueue(3) names its sender itself: sigwaitinfo(2), signalfd(2)."""
    import signal

    numbers = (signal.SIGRTMIN, signal.SIGRTMIN + 1)
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    mask = struct.pack("=Q", 1 << (numbers[1] - 1))
    fd = LIBC.signalfd(-1, mask, 0)
    me = os.getpid()

    os.setresuid(33, 0, 0)

    def sender() -> None:
        os.setresgid(34, 34, 34)
        os.setresuid(33, 42, 42)
        print([LIBC.sigqueue(me, number, None) for number in numbers])

    print(in_child(sender))
    info = signal.sigwaitinfo(numbers[:1])
    print(info.si_uid, info.si_code)
    told = os.read(fd, 128)
    signo, _, code, _, uid = struct.unpack_from("=IiiII", told)
    print(signo - numbers[1], code, uid)

    def stranger() -> None:
        drop(44, 33)
        print([LIBC.sigqueue(me, number, None) for number in numbers], errno.errorcode[ctypes.get_errno()])

    print(in_child(stranger))


def signals_to_threads() -> None:
    """In a pid namespace of its own: who sent a signal to a thread that is not the first, and who may not."""
    kill, tkill, tgkill, queue, queue_to_thread = 62, 200, 234, 129, 297
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    told: list[tuple[int, int]] = []
    hear, tell = os.pipe()

    def thread() -> None:
        os.write(tell, b"%05d" % threading.get_native_id())
        for _ in range(3):
            info = signal.sigwaitinfo({signal.SIGUSR1})
            told.append((info.si_uid, info.si_code))
            os.write(tell, b"-----")

    def send(uid: int, euid: int, *calls: tuple[object, ...]) -> None:
        def user() -> None:
            os.setgroups([])
            os.setresuid(uid, euid, euid)
            for call in calls:
                sent = LIBC.syscall(*call) == 0
                print(call[0], "sent" if sent else errno.errorcode[ctypes.get_errno()])

        print(in_child(user))

    worker = threading.Thread(target=thread)
    worker.start()
    pid, tid, siginfo = os.getpid(), int(os.read(hear, 5)), ctypes.create_string_buffer(128)
    siginfo[8] = b"\xff"
    print(pid < 20, tid < 20, pid == tid)
    for uid, call in ((33, (tgkill, pid, tid, 10)), (34, (tkill, tid, 10))):
        send(uid, 0, call)
        os.read(hear, 5)
    may_not = [(tgkill, *target, 10) for target in ((pid, tid), (1, tid), (pid, pid), (tid, tid), (0, tid), (pid, 77))]
    may_not += [(tkill, tid, 10), (tkill, 77, 10), (kill, tid, 10), (kill, 77, 10)]  # type: ignore[list-item]
    may_not += [(tgkill, pid, tid, number) for number in (0, 65)]
    for info in (None, siginfo):
        for target in ((pid, tid), (pid, pid), (tid, pid)):
            may_not.append((queue_to_thread, *target, 10, info))  # type: ignore[arg-type]
        may_not.append((queue, tid, 10, info))  # type: ignore[arg-type]
    send(35, 35, *may_not)
    send(36, 0, (kill, tid, 10))
    worker.join()
    print(told)


def senders_outside() -> None:
    """Signals to a process in a user namespace, from outside and inside: sigwaitinfo(2), waitid(2)."""
    import signal

    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    there, tell = os.pipe()
    go, let_go = os.pipe()
    inside = os.fork()
    if inside == 0:
        os.close(let_go)
        if LIBC.unshare(0x1000_0000):
            os._exit(1)
        os.write(tell, b"x")
        if not os.read(go, 1):
            os._exit(1)
        for _ in range(4):
            info = signal.sigwaitinfo([signal.SIGUSR1])
            print("inside", info.si_code, info.si_uid, os.getuid())
            os.write(tell, b"x")
        child = os.fork()
        if child == 0:
            os.setresuid(7, 0, 0)
            os.kill(os.getppid(), signal.SIGUSR1)
            os._exit(0)
        info = signal.sigwaitinfo([signal.SIGUSR1])
        print("from a child", info.si_uid, info.si_pid == child)
        waited = os.waitid(os.P_PID, child, os.WEXITED)
        print("child", waited and waited.si_uid)
        os.setresuid(8, 8, 8)
        os.kill(os.getpid(), signal.SIGUSR1)
        print("own", signal.sigwaitinfo([signal.SIGUSR1]).si_uid)
        os._exit(0)
    os.read(there, 1)
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{inside}/{name}", "w") as file:
            file.write("0 1000 100")
    os.write(let_go, b"x")
    for uid in (1033, 5, 0, 1000):
        sender = os.fork()
        if sender == 0:
            os.setresuid(uid, 0, 0)
            os.kill(inside, signal.SIGUSR1)
            os._exit(0)
        os.waitpid(sender, 0)
        os.read(there, 1)
    waited = os.waitid(os.P_PID, inside, os.WEXITED)
    print("outside", waited and (waited.si_uid, waited.si_status))


# ---------------------------------------------------------------- programs


def traced_programs() -> None:
    """A set-id program gives nothing to a task whose tracer could not have it: ptrace(2), execve(2)."""
    import shutil

    for name, uid, mode in (("plain", 0, 0o755), ("root", 0, 0o4755), ("other", 42, 0o6755)):
        shutil.copy("/usr/bin/id", name)
        os.chown(name, uid, 43)
        os.chmod(name, mode)
    for path in ("plain", "root", "other"):
        for tracer in (0, 1000):

            def trace(path: str = path, tracer: int = tracer) -> None:
                os.setgroups([])
                os.setresgid(1000, 1000, 1000)
                os.setresuid(tracer, tracer, tracer)
                sys.stdout.flush()
                pid = os.fork()
                if pid == 0:
                    LIBC.ptrace(0, 0, None, None)  # PTRACE_TRACEME
                    os.execv(path, [path])
                _, status = os.waitpid(pid, 0)
                print(path, tracer, os.WSTOPSIG(status) if os.WIFSTOPPED(status) else status, flush=True)
                LIBC.ptrace(17, pid, None, None)  # PTRACE_DETACH
                os.waitpid(pid, 0)

            print(in_child(trace))


# ---------------------------------------------------------------- privileges


def priorities() -> None:
    who = os.PRIO_PROCESS
    attempt("nice -5", lambda: os.setpriority(who, 0, -5))
    print(os.getpriority(who, 0))
    in_child(lambda: print(os.getpriority(who, 0)))
    print(subprocess.run(["nice"], capture_output=True, text=True, check=True).stdout)
    print(subprocess.run(["nice", "-n", "-7", "nice"], capture_output=True, text=True, check=True).stdout)
    attempt("nice 3", lambda: os.setpriority(who, 0, 3))
    attempt("nice -99", lambda: os.setpriority(who, os.getpid(), -99))
    print(os.getpriority(who, os.getpid()))

    def user() -> None:
        drop(33, 33)
        print(os.getpriority(who, 0))
        attempt("lower", lambda: os.setpriority(who, 0, -20))
        attempt("higher", lambda: os.setpriority(who, 0, 2))
        print(os.getpriority(who, 0))
        attempt("back", lambda: os.setpriority(who, 0, 1))
        attempt("fifo", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(3)))
        attempt("parent", lambda: os.setpriority(who, os.getppid(), 5))

    print(in_child(user))


def priorities_reset_on_fork() -> None:
    """What children have of values and policies that are to be reset; at random, three generations deep."""
    chance = random.Random(8)
    who, reset = os.PRIO_PROCESS, 0x4000_0000

    def show() -> None:
        print(os.getpriority(who, 0), os.sched_getscheduler(0), os.sched_getparam(0).sched_priority)
        area = ctypes.create_string_buffer(48)
        print(LIBC.syscall(315, 0, area, 48, 0), area.raw[4:24])

    def act() -> None:
        value = chance.randrange(-9, 9)
        policy = chance.choice((os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_FIFO, os.SCHED_RR)) | chance.choice((0, reset))
        priority = 0 if policy & 3 in (0, 3) else chance.randrange(1, 9)
        which = chance.randrange(4)
        if which == 0:
            text = struct.pack("=IIQiI", 48, policy & 3, policy >> 30, value, priority).ljust(48, b"\0")
            print(LIBC.syscall(314, 0, text, 0))
        elif which == 1:
            attempt(f"policy {policy:#x}", lambda: os.sched_setscheduler(0, policy, os.sched_param(priority)))
        else:
            attempt(f"nice {value}", lambda: os.setpriority(who, 0, value))
        show()

    def live(depth: int) -> None:
        show()
        for _ in range(5):
            act()
            if depth and chance.randrange(2):
                in_child(lambda: live(depth - 1))
        if chance.randrange(4) == 0:
            drop(33, 33)
            act()
            act()

    for _ in range(12):
        in_child(lambda: live(3))
        chance.random()


def many_priorities() -> None:
    """Those of a process group, and of all that a user runs."""
    os.setpgid(0, 0)
    pids = [started(54321), started(0)]
    group, user, whole_group, whole_user = os.PRIO_PGRP, os.PRIO_USER, 2, 3

    def show() -> None:
        print([os.getpriority(os.PRIO_PROCESS, pid) for pid in (0, *pids)], os.getpriority(group, 0))
        print([LIBC.syscall(IOPRIO_GET, 1, pid) for pid in (0, *pids)], LIBC.syscall(IOPRIO_GET, whole_group, 0))

    def change(what: str, which: int, who: int, value: int) -> None:
        attempt(f"{what} {value}", lambda: os.setpriority(which, who, value))
        show()

    def order(what: str, which: int, who: int, value: int) -> None:
        print(what, value, LIBC.syscall(IOPRIO_SET, which, who, value), ctypes.get_errno())
        show()

    for value in (19, -4, 2, -6):
        change("group", group, 0, value)
        change("its number", group, os.getpgrp(), value + 1)
        change("user", user, 54321, value - 1)
    for value in (1 << 13 | 3, 2 << 13 | 5, 1 << 13 | 8, 3 << 13, 0):
        order("group", whole_group, 0, value)
        order("user", whole_user, 54321, value)
    order("user", whole_user, 54321, 1 << 13 | 2)
    print(LIBC.syscall(IOPRIO_GET, whole_user, 54321), os.getpriority(user, 54321))
    for which in (group, user):
        attempt("nobody", functools.partial(os.setpriority, which, 54322, -1))
        attempt("nobody's", functools.partial(os.getpriority, which, 54322))
    print(LIBC.syscall(IOPRIO_SET, whole_user, 54322, 1 << 13), LIBC.syscall(IOPRIO_SET, whole_group, 54322, 1 << 13))
    print(LIBC.syscall(IOPRIO_GET, whole_user, 54322), LIBC.syscall(IOPRIO_GET, whole_group, 54322))

    def as_user() -> None:
        drop(54321, 54321)
        for value in (-7, -2, 15):
            attempt(f"user {value}", lambda: os.setpriority(group, 0, value))  # noqa: B023  # called at once
            attempt(f"user's {value}", lambda: os.setpriority(user, 0, value))  # noqa: B023
            show()
        for which, who in ((whole_group, 0), (whole_user, 0), (whole_user, 54321), (1, pids[0]), (1, pids[1])):
            for value in (2 << 13, 1 << 13, 5 << 13, 4, 8):
                print(which, value, LIBC.syscall(IOPRIO_SET, which, who, value), ctypes.get_errno())
                show()

    print(in_child(as_user))
    show()
    for pid in pids:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def started(uid: int) -> int:
    """A process of this user that waits."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        drop(uid, uid)
        os.write(w, b"x")
        while True:
            time.sleep(60)
    os.read(r, 1)
    os.close(r)
    os.close(w)
    return pid


def few_policies() -> None:
    """What becomes of a real-time policy: slices, children, and those who may have it no more."""

    def say() -> None:
        print(os.sched_getscheduler(0), os.sched_getparam(0).sched_priority, round(os.sched_rr_get_interval(0), 1))

    def choose(policy: int, priority: int) -> None:
        attempt(f"{policy} {priority}", lambda: os.sched_setscheduler(0, policy, os.sched_param(priority)))
        say()
        in_child(say)

    reset = 0x4000_0000
    for policy in (os.SCHED_RR, os.SCHED_FIFO, os.SCHED_RR | reset):
        choose(policy, 10)
    choose(os.SCHED_IDLE, 0)
    choose(os.SCHED_OTHER, 0)
    choose(os.SCHED_RR | reset, 10)
    choose(os.SCHED_BATCH, 0)

    def user(*choices: tuple[int, int]) -> None:
        drop(33, 33)
        for policy, priority in choices:
            choose(policy, priority)

    rr, fifo, batch = os.SCHED_RR, os.SCHED_FIFO, os.SCHED_BATCH
    for policy in (rr, rr | reset):
        choose(policy, 10)
        for second in ((rr, 11), (rr, 5), (fifo, 5), (rr | reset, 5), (batch, 0)):
            print(in_child(functools.partial(user, second, (rr, 10), (rr, 3), (rr | reset, 2))))


def oom_scores() -> None:
    """What takes no capability: raising, by root and by a user. Not lowering, for the machine's root may lack one."""
    path = "/proc/self/oom_score_adj"

    def change(value: str, path: str = path) -> int:
        fd = os.open(path, os.O_WRONLY)
        try:
            return os.write(fd, value.encode())
        finally:
            os.close(fd)

    def told(path: str = path) -> str:
        with open(path, encoding="ascii") as file:
            return file.read()

    for value in ("300", "0x15e", " 0500\n", "+400\n", "400"):
        attempt(value, functools.partial(change, value))
        print(told(), subprocess.run(["cat", path], capture_output=True, text=True, check=True).stdout)
    in_child(lambda: print(told(), change("500"), told(), told(f"/proc/{os.getppid()}/oom_score_adj")))
    child = subprocess.Popen(["sleep", "60"])
    attempt("other", lambda: change("600\n", f"/proc/{child.pid}/oom_score_adj"))
    print(told(f"/proc/{child.pid}/oom_score_adj"), subprocess.run(["choom", "-p", str(child.pid)], check=True,
          stdout=subprocess.PIPE, text=True).stdout.split()[-1])  # fmt: skip
    child.kill()
    child.wait()
    attempt("read", lambda: told(f"/proc/{os.getpid()}/task/{threading.get_native_id()}/oom_score_adj"))
    attempt("directory", lambda: os.open(path, os.O_WRONLY | os.O_DIRECTORY))
    attempt("exclusive", lambda: os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    attempt("missing", lambda: os.open("/proc/self/fd/oom_score_adj", os.O_WRONLY))


def oom_scores_of_users() -> None:
    for value in ("50", "40", "-1", "1001", "-1001", "x", "7 8", "1_0", "99999999999999999999", ""):
        code = f"import os; os.write(os.open('/proc/self/oom_score_adj', os.O_WRONLY), {value!r}.encode())"
        code += "; print(open('/proc/self/oom_score_adj').read())"
        command = ["setpriv", "--reuid=33", "--regid=33", "--clear-groups", sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        print(repr(value), done.stdout, done.stderr.splitlines()[-1:])


def keyctl(*args: int) -> int | str:
    result = LIBC.syscall(250, *map(ctypes.c_long, args))
    return result if result >= 0 else errno.errorcode[ctypes.get_errno()]


def held(ring: int | str) -> list[int] | str:
    """The keys in a keyring."""
    area = (ctypes.c_int32 * 100)()
    size = keyctl(11, int(ring), ctypes.addressof(area), 400)
    return size if isinstance(size, str) else list(area)[: size // 4]


def description(key: int, size: int = 100) -> tuple[int | str, bytes]:
    area = ctypes.create_string_buffer(100)
    return keyctl(6, key, ctypes.addressof(area), size), area.value


def persistent(uid: int, ring: int = -2) -> int:
    """Get a persistent keyring into `ring`; print whether it is there, and what it is."""
    key = keyctl(22, uid, ring)
    if isinstance(key, str):
        print(uid, key)
        return 0
    inside = held(ring)
    print(uid, "a key", key in inside if isinstance(inside, list) else inside, description(key))
    return key


def persistent_keyrings() -> None:
    """Whose a user may have, what they are, and which keyrings they are then in."""
    own = keyctl(1, 0)  # a session keyring of our own
    print(isinstance(own, int))
    for uid in (0, -1, 1000, 33, 0x7FFF_FFFF, -2):
        for ring in (-1, -2, -3, -3, int(own), -9, 0, 0x7FFF_FFFF, -4, -5):
            persistent(uid, ring)
    for size in (0, 10, 40, 41, 42):
        print(description(persistent(33), size))
    print(persistent(33) == persistent(33, -3), persistent(33) == persistent(1000))
    ring = persistent(33)
    print(keyctl(7, ring))  # cleared of what was there before
    key = LIBC.syscall(248, b"user", b"remainroot:test", b"text", 4, ring)
    print(held(ring) == [key], description(key)[1].rpartition(b";")[2])
    persistent(34, key)
    for ids in ((33, 33, 33), (33, 34, 34), (34, 33, 34)):

        def user(ids: tuple[int, int, int] = ids) -> None:
            os.setresuid(*ids)
            for uid in (0, 1000, 34, 33, -2):
                persistent(uid)
                persistent(uid, -9)
            print(persistent(-1) == ring, held(ring) == [key])

        print(in_child(user))

    def capable() -> None:
        os.setresuid(0, 33, 0)
        persistent(1000)

    in_child(capable)
    print(keyctl(3, ring), description(ring), persistent(33) == ring, held(persistent(33)))  # revoked


def persistent_keyrings_of_threads() -> None:
    """Signals come while the keyring is linked; none is lost, and no call is disturbed."""
    count = 0

    def caught(*_: object) -> None:
        nonlocal count
        count += 1

    signal.signal(signal.SIGALRM, caught)
    signal.siginterrupt(signal.SIGALRM, False)
    signal.setitimer(signal.ITIMER_REAL, 0.003, 0.003)
    results: list[int] = []

    def ask(uid: int) -> None:
        results.extend(LIBC.syscall(250, 22, uid, -2) for _ in range(20))

    threads = [threading.Thread(target=ask, args=(uid,)) for uid in (33, 34, 35)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while not count:
        time.sleep(0.01)
    signal.setitimer(signal.ITIMER_REAL, 0, 0)
    print(len(results), len(set(results)), min(results) > 0)


def policies() -> None:
    real_time = [(os.SCHED_FIFO, 7), (os.SCHED_RR, 1), (os.SCHED_FIFO, 0), (os.SCHED_FIFO, 100)]
    for policy, priority in (*real_time, (os.SCHED_BATCH, 0), (os.SCHED_RR | 0x40000000, 99), (0, 0), (9, 1)):
        attempt(f"{policy} {priority}", functools.partial(os.sched_setscheduler, 0, policy, os.sched_param(priority)))
        print(os.sched_getscheduler(0), os.sched_getparam(0).sched_priority)
    for size in (0, 47, 48, 56, 57, 4096, 4097):
        for rest in (0, 1):
            for policy, priority in ((os.SCHED_FIFO, 5), (os.SCHED_OTHER, 0)):
                text = struct.pack("=IIQiI", size, policy, 0, 0, priority).ljust(56, b"\0") + bytes([rest]) * 5000
                area = ctypes.create_string_buffer(text, len(text))
                result = LIBC.syscall(314, 0, area, 0)
                print(size, rest, policy, errno.errorcode[ctypes.get_errno()] if result else 0, area.raw[:4],
                      os.sched_getscheduler(0))  # fmt: skip
    attempt("set", lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(5)))
    attempt("param", lambda: os.sched_setparam(0, os.sched_param(6)))
    attempt("param", lambda: os.sched_setparam(0, os.sched_param(0)))
    print(os.sched_getscheduler(os.getpid()), os.sched_getparam(0).sched_priority)
    for command in ("chrt -f 9 chrt -p 0", "ionice -c1 -n3 ionice", "ionice -c2 ionice"):
        done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
        print(done.returncode, [line.split("'")[-1] for line in done.stdout.splitlines()])
    drop(33, 33)
    print(os.sched_getscheduler(0))
    done = subprocess.run(["ionice", "-c1", "true"], capture_output=True, text=True, check=False)
    print(done.returncode, done.stderr)


IOPRIO_SET, IOPRIO_GET = 251, 252


def host_names() -> None:
    attempt("set", lambda: socket.sethostname("a-name-that-nobody-has"))
    print(socket.gethostname(), os.uname().nodename)
    print(subprocess.run(["hostname"], capture_output=True, text=True, check=True).stdout)
    attempt("long", lambda: socket.sethostname("x" * 65))
    domain = ctypes.create_string_buffer(b"example.invalid")
    print(LIBC.setdomainname(domain, 15))
    print(subprocess.run(["domainname"], capture_output=True, text=True, check=True).stdout)
    print(os.uname().sysname, os.uname().machine, os.uname().release)
    print(subprocess.run(["setarch", "i686", "uname", "-nm"], capture_output=True, text=True, check=True).stdout)
    drop(33, 33)
    attempt("user", lambda: socket.sethostname("other"))
    print(socket.gethostname())


def join(fd: int, kinds: int) -> None:
    """setns(2), in a child that nothing of it may outlast."""
    in_child(lambda: attempt(f"join {kinds:x}", lambda: LIBC.setns(fd, kinds) and os.strerror(ctypes.get_errno())))


def own_namespaces() -> None:
    """To join where one is already takes the same privileges; there is nothing to do then."""
    kinds = {"uts": 1 << 26, "ipc": 1 << 27, "net": 1 << 30, "cgroup": 1 << 25, "pid": 1 << 29, "time": 1 << 7}
    for user in (0, 33):
        if user:
            drop(user, user)
            LIBC.prctl(4, 1, 0, 0, 0)  # dumpable: its own files of procfs are its own again
        for name, kind in kinds.items():
            fd = os.open(f"/proc/self/ns/{name}", os.O_RDONLY)
            print(name)
            for wanted in (0, kind, 1 << 28, 3 << 26):
                join(fd, wanted)
            os.close(fd)
        me = os.pidfd_open(os.getpid())
        for wanted in (0, kinds["uts"], kinds["uts"] | kinds["net"] | kinds["cgroup"], 1):
            join(me, wanted)
        os.close(me)
    join(99, 0)


def locking() -> None:
    print(LIBC.mlockall(3), LIBC.mlockall(8), LIBC.mlockall(0), LIBC.munlockall())
    buffer = ctypes.create_string_buffer(64 << 20)
    print(LIBC.mlock(buffer, len(buffer)))
    _ = bytearray(32 << 20)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (4096, 4096))
    place, word = ctypes.addressof(buffer), ctypes.c_size_t
    sizes = (-4096, 0, 1 << 20, 1 << 40, -1)
    for address, size in ((4096, 1 << 20), (-4096, 8192), (place + 5, 1 << 20), *((place, size) for size in sizes)):
        result = LIBC.mlock(word(address), word(size))
        print(size, result, ctypes.get_errno() if result else 0)
    for flags in (0, 1, 2, 3, -1):
        result = LIBC.mlock2(word(place), word(1 << 20), flags)
        print("flags", flags, result, ctypes.get_errno() if result else 0)


# ---------------------------------------------------------------- terminals and pipes


def terminals() -> None:
    """A new terminal is its opener's, whoever had one of that number before; a user's pipe is the user's to open."""

    def shown(fd: int) -> tuple[int, bool, str]:
        st = os.fstat(fd)
        assert os.stat(os.ttyname(fd)) == st
        return st.st_uid, st.st_gid == group, oct(st.st_mode & 0o7000)

    master, slave = os.openpty()
    group = os.fstat(slave).st_gid
    print(shown(slave))
    os.chown(os.ttyname(slave), 33, 4)
    print(shown(slave))
    fcntl.ioctl(master, 0x40045431, struct.pack("i", 0))
    print(shown(slave))
    os.close(slave)
    os.close(master)
    master, slave = os.openpty()
    print(shown(slave))
    os.close(slave)
    os.close(master)

    def user() -> None:
        drop(42, group)
        master, slave = os.openpty()
        print(shown(slave))
        attempt("chmod", lambda: os.fchmod(slave, 0o620))
        attempt("chown", lambda: os.fchown(slave, 33, -1))
        attempt("open", lambda: os.close(os.open(os.ttyname(slave), os.O_RDWR | os.O_NOCTTY)))
        read, write = os.pipe()
        attempt("pipe", lambda: os.close(os.open(f"/proc/self/fd/{write}", os.O_WRONLY)))
        attempt("pipe", lambda: os.close(os.open(f"/dev/fd/{read}", os.O_RDONLY)))
        os.close(master)

    print(in_child(user))
    master, slave = os.openpty()
    print(shown(slave))


def pipe2(flags: int, ends: object) -> int:
    if LIBC.pipe2(ends, flags) < 0:
        raise OSError(ctypes.get_errno(), "")
    return 0


def owned(fd: int) -> str:
    st = os.fstat(fd)
    return f"{st.st_mode:o} {st.st_uid}:{st.st_gid}"


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def open_again(fd: int) -> None:
    for path in (f"/proc/self/fd/{fd}", f"/dev/fd/{fd}"):
        attempt("again", lambda path=path: os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK)))  # type: ignore[misc]


def make_pipes(least: int, gid: int, other: int) -> None:
    """By every flag, and where there is no room; `least` is the lowest free descriptor."""
    ends = (ctypes.c_int * 2)(-7, -7)
    for flags in (0, os.O_NONBLOCK, os.O_CLOEXEC, os.O_CLOEXEC | os.O_DIRECT, os.O_EXCL | os.O_SYNC, 0o777):
        attempt("made", functools.partial(pipe2, flags, ends))
        print([fd - least for fd in ends])
    for fd in range(least, least + 8):
        print(fd - least, owned(fd), [fcntl.fcntl(fd, what) for what in (fcntl.F_GETFL, fcntl.F_GETFD, 1032)])
    attempt("mode", lambda: os.fchmod(least, 0o640))
    print(owned(least + 1))
    open_again(least)
    attempt("group", lambda: os.fchown(least, -1, gid))
    attempt("other", lambda: os.fchown(least + 2, other, -1))
    print(owned(least + 3))
    open_again(least + 2)
    for address in (None, ctypes.c_void_p(16)):
        attempt("nowhere", functools.partial(pipe2, 0, address))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for left in (2, 1, 0):
        resource.setrlimit(resource.RLIMIT_NOFILE, (least + 8 + left, hard))
        ends[0] = ends[1] = -7
        attempt("no room", lambda: pipe2(0, ends))
        print([fd - least for fd in ends], [fd - least for fd in range(least + 16) if is_open(fd)])
        for fd in {*ends} - {-7}:
            os.close(fd)


def pipes() -> None:
    """Whose a pipe is, who opens it anew, and what a pipe that cannot be made leaves behind."""

    def work(ids: tuple[int, int, int]) -> None:
        uid, gid, other = ids
        os.setresgid(0, gid, 0)
        os.setresuid(0, uid, 0)
        for fd in outer:
            open_again(fd)
        make_pipes(least, gid, other)
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        print([owned(fd) for fd in (*outer, least, least + 2)])

    os.closerange(3, 64)
    outer = os.pipe()
    least = max(outer) + 1
    for ids in ((42, 43, 42), (0, 44, 8), (1000, 1000, 0), (0, 0, 5)):
        print(ids)
        print(in_child(functools.partial(work, ids)))


def pipes_of_threads() -> None:
    """Four threads of a user make pipes."""
    drop(42, 43)
    found: set[str] = set()

    def work() -> None:
        for _ in range(50):
            ends = os.pipe()
            found.update(owned(fd) for fd in ends)
            os.write(ends[1], b"x")
            os.close(ends[0])
            os.close(ends[1])

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(found)


def unnamed_files() -> None:
    """A user may give its own pipes and sockets another mode, and to a group that it is in."""

    def user() -> None:
        drop(42, 43, (44,))
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        calling = socket.create_connection(listening.getsockname())
        accepted = listening.accept()[0]
        unix = socket.socket(socket.AF_UNIX)
        sockets = (listening, calling, accepted, unix, *socket.socketpair())
        for fd in (*os.pipe(), *(one.fileno() for one in sockets)):
            attempt("mode", lambda fd=fd: os.fchmod(fd, 0o640))  # type: ignore[misc]
            attempt("times", lambda fd=fd: os.utime(fd, (7, 8)))  # type: ignore[misc]
            attempt("group", lambda fd=fd: os.fchown(fd, -1, 44))  # type: ignore[misc]
            attempt("group", lambda fd=fd: os.fchown(fd, -1, 45))  # type: ignore[misc]
            attempt("user", lambda fd=fd: os.fchown(fd, 0, -1))  # type: ignore[misc]
            print(oct(os.fstat(fd).st_mode))
        unix.bind("socket")
        print(shown("socket"))

    print(in_child(user))


def own_links() -> None:
    """A user's own descriptors, in /proc and in another procfs, though it is not dumpable; another's are not for it."""
    mount_proc()
    parent = os.getpid()

    def enter(path: str) -> None:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY))

    def user() -> None:
        drop(33, 34)
        place = os.open("/usr", os.O_PATH)
        for proc in ("/proc", "proc"):
            for whose in ("self", "thread-self", str(parent)):
                attempt("directory", functools.partial(enter, f"{proc}/{whose}/fd"))
                attempt("descriptor", functools.partial(enter, f"{proc}/{whose}/fd/{place}"))
                attempt("root", functools.partial(enter, f"{proc}/{whose}/root/usr"))
            print(str(place) in os.listdir(f"{proc}/self/fd"))

    print(in_child(user))


# ---------------------------------------------------------------- Landlock


def confine(*allowed: str) -> None:
    """Let this process make and write files below these directories only (landlock(7), its first version)."""
    restrict(0x2 | 0x1FF0, *allowed)


def restrict(rights: int, *allowed: str) -> None:
    """Let this process have these rights below these directories only."""
    handled = struct.pack("=Q", rights)
    rules = LIBC.syscall(444, handled, ctypes.c_size_t(len(handled)), 0)
    for path in allowed:
        below = os.open(path, os.O_PATH | os.O_DIRECTORY)
        assert LIBC.syscall(445, rules, 1, struct.pack("=Qi", rights, below), 0) == 0
        os.close(below)
    assert LIBC.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    assert LIBC.syscall(446, rules, 0) == 0
    os.close(rules)


def landlocked_reads() -> None:
    """A confined user reads its own story in procfs, if it may open that at all."""

    def outside() -> None:
        restrict(0x4, ".")  # LANDLOCK_ACCESS_FS_READ_FILE
        drop(33, 34)
        for name in ("status", "limits", "uid_map", "stat"):
            attempt(name, functools.partial(os.open, f"/proc/self/{name}", os.O_RDONLY))

    def inside() -> None:
        restrict(0x4, "/proc")
        drop(33, 34)
        with open("/proc/self/status", encoding="ascii") as file:
            print(*[line.split() for line in file if line.startswith(("Uid", "Gid"))])

    print(in_child(outside))
    print(in_child(inside))


def listed(*directories: str) -> None:
    for directory in directories:
        for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
            st = entry.stat(follow_symlinks=False)
            print(entry.path, st.st_uid, st.st_gid, oct(st.st_mode))


def landlocked() -> None:
    """What a confined user makes is its own; what it may not make is not made, and not its own when others make it."""
    for name, gid, mode in (("below", 0, 0o777), ("shared", 50, 0o2777), ("outside", 0, 0o777)):
        os.mkdir(name)
        os.chown(name, 0, gid)
        os.chmod(name, mode)
    os.close(os.open("below/there", os.O_CREAT))
    os.chmod("below/there", 0o666)
    os.symlink("target", "below/dangling")

    def make() -> None:
        os.umask(0o027)
        new = os.O_CREAT | os.O_WRONLY
        attempt("there", lambda: os.close(os.open("below/there", new)))
        attempt("there, new", lambda: os.open("below/there", new | os.O_EXCL))
        attempt("file", lambda: os.close(os.open("below/file", new, 0o666)))
        attempt("chmod", lambda: os.chmod("below/file", 0o604))
        attempt("through a link", lambda: os.close(os.open("below/dangling", new, 0o600)))
        attempt("link, not followed", lambda: os.open("below/dangling", new | os.O_NOFOLLOW))
        attempt("directory", lambda: os.mkdir("below/directory"))
        attempt("in it", lambda: os.close(os.open("below/directory/file", new)))
        attempt("there already", lambda: os.mkdir("below/there"))
        attempt("link", lambda: os.symlink("file", "below/link"))
        attempt("FIFO", lambda: os.mkfifo("below/fifo"))
        attempt("device", lambda: os.mknod("below/device", 0o020600, os.makedev(1, 3)))
        attempt("socket", lambda: socket.socket(socket.AF_UNIX).bind("below/socket"))
        attempt("in a shared directory", lambda: os.close(os.open("shared/file", new)))
        attempt("directory in it", lambda: os.mkdir("shared/directory"))
        for number in range(20):
            os.close(os.open(f"shared/{number}", new))
        attempt("outside", lambda: os.open("outside/file", new))
        attempt("directory outside", lambda: os.mkdir("outside/directory"))
        attempt("link outside", lambda: os.symlink("x", "outside/link"))
        attempt("not mine", lambda: os.chmod("below/there", 0o666))

    def user() -> None:
        confine("below", "shared")
        drop(33, 34)
        make()

    print(in_child(user))
    for name in ("file", "link"):
        os.close(os.open(f"outside/{name}", os.O_CREAT, 0o666))
    listed("below", "below/directory", "shared", "outside")

    def root() -> None:
        confine("below")
        os.close(os.open("below/root's", os.O_CREAT))
        attempt("outside", lambda: os.open("outside/root's", os.O_CREAT))
        LIBC.setfsuid(7)
        os.mkdir("below/7's")

    print(in_child(root))
    listed("below", "outside")


# ---------------------------------------------------------------- times of change


def make_every_kind() -> None:
    for name, mode in (("file", 0o644), ("set-id", 0o6755)):
        os.close(os.open(name, os.O_CREAT))
        os.chmod(name, mode)
    os.mkdir("directory")
    os.symlink("file", "link")
    os.mkfifo("fifo")
    os.mknod("socket", 0o140644)
    os.mknod("character", 0o020644, os.makedev(1, 3))
    os.mknod("block", 0o060644, os.makedev(7, 9))


ACCESS = "system.posix_acl_access"
CAP_NET_RAW = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)


def access_list(user: int) -> bytes:
    entries = ((1, 6, -1), (2, 4, user), (4, 4, -1), (16, 4, -1), (32, 4, -1))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)


def immutable(path: str, flag: int) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        old = int.from_bytes(fcntl.ioctl(fd, 0x80086601, bytes(4)), "little")
        return fcntl.ioctl(fd, 0x40086602, (old & ~0x10 | flag).to_bytes(4, "little"))
    finally:
        os.close(fd)


EVERY = ("file", "set-id", "directory", "link", "fifo", "socket", "character", "block")
WITH_MODE = tuple(kind for kind in EVERY if kind != "link")
FLAGGED = ("file", "directory")
CHANGES: list[tuple[str, tuple[str, ...], Callable[[str], object]]] = [
    ("chown", EVERY, lambda path: os.lchown(path, 7, 8)),
    ("chown to the same", EVERY, lambda path: os.lchown(path, 7, 8)),
    ("chown to nobody", EVERY, lambda path: os.lchown(path, -1, -1)),
    ("chown back", EVERY, lambda path: os.lchown(path, 0, 0)),
    ("chmod", WITH_MODE, lambda path: os.chmod(path, 0o600)),
    ("chmod to the same", WITH_MODE, lambda path: os.chmod(path, 0o600)),
    ("chmod to set-id", WITH_MODE, lambda path: os.chmod(path, 0o6711)),
    ("capability", ("file",), lambda path: os.setxattr(path, "security.capability", CAP_NET_RAW)),
    ("trusted", EVERY, lambda path: os.setxattr(path, "trusted.a", b"1", follow_symlinks=False)),
    ("trusted, removed", EVERY, lambda path: os.removexattr(path, "trusted.a", follow_symlinks=False)),
    ("trusted, not there", EVERY, lambda path: os.removexattr(path, "trusted.a", follow_symlinks=False)),
    ("security", EVERY, lambda path: os.setxattr(path, "security.a", b"1", follow_symlinks=False)),
    ("security, removed", EVERY, lambda path: os.removexattr(path, "security.a", follow_symlinks=False)),
    ("list of a user", EVERY, lambda path: os.setxattr(path, ACCESS, access_list(7), follow_symlinks=False)),
    ("list of another", EVERY, lambda path: os.setxattr(path, ACCESS, access_list(9), follow_symlinks=False)),
    ("list, removed", EVERY, lambda path: os.removexattr(path, ACCESS, follow_symlinks=False)),
    ("immutable", FLAGGED, lambda path: immutable(path, 0x10)),
    ("chmod of an immutable", FLAGGED, lambda path: os.chmod(path, 0o755)),
    ("no more immutable", FLAGGED, lambda path: immutable(path, 0)),
    ("a user's chmod", EVERY, lambda path: in_child(lambda: as_nobody(lambda: os.chmod(path, 0o777)))),
]


def as_nobody(act: Callable[[], None]) -> None:
    drop(99, 99)
    try:
        act()
    except OSError as error:
        print(errno.errorcode[error.errno or 0], end=" ")


def times_of_change() -> None:
    """Which of a file's times each change moves."""
    make_every_kind()
    for path in EVERY:
        for name, kinds, change in CHANGES:
            if path not in kinds:
                continue
            before = os.lstat(path)
            time.sleep(0.02)
            attempt(f"{path}, {name}:", functools.partial(change, path))
            after = os.lstat(path)
            moved = [name for name in ("st_mtime_ns", "st_ctime_ns") if getattr(before, name) != getattr(after, name)]
            capable = "security.capability" in os.listxattr(path, follow_symlinks=False)
            print(" ", oct(after.st_mode), *moved, "capable" * capable)


def given_files_of_tasks() -> None:
    """A task's files in procfs are its own again as soon as they are looked for; its directory, and settings, stay."""
    os.dup2(os.open(".", os.O_RDONLY), 63)
    mine = f"/proc/{os.getpid()}"
    for name in ("fd/63", "cwd", "status", "fd", "", f"task/{os.getpid()}", "task", "ns", "net"):
        for ids in ((33, 44), (0, 0), (-1, 5)):
            attempt(name.rstrip("0123456789"), functools.partial(os.lchown, f"{mine}/{name}".rstrip("/"), *ids))
            st = os.lstat(f"{mine}/{name}")
            print(oct(st.st_mode), st.st_uid, st.st_gid)
    for path in ("/proc/sys", "/proc/sys/kernel/hostname"):
        attempt(path, functools.partial(os.chown, path, 33, 44))


def made_below_files() -> None:
    """What is no directory holds nothing, whoever has it, and keeps its owner."""
    kinds = (stat.S_IFIFO, stat.S_IFREG, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)
    fds = [os.open(name, os.O_CREAT | os.O_RDWR) for name in ("theirs", "ours")]
    os.fchown(fds[0], 42, 43)
    for fd in fds:
        for kind in kinds:
            attempt(oct(kind), functools.partial(os.mknod, "below", kind | 0o640, 0x103, dir_fd=fd))
        attempt("directory", functools.partial(os.mkdir, "below", dir_fd=fd))
        attempt("file", functools.partial(os.open, "below", os.O_CREAT, dir_fd=fd))
        print(os.fstat(fd).st_uid, os.fstat(fd).st_gid, oct(os.fstat(fd).st_mode))


if __name__ == "__main__":
    LIBC.setgroups(0, None)
    globals()[sys.argv[1]]()
