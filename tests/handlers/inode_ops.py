# SPDX-License-Identifier: GPL-2.0-or-later
"""What inode(7) and acl(5) say of files that change and files without a name: python3 inode_ops.py NAME, run as root.

To be run in an empty directory that everybody may search; prints the same whether root is real or not.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import struct
import sys
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LIBC = ctypes.CDLL(None, use_errno=True)
USERS = {"root": 0, "owner": 1000, "other": 1001}
ANY = 0xFFFFFFFF


def check(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


def by(user: str, act: Callable[[], object]) -> str:
    """What a child that is this user gets: the result, or the errno."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        if USERS[user]:
            os.setgroups(())
            os.setresgid(*[USERS[user]] * 3)
            os.setresuid(*[USERS[user]] * 3)
        try:
            text = str(act())
        except OSError as error:
            text = errno.errorcode[error.errno or 0]
        os.write(write, text.encode())
        os._exit(0)
    os.close(write)
    with open(read, encoding="ascii") as told:
        text = told.read()
    assert os.waitpid(pid, 0)[1] == 0
    return text


def shown(path: str | int) -> str:
    st = os.stat(path)
    return f"{st.st_mode:o} {st.st_uid}:{st.st_gid} {st.st_nlink} {st.st_size}"


# ---------------------------------------------------------------- set-id bits


def on_open(flags: int, act: Callable[[int], object]) -> object:
    fd = os.open("file", flags)
    try:
        return act(fd)
    finally:
        os.close(fd)


def marked(fd: int) -> int:
    os.fchmod(fd, 0o6755)
    return os.write(fd, b"x")


def copied(fd: int) -> int:
    source = os.open("source", os.O_RDONLY)
    return os.copy_file_range(source, fd, 3)


CHANGES: dict[str, Callable[[], object]] = {
    "write": lambda: on_open(os.O_WRONLY, lambda fd: os.write(fd, b"x")),
    "write nothing": lambda: on_open(os.O_WRONLY, lambda fd: os.write(fd, b"")),
    "append": lambda: on_open(os.O_WRONLY | os.O_APPEND, lambda fd: os.write(fd, b"x")),
    "write, perhaps to a new file": lambda: on_open(os.O_RDWR | os.O_CREAT, lambda fd: os.write(fd, b"x")),
    "open": lambda: on_open(os.O_RDWR, os.fsync),
    "open to truncate": lambda: on_open(os.O_RDONLY | os.O_TRUNC, os.fsync),
    "truncate": lambda: os.truncate("file", 2),
    "ftruncate to what it was": lambda: on_open(os.O_RDWR, lambda fd: os.ftruncate(fd, 4)),
    "fallocate": lambda: on_open(os.O_RDWR, lambda fd: os.posix_fallocate(fd, 0, 9)),
    "copy_file_range": lambda: on_open(os.O_WRONLY, copied),
    "chmod and write": lambda: on_open(os.O_WRONLY, marked),
    "chown": lambda: os.chown("file", -1, -1),
}


def prepare(mode: int, giver: str) -> None:
    """A file of the owner's, whose set-id bits are the giver's gift."""
    if os.path.exists("file"):
        os.unlink("file")
    with open("file", "w", encoding="ascii") as file:
        file.write("text")
    os.chown("file", 1000, 1000)
    assert by(giver, lambda: os.chmod("file", mode)) == "None"


def set_id_bits() -> None:
    """Whoever changes a file takes the bits away, but not real root; each change alone, and one after the other."""
    os.umask(0)
    with open("source", "w", encoding="ascii") as file:
        file.write("source")
    for mode in (0o6777, 0o2777, 0o4766):
        for giver in ("root", "owner"):
            for user in USERS:
                for name, act in CHANGES.items():
                    prepare(mode, giver)
                    print(f"{mode:o} of {giver}, {user}: {name}", by(user, act), shown("file"))
    for giver in ("root", "owner"):
        for first in ("owner", "other"):
            for opening in ("open", "write nothing"):
                prepare(0o6777, giver)
                told = [by(user, CHANGES[name]) + " " + shown("file") for user, name in (
                    (first, opening), ("root", "write"), ("root", "truncate"), (first, opening), ("root", "append"),
                    (first, "write"), ("root", "write"))]  # fmt: skip
                print(f"{giver} {first} {opening}:", *told, sep="\n  ")


def new_set_id_files() -> None:
    """A file that a user makes with the bits, and that root writes to."""
    os.umask(0)
    for flags in (os.O_RDONLY, os.O_WRONLY):
        for writer in ("root", "owner"):
            made = partial(os.open, "file", flags | os.O_CREAT, 0o6777)
            print(by("owner", made), shown("file"))
            print(by(writer, CHANGES["write"]), shown("file"))
            os.unlink("file")
    print(by("owner", lambda: os.mknod("file", 0o106755)), shown("file"))
    print(by("root", CHANGES["open to truncate"]), shown("file"))


# ---------------------------------------------------------------- files without a name


def packed(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


DEFAULTS = {
    "no list": None,
    "a short one": packed((1, 7, ANY), (4, 5, ANY), (32, 0, ANY)),
    "one with names": packed((1, 5, ANY), (2, 6, 1001), (4, 7, ANY), (8, 7, 50), (16, 6, ANY), (32, 1, ANY)),
}


def nameless(mode: int, *, empty: bool) -> object:
    fd = os.open("directory", os.O_TMPFILE | os.O_RDWR, mode)
    before = shown(fd)
    if empty:
        check(LIBC.linkat(fd, b"", -100, b"directory/new", 0x1000))  # AT_EMPTY_PATH
    else:
        check(LIBC.linkat(-100, b"/proc/self/fd/%d" % fd, -100, b"directory/new", 0x400))  # AT_SYMLINK_FOLLOW
    return f"{before}, {shown(fd)}"


def files_without_a_name() -> None:
    """O_TMPFILE in directories of all kinds, and the name that the file gets."""
    for default, value in DEFAULTS.items():
        for group, directory_mode in ((1000, 0o2777), (50, 0o2777), (50, 0o777)):
            for mask in (0o022, 0o077, 0):
                for user in USERS:
                    for number, mode in enumerate((0o2775, 0o4755, 0o644, 0)):
                        os.umask(0)
                        shutil.rmtree("directory", ignore_errors=True)
                        os.mkdir("directory")
                        os.chown("directory", 1000, group)
                        os.chmod("directory", directory_mode)
                        if value is not None:
                            os.setxattr("directory", "system.posix_acl_default", value)
                        os.umask(mask)
                        told = by(user, partial(nameless, mode, empty=number == 1))
                        print(f"{default} {group} {directory_mode:o} {mask:o} {user} {mode:o}:", told)
                        path = "directory/new"
                        if not os.path.exists(path):
                            continue
                        lists = [name for name in os.listxattr(path) if name.startswith("system.posix_acl")]
                        print(" ", shown(path), [(name, os.getxattr(path, name).hex()) for name in lists])


# ---------------------------------------------------------------- descriptors that only name


def descriptors_that_only_name() -> None:
    """What takes an open file says so before it says that the file is not the caller's."""
    for kind in ("file", "directory"):
        if kind == "file":
            os.close(os.open(kind, os.O_CREAT, 0o600))
        else:
            os.mkdir(kind)
        os.chmod(kind, 0o600)
        os.setxattr(kind, "user.a", b"1")
        for opened in (os.O_PATH, os.O_RDONLY):
            fd = os.open(kind, opened)
            acts: dict[str, Callable[[int], object]] = {
                "get": lambda fd: os.getxattr(fd, "user.a"),
                "set": lambda fd: os.setxattr(fd, "user.a", b"2"),
                "remove": lambda fd: os.removexattr(fd, "user.a"),
                "list": lambda fd: "user.a" in os.listxattr(fd),
                "chmod": lambda fd: check(LIBC.fchmod(fd, 0o600)),
                "chown": lambda fd: check(LIBC.fchown(fd, -1, 1001)),
                "truncate": lambda fd: check(LIBC.ftruncate(fd, 0)),
                "times": lambda fd: check(LIBC.syscall(280, fd, None, None, 0)),  # utimensat
                "lease": lambda fd: fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK),
                "flags": lambda fd: fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NOATIME),
                "enter": os.fchdir,
            }
            for name, act in acts.items():
                for user in ("other", "root"):
                    print(kind, opened, user, name, by(user, partial(act, fd)))
            os.close(fd)


# ---------------------------------------------------------------- what is mounted read-only

MS_RDONLY, MS_REMOUNT, MS_BIND, MS_PRIVATE = 1, 32, 0x1000, 0x44000
REMOUNTS = {"mount": MS_BIND | MS_REMOUNT | MS_RDONLY, "file system": MS_REMOUNT | MS_RDONLY, "neither": MS_REMOUNT}


def mount(target: bytes, flags: int, kind: bytes | None = None) -> None:
    check(LIBC.mount(b"none", target, kind, ctypes.c_ulong(flags), None))


def closed(path: str, flags: int) -> None:
    os.close(os.open(path, flags | os.O_NONBLOCK, 0o644))


def asked(path: str, mode: int, flags: int) -> int:
    return check(LIBC.syscall(439, -100, path.encode(), mode, flags))  # faccessat2


ON_READ_ONLY: dict[str, Callable[[str], object]] = {
    "read": lambda path: closed(path, os.O_RDONLY),
    "write": lambda path: closed(path, os.O_WRONLY),
    "both": lambda path: closed(path, os.O_RDWR | os.O_APPEND),
    "read, truncate": lambda path: closed(path, os.O_RDONLY | os.O_TRUNC),
    "write, truncate": lambda path: closed(path, os.O_WRONLY | os.O_TRUNC),
    "create": lambda path: closed(path, os.O_WRONLY | os.O_CREAT),
    "create to read": lambda path: closed(path, os.O_RDONLY | os.O_CREAT),
    "create anew": lambda path: closed(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL),
    "without a name": lambda path: closed(path, os.O_TMPFILE | os.O_RDWR),
    **{f"access {mode}": partial(asked, mode=mode, flags=0) for mode in (1, 2, 6, 0)},
    "access in effect": partial(asked, mode=2, flags=0x200),  # AT_EACCESS
    "truncate": lambda path: os.truncate(path, 0),
    "time": os.utime,
    "time given": lambda path: os.utime(path, (1, 2)),
    "chmod": lambda path: os.chmod(path, 0o755),
    "chown": lambda path: os.chown(path, 1000, -1),
    "attribute": lambda path: os.setxattr(path, "user.a", b"1"),
    "mkdir": os.mkdir,
    "mkfifo": os.mkfifo,
    "symlink": lambda path: os.symlink("to", path),
    "link": lambda path: os.link(path, "place/new"),
    "unlink": os.unlink,
    "rmdir": os.rmdir,
    "rename": lambda path: os.rename(path, "place/new"),
}


def read_only_mounts() -> None:
    """A file system that is read-only says so before it is asked who the caller is; a mount, in most calls only."""
    os.umask(0)
    assert LIBC.unshare(0x20000) == 0  # CLONE_NEWNS
    mount(b"/", MS_PRIVATE)
    os.mkdir("place")
    for what, flags in REMOUNTS.items():
        for user in USERS:
            for path in ("root's", "owner's", "fifo", "shared", "shared/new"):
                mount(b"place", 0, b"tmpfs")
                for name, uid, mode in (("root's", 0, 0o644), ("owner's", 1000, 0o600)):
                    os.close(os.open(f"place/{name}", os.O_CREAT, mode))
                    os.chown(f"place/{name}", uid, uid)
                os.mkfifo("place/fifo", 0o600)
                os.mkdir("place/shared", 0o777)
                for name, act in ON_READ_ONLY.items():
                    mount(b"place", flags)
                    print(what, user, path, name, by(user, partial(act, f"place/{path}")))
                    mount(b"place", MS_BIND | MS_REMOUNT)
                    mount(b"place", MS_REMOUNT)
                check(LIBC.umount2(b"place", 2))


if __name__ == "__main__":
    os.chmod(".", 0o777)
    globals()[sys.argv[1]]()
