# SPDX-License-Identifier: GPL-2.0-or-later
"""Operations on files by users of all kinds, each with the errno it ends in: strict_ops.py SEED COUNT DIRECTORY [WORD].

To be run as root, real or not; prints the same whichever it is. The directory is empty and everybody may search it.
With WORD: only operations whose name has it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
import socket
import stat
import struct
import sys
from functools import partial
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

Kept = tuple[int, ...] | Literal["real"] | None

LIBC = ctypes.CDLL(None, use_errno=True)
NOW, OMIT = 0x3FFFFFFF, 0x3FFFFFFE
CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, SETGID, SETUID, IMMUTABLE, MKNOD = 0, 1, 2, 3, 4, 6, 7, 9, 27
USERS: dict[str, tuple[int, int, tuple[int, ...], Kept]] = {
    # name: uid, gid, groups, capabilities kept
    "ann": (1000, 1000, (), ()),
    "bob": (1001, 1001, (50, 1000), ()),
    "eve": (65534, 65534, (), ()),
    "reader": (1001, 1001, (), (DAC_READ_SEARCH,)),
    "writer": (1001, 1001, (), (DAC_OVERRIDE,)),
    "keeper": (1001, 1001, (50,), (FOWNER,)),
    "giver": (1001, 1001, (50,), (CHOWN,)),
    "setter": (1001, 1001, (50,), (FSETID, FOWNER)),
    "maker": (1000, 1000, (), (MKNOD, FSETID)),
    "zero": (0, 0, (), (SETUID,)),
    "limited": (0, 0, (), (DAC_OVERRIDE, FOWNER, CHOWN, FSETID)),
    "setuid": (1000, 1000, (50,), "real"),  # effective root: access(2) is about the real ids
    "root": (0, 0, (), None),
}
FILE_MODES = (0o644, 0o600, 0o640, 0o660, 0o664, 0o444, 0, 0o755, 0o711, 0o070, 0o007, 0o666, 0o100)
DIRECTORY_MODES = (0o755, 0o700, 0o750, 0o777, 0o1777, 0o711, 0o1775, 0o770, 0o555, 0o744, 0o2775, 0, 0o1770)
IDS = (0, 0, 1000, 1000, 1001, 65534, 33)
GROUPS = (0, 50, 1000, 1001, 33)
ACL_USER, ACL_GROUP = 2, 8


def access_list(rng: random.Random) -> bytes:
    """Some list with names."""
    entries = [(1, rng.randrange(8), 0xFFFFFFFF)]
    entries += sorted((ACL_USER, rng.randrange(8), uid) for uid in rng.sample((33, 1000, 1001), rng.randrange(3)))
    entries += [(4, rng.randrange(8), 0xFFFFFFFF)]
    entries += sorted((ACL_GROUP, rng.randrange(8), gid) for gid in rng.sample((33, 50, 1000), rng.randrange(3)))
    entries += [(16, rng.randrange(8), 0xFFFFFFFF), (32, rng.randrange(8), 0xFFFFFFFF)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def packed(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


ANY = 0xFFFFFFFF
SOME_LIST = packed((1, 6, ANY), (ACL_USER, 6, 1001), (4, 4, ANY), (16, 6, ANY), (32, 0, ANY))


def capset(mask: int) -> None:
    header = struct.pack("=II", 0x20080522, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    if LIBC.capset(header, struct.pack("=6I", low, low, 0, high, high, 0)):
        raise OSError(ctypes.get_errno(), "capset")


def become(name: str) -> None:
    uid, gid, groups, kept = USERS[name]
    if kept is None:
        return
    os.setgroups(groups)
    if kept == "real":
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, 0, 0)
        return
    if kept:
        LIBC.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if kept:
        capset(sum(1 << number for number in kept))


def check(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


# ---------------------------------------------------------------- operations


def is_capable(number: int) -> bool:
    with open("/proc/self/status", encoding="ascii") as file:
        return any(line.startswith("CapEff") and int(line.split()[1], 16) >> number & 1 for line in file)


def opened(flags: int, path: str, dirfd: int | None = None) -> None:
    os.close(os.open(path, flags | os.O_NONBLOCK, 0o644, dir_fd=dirfd))


def accessible(mode: int, path: str) -> None:
    check(LIBC.access(path.encode(), mode))


def accessible_in_effect(mode: int, path: str) -> None:
    check(LIBC.syscall(439, -100, path.encode(), mode, 0x200))  # faccessat2, AT_EACCESS


def at(path: str) -> tuple[int, str]:
    """A descriptor of the directory, opened with O_PATH by whoever may search, and the name."""
    parent, name = os.path.split(path)
    return os.open(parent or ".", os.O_PATH), name


def times(path: str, access: int, modification: int, flags: int) -> None:
    spec = (ctypes.c_long * 4)(1, access, 1, modification)
    check(LIBC.utimensat(-100, path.encode(), spec, flags))


def connect(path: str, *, bind: bool) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        (made.bind if bind else made.connect)(path)


def execute(path: str) -> int:
    """The status of a child that tries, with nothing to run: ENOEXEC is success here."""
    pid = os.fork()
    if pid == 0:
        try:
            os.execve(path, [path], {})
        except OSError as error:
            os._exit(error.errno or 255)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status and status != errno.ENOEXEC:
        raise OSError(status, "")
    return 0


def attribute(how: str, path: str) -> object:
    if how == "get":
        return os.getxattr(path, "user.a")
    if how == "list":
        return [name for name in os.listxattr(path) if name == "user.a"]
    if how == "remove":
        os.removexattr(path, "user.a")
    else:
        os.setxattr(path, "user.a", b"1", follow_symlinks=how == "set")
    return None


def watch(path: str) -> None:
    fd = LIBC.inotify_init1(os.O_CLOEXEC)
    try:
        check(LIBC.inotify_add_watch(fd, path.encode(), 2))
    finally:
        os.close(fd)


def on_descriptor(path: str, act: Callable[[int], object]) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        act(fd)
    finally:
        os.close(fd)


def written(path: str, flags: int) -> object:
    """Which takes set-id bits away, if not root does it."""
    fd = os.open(path, flags | os.O_NONBLOCK, 0o666)
    try:
        return os.write(fd, b"more\n")
    finally:
        os.close(fd)


BUFFER = ctypes.create_string_buffer(256)


def handle() -> tuple[ctypes.Array[ctypes.c_char], object]:
    made = ctypes.create_string_buffer(136)
    struct.pack_into("=I", made, 0, 128)
    return made, ctypes.byref(ctypes.c_int())


def how(flags: int, mode: int, resolve: int = 0) -> bytes:
    return struct.pack("=QQQ", flags | os.O_NONBLOCK, mode, resolve)


def opened_within(resolve: int, flags: int, prefix: str, path: str) -> None:
    """openat2(2) under a restriction of the way."""
    mode = 0o640 if flags & os.O_CREAT else 0
    os.close(check(LIBC.syscall(437, -100, f"{prefix}{path}".encode(), how(flags, mode, resolve), 24)))


def fanotify(path: str) -> None:
    """What comes after permission is the kernel's and its limits'."""
    fd = check(LIBC.syscall(300, 0x200, 0))  # fanotify_init, FAN_REPORT_FID
    try:
        check(LIBC.syscall(301, fd, 1, 2, -100, path.encode()))
    finally:
        os.close(fd)


def entered(path: str) -> None:
    here = os.open(".", os.O_PATH)
    os.chdir(path)
    os.fchdir(here)
    os.close(here)


def inside(act: Callable[[], object]) -> None:
    """In a child of the same kind, so that nothing of it stays."""
    pid = os.fork()
    if pid == 0:
        try:
            act()
        except OSError as error:
            os._exit(error.errno or 255)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        raise OSError(status, "")


def chrooted(path: str) -> None:
    inside(lambda: os.chroot(path))


def created(path: str) -> object:
    """creat(2), which would wait for the other end of a FIFO."""
    try:
        if stat.S_ISFIFO(os.stat(path).st_mode):
            return "not tried"
    except OSError:
        pass
    os.close(check(LIBC.creat(path.encode(), 0o640)))
    return None


def at_call(path: str, call: Callable[[str, int], object]) -> object:
    dirfd, name = at(path)
    try:
        return call(name, dirfd)
    finally:
        os.close(dirfd)


OPEN_FLAGS = {
    "r": os.O_RDONLY, "w": os.O_WRONLY, "rw": os.O_RDWR, "rt": os.O_RDONLY | os.O_TRUNC, "wt": os.O_WRONLY | os.O_TRUNC,
    "c": os.O_WRONLY | os.O_CREAT, "cx": os.O_RDWR | os.O_CREAT | os.O_EXCL, "rc": os.O_RDONLY | os.O_CREAT,
    "d": os.O_DIRECTORY, "n": os.O_NOFOLLOW, "path": os.O_PATH, "noatime": os.O_NOATIME, "three": 3,
    "tmp": os.O_TMPFILE | os.O_RDWR, "cn": os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW,
}  # fmt: skip
ONE: dict[str, Callable[[str], object]] = {
    **{f"open {name}": partial(opened, flags) for name, flags in OPEN_FLAGS.items()},
    "openat c": lambda path: at_call(path, lambda name, fd: opened(os.O_CREAT | os.O_RDWR, name, fd)),
    "creat": created,
    **{f"access {mode}": partial(accessible, mode) for mode in range(9)},
    **{f"eaccess {mode}": partial(accessible_in_effect, mode) for mode in range(8)},
    "stat": lambda path: oct(os.stat(path).st_mode),
    "lstat": lambda path: oct(os.lstat(path).st_mode),
    "statat": lambda path: at_call(path, lambda name, fd: os.stat(name, dir_fd=fd).st_uid),
    "statvfs": lambda path: os.statvfs(path).f_namemax,
    "readlink": os.readlink,
    "chdir": entered,
    "chroot": chrooted,
    "mkdir": lambda path: os.mkdir(path, 0o750),
    "mkdirat": lambda path: at_call(path, lambda name, fd: os.mkdir(name, 0o1777, dir_fd=fd)),
    "mkfifo": lambda path: os.mkfifo(path, 0o660),
    "mknod": lambda path: os.mknod(path, 0o600 | 0o100000),
    "mkdev": lambda path: os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3)),
    "symlink": lambda path: os.symlink("f0", path),
    "bind": lambda path: connect(path, bind=True),
    "connect": lambda path: connect(path, bind=False),
    "unlink": os.unlink,
    "unlinkat": lambda path: at_call(path, lambda name, fd: os.unlink(name, dir_fd=fd)),
    "rmdir": os.rmdir,
    "truncate": lambda path: os.truncate(path, 0),
    "chmod": lambda path: os.chmod(path, 0o750),
    "chmod set-id": lambda path: os.chmod(path, 0o6775),
    "chmodat": lambda path: check(LIBC.syscall(452, -100, path.encode(), 0o2711, 0)),  # fchmodat2
    "chmod link": lambda path: check(LIBC.syscall(452, -100, path.encode(), 0o711, 0x100)),
    "fchmod": lambda path: on_descriptor(path, lambda fd: os.fchmod(fd, 0o4755)),
    "chown": lambda path: os.chown(path, -1, 50),
    "chown away": lambda path: os.chown(path, 33, 1001),
    "chown to oneself": lambda path: os.chown(path, os.geteuid(), os.getegid()),
    "lchown": lambda path: os.lchown(path, -1, -1),
    "lchown group": lambda path: os.lchown(path, -1, 1001),
    "fchown": lambda path: on_descriptor(path, lambda fd: os.fchown(fd, -1, 1000)),
    "write": lambda path: written(path, os.O_WRONLY),
    "append": lambda path: written(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT),
    "set list": lambda path: os.setxattr(path, "system.posix_acl_access", SOME_LIST),
    "set default": lambda path: os.setxattr(path, "system.posix_acl_default", SOME_LIST),
    "remove list": lambda path: os.removexattr(path, "system.posix_acl_access"),
    "see list": lambda path: os.getxattr(path, "system.posix_acl_access").hex(),
    "trusted": lambda path: os.setxattr(path, "trusted.a", b"1"),
    "see trusted": lambda path: os.getxattr(path, "trusted.a"),
    "security": lambda path: os.setxattr(path, "security.a", b"1"),
    "nonsense": lambda path: os.setxattr(path, "nonsense.a", b"1"),
    "statx": lambda path: check(LIBC.statx(-100, path.encode(), 0, 0x7FF, BUFFER)),
    "handle": lambda path: check(LIBC.name_to_handle_at(-100, path.encode(), *handle(), 0)),
    "openat2": lambda path: os.close(check(LIBC.syscall(437, -100, path.encode(), how(os.O_RDWR, 0), 24))),
    "openat2 c": lambda path: os.close(check(LIBC.syscall(437, -100, path.encode(), how(os.O_CREAT, 0o6755), 24))),
    **{f"openat2 {resolve} {flags:o} {prefix}": partial(opened_within, resolve, flags, prefix)
       for resolve in (1, 2, 4, 8, 16)
       for flags, prefix in ((0, ""), (0o102, ""), (1, "/"), (0, "../"), (0, "d1/../"), (os.O_PATH, ""))},
    "fanotify": fanotify,
    "file attributes": lambda path: check(LIBC.syscall(468, -100, path.encode(), BUFFER, 24, 0)),
    "utime": os.utime,
    "utime given": lambda path: os.utime(path, (1, 2)),
    "utime now": lambda path: times(path, NOW, NOW, 0),
    "utime link": lambda path: times(path, NOW, NOW, 0x100),
    "utime half": lambda path: times(path, NOW, OMIT, 0),
    "utime none": lambda path: times(path, OMIT, OMIT, 0),
    **{f"xattr {how}": partial(attribute, how) for how in ("get", "set", "lset", "remove", "list")},
    "watch": watch,
    "exec": execute,
    "list": os.listdir,
}
TWO: dict[str, Callable[[str, str], object]] = {
    "link": lambda old, new: os.link(old, new, follow_symlinks=False),
    "link follow": lambda old, new: check(LIBC.linkat(-100, old.encode(), -100, new.encode(), 0x400)),
    "rename": os.rename,
    "exchange": lambda old, new: check(LIBC.renameat2(-100, old.encode(), -100, new.encode(), 2)),
    "noreplace": lambda old, new: check(LIBC.renameat2(-100, old.encode(), -100, new.encode(), 1)),
}


# ---------------------------------------------------------------- the tree


def settle(rng: random.Random, path: str, *, directory: bool) -> None:
    """Give it an owner, a mode, and sometimes a list."""
    os.chown(path, rng.choice(IDS), rng.choice(GROUPS))
    os.chmod(path, rng.choice(DIRECTORY_MODES if directory else FILE_MODES))
    if rng.random() < 0.25:
        os.setxattr(path, "system.posix_acl_access", access_list(rng))
    if directory and rng.random() < 0.4:
        os.setxattr(path, "system.posix_acl_default", access_list(rng))


def make_tree(rng: random.Random) -> list[str]:
    """Directories in one another with files and links in them; the names that may be used."""
    directories = ["."]
    for name in ("d0", "d1", "d0/e0", "d0/e1", "d1/e0", "d0/e0/g"):
        os.mkdir(name)
        directories.append(name)
    names = []
    for directory in directories:
        for name in ("f0", "f1"):
            with open(f"{directory}/{name}", "w", encoding="ascii") as file:
                file.write("#!/bin/true\n" if rng.random() < 0.2 else "text\n")
            os.setxattr(f"{directory}/{name}", "user.a", b"0")
            settle(rng, f"{directory}/{name}", directory=False)
        os.symlink(rng.choice(("f0", "../f1", "../d0/f0", "nowhere", "../d1", "e0/f0", "loop")), f"{directory}/l")
        os.lchown(f"{directory}/l", rng.choice(IDS), rng.choice(GROUPS))
        names += [f"{directory}/{name}" for name in ("f0", "f1", "l", "x", "y", "l/", "l/f0", ".", "..", "f0/", "f0/x")]
    os.symlink("loop", "loop")
    os.mkfifo("d0/p")
    settle(rng, "d0/p", directory=False)
    for directory in directories[:0:-1]:
        settle(rng, directory, directory=True)
    os.chmod(".", rng.choice((0o777, 0o1777, 0o755)))
    return [*names, "d0/p", *directories, "d0/e0/../f0", f"{os.getcwd()}/d0/f1", "/proc/self/cwd/d1/f0", "loop/x"]


def describe(act: Callable[[], object]) -> str:
    try:
        return f"ok {act()}"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))


Planned = tuple[str, "Callable[[], object]"]


def act(rng: random.Random, names: list[str], operation: str) -> Planned:
    """An operation on whatever it may meet."""
    one, other = rng.choice(names), rng.choice(names)
    if operation in ONE:
        return f"{operation} {one}", partial(ONE[operation], one)
    return f"{operation} {one} {other}", partial(TWO[operation], one, other)


def plan(rng: random.Random, names: list[str]) -> list[Planned]:
    """What one user is going to do."""
    return [act(rng, names, rng.choice(list(TWO if rng.random() < 0.2 else ONE))) for _ in range(12)]


def perform(user: str, planned: list[Planned], directory: str) -> None:
    """Have a child become the user and do it."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        become(user)
        for text, call in planned:
            print(user, text.replace(directory, "HERE"), describe(call).replace(directory, "HERE"))
        sys.stdout.flush()
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        print("ended badly")


LISTS = ("system.posix_acl_access", "system.posix_acl_default", "trusted.a", "security.a", "security.capability")


def status(path: str) -> str:
    """Owner, mode and lists."""
    st = os.lstat(path)
    size = st.st_size if stat.S_ISREG(st.st_mode) else 0
    text = f"{path} {st.st_mode:o} {st.st_uid}:{st.st_gid} {st.st_nlink} {st.st_rdev} {size}"
    for name in LISTS:
        try:
            text += f" {name}={os.getxattr(path, name, follow_symlinks=False).hex()}"
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
                text += f" {name} {errno.errorcode.get(error.errno or 0)}"
    return text


def everything() -> dict[str, str]:
    """The status of all there is."""
    found = {}
    for top, directories, files in os.walk(b"."):
        for name in (*directories, *files):
            path = os.fsdecode(os.path.join(top, name))
            found[path] = status(path)
    return found


def show_changes(before: dict[str, str], after: dict[str, str]) -> None:
    """What somebody has done, as root sees it."""
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            print("  ", after.get(path, f"{path} is gone"))


def main() -> None:
    seed, count, directory = int(sys.argv[1]), int(sys.argv[2]), f"{sys.argv[3]}/top"
    rng = random.Random(seed)
    os.umask(0o022)
    os.mkdir(directory)
    os.chdir(directory)
    names = make_tree(rng)
    if sys.argv[4:]:
        operations = [name for name in ONE if sys.argv[4] in name]
        for user in USERS:
            perform(user, [act(rng, names, rng.choice(operations)) for _ in range(count)], directory)
        return
    before = everything()
    for user in USERS if count == 0 else [rng.choice(list(USERS)) for _ in range(count)]:
        # 0: every operation by every user
        planned = [act(rng, names, operation) for operation in (*ONE, *TWO)] if count == 0 else plan(rng, names)
        perform(user, planned, directory)
        after = everything()
        show_changes(before, after)
        before = after


if __name__ == "__main__":
    main()
