# SPDX-License-Identifier: GPL-2.0-or-later
"""What users of all kinds may do to tasks of all kinds, with their namespaces and sockets: strict_tasks.py DIRECTORY.

To be run as root, real or not, in a mount and a UTS namespace of its own; prints the same whichever it is. The
directory is empty and everybody may search it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import socket
import struct
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from tests.handlers.strict_ops import DAC_READ_SEARCH, LIBC, USERS, become, check, describe, inside, is_capable

if TYPE_CHECKING:
    from collections.abc import Callable

SYS_PTRACE, SYS_ADMIN, LEASE, KILL, SYS_CHROOT, NET_BIND_SERVICE, NET_RAW = 19, 21, 28, 5, 18, 10, 13
USERS |= {
    "tracer": (1001, 1001, (), (SYS_PTRACE,)),
    "admin": (1001, 1001, (), (SYS_ADMIN,)),
    "lessor": (1001, 1001, (), (LEASE,)),
    "killer": (1001, 1001, (), (KILL,)),
    "chrooter": (1001, 1001, (), (SYS_CHROOT,)),
    "networker": (1001, 1001, (), (NET_BIND_SERVICE, NET_RAW)),
}
TARGETS = ("ann", "keeper", "zero", "root", "shy")
USERS["shy"] = USERS["ann"]  # and not dumpable
SHOWN = ("environ", "mem", "auxv", "maps", "smaps", "io", "syscall", "pagemap", "status", "stat", "ns/uts", "fdinfo/0",
         "fd/0", "cwd/", "root/", "exe", "clear_refs", "comm", "limits")  # fmt: skip
PIDFD_OPEN, PIDFD_SIGNAL, PIDFD_GETFD, MADVISE = 434, 424, 438, 440
KCMP, ROBUST, MOVE_PAGES, MIGRATE, READ_MEMORY, WRITE_MEMORY = 312, 274, 279, 256, 310, 311
SETAFFINITY, SETATTR, GETATTR, PRLIMIT, IOPRIO_SET = 203, 314, 315, 302, 251


def system_call(*arguments: object) -> None:
    check(LIBC.syscall(*(ctypes.c_long(word) if isinstance(word, int) else word for word in arguments)))


def opened(flags: int, path: str) -> None:
    os.close(os.open(path, flags))


def by_pidfd(number: int, pid: int, *arguments: object) -> None:
    fd = check_fd(LIBC.syscall(PIDFD_OPEN, pid, 0))
    try:
        got = check_fd(LIBC.syscall(number, fd, *arguments))
        if number == PIDFD_GETFD:
            os.close(got)
    finally:
        os.close(fd)


def listed(name: str, pid: int) -> None:
    os.listdir(f"/proc/{pid}/{name}")


def linked(name: str, pid: int) -> None:
    os.readlink(f"/proc/{pid}/{name}")


def seen(flags: int, name: str, pid: int) -> None:
    opened(flags, f"/proc/{pid}/{name}")


def seen_by_thread(name: str, pid: int) -> None:
    opened(os.O_RDONLY, f"/proc/{pid}/task/{pid}/{name}")


def accessible(name: str, pid: int) -> None:
    check(LIBC.access(f"/proc/{pid}/{name}".encode(), os.R_OK))


def check_fd(result: int) -> int:
    check(result)
    return result


def seize(pid: int) -> None:
    """In a child, whose end lets go of it."""
    inside(lambda: check(LIBC.ptrace(0x4206, pid, None, None)))


MINE, THEIRS = ctypes.create_string_buffer(8), ctypes.create_string_buffer(8)


def vm(number: int, size: int, pid: int) -> None:
    """Of `size` bytes, which are at the same place in each of us."""
    local, remote = (struct.pack("=QQ", ctypes.addressof(buffer), size) for buffer in (MINE, THEIRS))
    system_call(number, pid, local, 1, remote, 1, 0)


def lowered(pid: int) -> None:
    """As somebody else effectively: what counts are the real ids."""
    LIBC.seteuid(33)
    vm(READ_MEMORY, 8, pid)


def by_directory(pid: int) -> None:
    """The process whose directory on procfs the descriptor is of."""
    fd = os.open(f"/proc/{pid}", os.O_RDONLY)
    try:
        system_call(PIDFD_SIGNAL, fd, 0, None, 0)
    finally:
        os.close(fd)


def signalled(flags: int, pid: int) -> None:
    by_pidfd(PIDFD_SIGNAL, pid, 0, None, flags)


def attributed(policy: int, flags: int, pid: int, nice: int = 5, priority: int = 0) -> None:
    """With struct sched_attr, of a nice value."""
    system_call(SETATTR, pid, struct.pack("=IIQiIQQQ", 48, policy, flags, nice, priority, 1_000_000, 0, 0), 0)


def prioritised(value: int, pid: int) -> None:
    system_call(IOPRIO_SET, 1, pid, value)


def advised(pid: int) -> None:
    """What comes after permission takes a real CAP_SYS_NICE (EPERM)."""
    try:
        by_pidfd(MADVISE, pid, IOVEC, 1, 20, 0)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise


IOVEC = (ctypes.c_ulong * 2)(0, 0)
NODE = ctypes.c_ulong(1)
TO_TASKS: dict[str, Callable[[int], object]] = {
    **{f"see {name}": partial(seen, os.O_RDONLY, name) for name in SHOWN},
    **{f"task {name}": partial(seen_by_thread, name) for name in SHOWN},
    **{f"change {name}": partial(seen, os.O_WRONLY, name) for name in ("mem", "comm", "oom_score_adj", "clear_refs")},
    **{f"list {name}": partial(listed, name) for name in ("fd", "fdinfo", "ns", "task", "map_files")},
    **{f"link {name}": partial(linked, name) for name in ("cwd", "root", "exe", "ns/uts", "fd/0")},
    **{f"access {name}": partial(accessible, name) for name in ("environ", "maps", "fdinfo/0")},
    "seize": seize,
    "seize at": lambda pid: inside(lambda: check(LIBC.ptrace(0x4206, pid, 1, None))),
    "seize wrong": lambda pid: inside(lambda: check(LIBC.ptrace(0x4206, pid, None, 0x800000))),
    "kill": lambda pid: os.kill(pid, 0),
    "kill group": lambda pid: os.kill(-pid, 0),
    "kill by directory": by_directory,
    "kill CONT": lambda pid: os.kill(pid, signal.SIGCONT),
    "pidfd signal": lambda pid: by_pidfd(PIDFD_SIGNAL, pid, 0, None, 0),
    **{f"pidfd signal {flags}": partial(signalled, flags) for flags in (1, 2, 3, 4, 8)},
    "pidfd getfd": lambda pid: by_pidfd(PIDFD_GETFD, pid, 0, 0),
    "pidfd getfd wrong": lambda pid: by_pidfd(PIDFD_GETFD, pid, 0, 1),
    "madvise": advised,
    "madvise nowhere": lambda pid: by_pidfd(MADVISE, pid, 16, 1, 20, 0),
    "kcmp": lambda pid: system_call(KCMP, pid, os.getpid(), 0, 0, 0),
    "kcmp other way": lambda pid: system_call(KCMP, os.getpid(), pid, 0, 0, 0),
    "read memory": partial(vm, READ_MEMORY, 8),
    "read memory lowered": lambda pid: inside(partial(lowered, pid)),
    "read nothing": partial(vm, READ_MEMORY, 0),
    "read too much": partial(vm, READ_MEMORY, 1 << 63),
    "write memory": partial(vm, WRITE_MEMORY, 8),
    "robust list": lambda pid: system_call(ROBUST, pid, (ctypes.c_ulong * 1)(), (ctypes.c_ulong * 1)()),
    "move pages": lambda pid: system_call(MOVE_PAGES, pid, 0, None, None, None, 2),
    "migrate": lambda pid: system_call(MIGRATE, pid, 2, ctypes.byref(NODE), ctypes.byref(NODE)),
    "setpriority": lambda pid: os.setpriority(os.PRIO_PROCESS, pid, 5),
    "setscheduler": lambda pid: os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0)),
    "setaffinity": lambda pid: os.sched_setaffinity(pid, os.sched_getaffinity(pid)),
    "setaffinity nowhere": lambda pid: system_call(SETAFFINITY, pid, 8, 16),
    "setattr": partial(attributed, 0, 0),
    **{f"setattr {policy} {flags:x}": partial(attributed, policy, flags)
       for policy, flags in ((0, 1 << 20), (0, 0x10), (0, 8), (0, 0x18), (99, 0), (6, 0), (6, 1 << 20))},
    **{f"setattr of another policy {flags:x}": partial(attributed, 1, flags, priority=1) for flags in (8, 9, 0x18)},
    "setattr lower": partial(attributed, 5, 8, nice=-5),
    **{f"ioprio {value:x}": partial(prioritised, value) for value in (2 << 13 | 5, 3 << 13)},
    "getattr wrong": lambda pid: system_call(GETATTR, pid, ctypes.create_string_buffer(8192), 5000, 0),
    "prlimit nowhere": lambda pid: system_call(PRLIMIT, pid, 7, 16, None),
}  # fmt: skip


def send(how: str, path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.setblocking(False)
        if how == "sendto":
            made.sendto(b"x", path)
        elif how == "sendmsg":
            made.sendmsg([b"x"], [], 0, path)
        else:
            made.connect(path)


def control(command: int, argument: int, path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        check(LIBC.fcntl(fd, command, argument))
    finally:
        os.close(fd)


def join(kind: str, flags: int) -> None:
    fd = os.open(f"/proc/self/ns/{kind}", os.O_RDONLY)
    try:
        check(LIBC.setns(fd, flags))
    finally:
        os.close(fd)


def unshare(*steps: int) -> None:
    for flags in steps:
        check(LIBC.unshare(flags))


def cloned(flags: int) -> None:
    pid = check_fd(LIBC.syscall(56, flags | signal.SIGCHLD, 0, 0, 0, 0))
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def cloned_by_struct(flags: int, *rest: int) -> None:
    """With struct clone_args: pidfd, the tids' addresses, the signal, stack, its size, tls, pids, how many."""
    arguments = struct.pack("=11Q", flags, *(rest or (0, 0, 0, 17)), *(0,) * (10 - (len(rest) or 4)))
    pid = check_fd(LIBC.syscall(435, arguments, 88))
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def hinted(hint: int) -> None:
    """How long what is written to a file will live."""
    fd = os.open("file", os.O_RDONLY)
    try:
        check(LIBC.fcntl(fd, 1036, struct.pack("=Q", hint)))
    finally:
        os.close(fd)


def by_handle(path: bytes) -> None:
    """That it succeeds takes the real capability."""
    handle = ctypes.create_string_buffer(136)
    struct.pack_into("=I", handle, 0, 128)
    mount = ctypes.c_int()
    check(LIBC.name_to_handle_at(-100, path, handle, ctypes.byref(mount), 0))
    if not is_capable(DAC_READ_SEARCH):
        os.close(check_fd(LIBC.open_by_handle_at(-100, handle, os.O_RDONLY)))


def bound(kind: int, family: int, address: tuple[str, int]) -> None:
    with socket.socket(family, kind, socket.IPPROTO_ICMP if kind == socket.SOCK_RAW else 0) as made:
        made.bind(address)


def made(family: int, kind: int, protocol: int) -> None:
    socket.socket(family, kind, protocol).close()


ALLOW = ctypes.create_string_buffer(4097 * struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000))


def filtered(call: str, length: int = 1, *, flags: int = 0, no_new_privs: bool = False) -> None:
    """A seccomp filter, which takes CAP_SYS_ADMIN or no_new_privs."""
    program = ctypes.create_string_buffer(struct.pack("=HxxxxxxQ", length, ctypes.addressof(ALLOW)), 16)
    if no_new_privs:
        check(LIBC.prctl(38, 1, 0, 0, 0))
    if call == "prctl":
        check(LIBC.prctl(22, 2, program, 0, 0))
    else:
        system_call(317, 1, flags, program)


def confined(fd: int = -1, flags: int = 0, *, no_new_privs: bool = False) -> None:
    """As `filtered`, with Landlock."""
    if no_new_privs:
        check(LIBC.prctl(38, 1, 0, 0, 0))
    system_call(446, fd, flags)


def cached(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        system_call(451, fd, struct.pack("=QQ", 0, 4096), ctypes.create_string_buffer(40), 0)
    finally:
        os.close(fd)


NS, UTS, IPC, USER, PID = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000
ALONE: dict[str, Callable[[], object]] = {
    **{f"{how} {name}": partial(send, how, name)
       for how in ("sendto", "sendmsg", "connect") for name in ("mine", "d/all")},
    "noatime": lambda: control(4, os.O_NOATIME, "file"),
    "nonblock": lambda: control(4, os.O_NONBLOCK, "file"),
    "lease": lambda: control(1024, 0, "file"),
    "lease wrong": lambda: control(1024, 77, "file"),
    **{f"hint {hint}": partial(hinted, hint) for hint in (0, 3, 6)},
    "no lease": lambda: control(1024, 2, "file"),
    "mount": lambda: check(LIBC.mount(b"none", b"d", b"tmpfs", 0, None)) or LIBC.umount2(b"d", 2),
    "mount nowhere": lambda: check(LIBC.mount(b"none", b"nothing", b"tmpfs", 0, None)),
    "mount hidden": lambda: check(LIBC.mount(b"none", b"hidden/d", b"tmpfs", 0, None)),
    "umount": lambda: check(LIBC.umount2(b"d", 0)),
    "umount hidden": lambda: check(LIBC.umount2(b"hidden/d", 0)),
    "umount wrong": lambda: check(LIBC.umount2(b"d", 0x100)),
    "fsopen": lambda: os.close(check_fd(LIBC.syscall(430, b"tmpfs", 0))),
    "fspick": lambda: system_call(433, -100, b"nothing", 0),
    "fsmount": lambda: system_call(432, -1, 0, 0),
    "move_mount": lambda: system_call(429, -1, b"", -1, b"", 0),
    "open_tree": lambda: os.close(check_fd(LIBC.syscall(428, -100, b"d", 0))),
    "open_tree hidden": lambda: os.close(check_fd(LIBC.syscall(428, -100, b"hidden/d", 0))),
    "open_tree clone": lambda: os.close(check_fd(LIBC.syscall(428, -100, b"d", 1))),
    "open_tree wrong": lambda: system_call(428, -100, b"d", 4),
    "pivot_root": lambda: system_call(155, b"nothing", b"nothing"),
    "mount_setattr": lambda: system_call(442, -100, b"nothing", 0, (ctypes.c_ulong * 4)(), 32),
    "mount_setattr flags": lambda: system_call(442, -100, b"nothing", 4, (ctypes.c_ulong * 4)(), 32),
    "mount_setattr wrong": lambda: system_call(442, -100, b"nothing", 0, (ctypes.c_ulong * 4)(), 3),
    **{f"unshare {flag:x}": partial(inside, partial(unshare, flag))
       for flag in (NS, UTS, IPC, UTS | IPC, USER, USER | NS, 0x80, USER | 0x80, 0x1, 0x200)},
    "unshare within": lambda: inside(lambda: unshare(USER, UTS)),
    **{f"clone {flag:x}": partial(cloned, flag) for flag in (0, UTS, IPC, USER | UTS, NS | 0x200)},
    **{f"clone3 {flags:x} {rest}": partial(cloned_by_struct, flags, *rest)
       for flags, rest in ((0, ()), (UTS, ()), (UTS | 0x200 | NS, ()), (PID | 0x10000, ()), (UTS | 0x8000, ()),
                           (UTS, (0, 0, 0, 65)), (UTS, (0, 0, 0, 17, 4096)), (UTS | 1 << 50, ()), (UTS | 0x800, ()),
                           (UTS | 0x400000, ()), (UTS, (0, 0, 0, 17, 0, 0, 0, 0, 1)))},
    **{f"setns {kind} {flags:x}": partial(inside, partial(join, kind, flags))
       for kind, flags in (("uts", 0), ("uts", UTS), ("uts", IPC), ("mnt", 0), ("user", 0), ("user", USER))},
    "by handle": lambda: by_handle(b"file"),
    "by handle hidden": lambda: by_handle(b"hidden/file"),
    "chroot": lambda: inside(lambda: os.chroot("d")),
    "chroot hidden": lambda: inside(lambda: os.chroot("hidden")),
    **{f"bind {port} {kind.name}": partial(bound, kind, socket.AF_INET, ("127.0.0.1", port))
       for port, kind in ((0, socket.SOCK_STREAM), (80, socket.SOCK_DGRAM), (80, socket.SOCK_RAW),
                          (1023, socket.SOCK_STREAM), (1024, socket.SOCK_STREAM))},
    "bind 80 inet6": partial(bound, socket.SOCK_STREAM, socket.AF_INET6, ("::1", 80)),
    **{f"socket {arguments}": partial(made, *arguments)
       for arguments in ((2, 3, 1), (2, 3, 0), (2, 3, 300), (2, 10, 0x300), (10, 3, 58), (17, 3, 0), (17, 1, 0),
                         (16, 3, 0), (2, 2, 0), (2, 99, 0))},
    **{f"filter {call} {length}": partial(inside, partial(filtered, call, length))
       for call, length in (("prctl", 0), ("prctl", 1), ("seccomp", 4096), ("seccomp", 4097))},
    "filter wrong": lambda: inside(lambda: filtered("seccomp", flags=1 << 20)),
    "filter log": lambda: inside(lambda: filtered("seccomp", flags=2)),
    "filter no_new_privs": partial(inside, partial(filtered, "seccomp", no_new_privs=True)),
    "filter nowhere": lambda: system_call(317, 1, 0, None),
    "confine": lambda: inside(confined),
    "confine wrong": lambda: inside(lambda: confined(flags=1 << 20)),
    "confine no_new_privs": lambda: inside(lambda: confined(no_new_privs=True)),
    **{f"cached {name}": partial(cached, name) for name in ("file", "theirs", "/proc/version")},
    "file attributes": lambda: system_call(468, -100, b"hidden/file", ctypes.create_string_buffer(24), 24, 0),
}  # fmt: skip


def start(name: str) -> int:
    """A process of that kind that waits."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(r, 0)
        become(name)
        if name == "shy":
            LIBC.prctl(4, 0, 0, 0, 0)
        os.write(w, b"x")
        while True:
            time.sleep(60)
    os.read(r, 1)
    os.close(r)
    os.close(w)
    return pid


def drain(receiver: socket.socket) -> None:
    """Take what was sent, or the next sender waits."""
    receiver.setblocking(False)
    try:
        while receiver.recv(8):
            pass
    except BlockingIOError:
        pass


def perform(user: str, targets: dict[str, int]) -> None:
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        become(user)
        for target, number in targets.items():
            for text, to_task in TO_TASKS.items():
                print(user, text, target, describe(partial(to_task, number)))
        for text, alone in ALONE.items():
            print(user, text, describe(alone))
        sys.stdout.flush()
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        print("ended badly")


def main() -> None:
    check(LIBC.unshare(0x4000_0000))  # ports of its own
    os.chdir(sys.argv[1])
    os.umask(0)
    os.mkdir("d", 0o755)
    os.mkdir("hidden", 0o700)
    os.mkdir("hidden/d", 0o755)
    for name, owner, mode in (("file", 1000, 0o644), ("hidden/file", 0, 0o644), ("theirs", 1001, 0o646)):
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY, mode))
        os.chown(name, owner, owner)
    sockets = []
    for name, owner, mode in (("mine", 1000, 0o700), ("d/all", 0, 0o777)):
        sockets.append(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        sockets[-1].bind(name)
        os.chmod(name, mode)
        os.chown(name, owner, owner)
    targets = {name: start(name) for name in TARGETS}
    try:
        for user in USERS:
            perform(user, targets)
            for one in sockets:
                drain(one)
    finally:
        for pid in targets.values():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
