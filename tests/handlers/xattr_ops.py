# SPDX-License-Identifier: GPL-2.0-or-later
"""A seeded sequence of operations on extended attributes; prints what each gives. Run by real root and under the shim.

usage: xattr_ops.py SEED COUNT DIRECTORY
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
import stat
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
NUMBERS = {"setxattrat": 463, "getxattrat": 464, "listxattrat": 465, "removexattrat": 466}

FILES = ("reg", "dir", "link", "fifo", "null", "abs", "dir/in", "sock", "disk")
NAMES = (
    "trusted.a", "trusted.", "security.b", "security.capability", "system.posix_acl_access", "system.posix_acl_default",
    "user.c", "user.rootlesscontainers", "user.containers.override_stat", "user.remainroot.trusted.a", "trusted.b",
    "nonsense", "nonsense.d", "", "system.e", "security.", "trusted." + "n" * 300,
)  # fmt: skip


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NONE = 0xFFFFFFFF
ACLS = (
    acl((1, 6, NONE), (4, 4, NONE), (0x20, 4, NONE)),
    acl((1, 7, NONE), (2, 6, 42), (4, 5, NONE), (0x10, 6, NONE), (0x20, 0, NONE)),
    acl((1, 7, NONE), (2, 6, 0), (4, 5, NONE), (8, 3, 43), (8, 3, 7), (0x10, 7, NONE), (0x20, 1, NONE)),
    acl((1, 6, NONE), (2, 6, 0), (4, 5, NONE), (0x10, 4, NONE), (0x20, 1, NONE)),
    acl((1, 7, NONE), (4, 5, NONE), (0x10, 1, NONE), (0x20, 0, NONE)),
    acl((1, 7, NONE), (2, 6, 42), (4, 5, NONE), (0x20, 0, NONE)),  # a name without a mask
    acl((2, 6, 42), (1, 7, NONE), (4, 5, NONE), (0x10, 7, NONE), (0x20, 0, NONE)),  # out of order
    acl((1, 9, NONE), (4, 4, NONE), (0x20, 4, NONE)),
    acl(),
    b"",
    b"\x01\0\0\0",
    b"\x02\0\0\0\x01",
    acl((1, 7, NONE), (4, 5, NONE), (0x10, 1, NONE), (0x10, 1, NONE), (0x20, 0, NONE)),
)
CAPS = (
    struct.pack("<IIIII", 0x02000001, 0x2000, 0, 0, 0),
    struct.pack("<IIIII", 0x02000000, 0, 0x400, 0, 0),
    b"junk",
    b"",
)
VALUES = (b"", b"1", b"\0\xff", b"x" * 200)


def call(number: int, *arguments: object) -> int:
    result: int = libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


def at_args(value: ctypes.Array[ctypes.c_char], size: int, flags: int) -> bytes:
    return struct.pack("=QII", ctypes.addressof(value), size, flags)


class Ops:
    """The operations; each returns what is printed."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.fds: list[int] = []

    def name(self) -> str:
        return self.rng.choice(NAMES[: 6 if self.rng.random() < 0.6 else None])

    def value(self, name: str) -> bytes:
        if "acl" in name:
            return self.rng.choice(ACLS)
        if name == "security.capability":
            return self.rng.choice(CAPS)
        return self.rng.choice(VALUES)

    def target(self, path: str, how: str) -> dict[str, object]:
        """Arguments for os.*xattr: by path, of the link itself, or by descriptor."""
        if how == "f":
            kind = os.stat(path).st_mode
            flags = os.O_RDONLY if stat.S_ISREG(kind) or stat.S_ISDIR(kind) else os.O_PATH
            fd = os.open(path, flags)
            self.fds.append(fd)
            return {"path": fd}
        return {"path": path, "follow_symlinks": how != "l"}

    def set(self, path: str, how: str) -> object:
        name = self.name()
        value = self.value(name)
        flags = self.rng.choice((0, 0, 0, 1, 2, 4))
        print(name, value.hex()[:80], flags, end=" ")
        if how == "at":
            buffer = ctypes.create_string_buffer(value, len(value) or 1)
            args = at_args(buffer, len(value), flags)
            where = self.rng.choice((0, 0x100))
            return call(NUMBERS["setxattrat"], AT_FDCWD, path.encode(), where, name.encode(), args, ctypes.c_size_t(16))
        target = self.target(path, how)
        os.setxattr(target.pop("path"), name, value, flags, **target)  # type: ignore[arg-type]
        return "ok"

    def get(self, path: str, how: str) -> object:
        name = self.name()
        print(name, end=" ")
        if how == "at":
            buffer = ctypes.create_string_buffer(300)
            args = at_args(buffer, self.rng.choice((0, 1, 300)), 0)
            got = call(NUMBERS["getxattrat"], AT_FDCWD, path.encode(), 0x100, name.encode(), args, ctypes.c_size_t(16))
            return got, buffer.raw[:got].rstrip(b"\0").hex()
        target = self.target(path, how)
        return os.getxattr(target.pop("path"), name, **target).hex()  # type: ignore[arg-type]

    def list(self, path: str, how: str) -> object:
        if how == "at":
            buffer = ctypes.create_string_buffer(4096)
            size = self.rng.choice((0, 1, 4096))
            got = call(NUMBERS["listxattrat"], AT_FDCWD, path.encode(), 0x100, buffer, ctypes.c_size_t(size))
            return got, sorted(buffer.raw[:got].split(b"\0")) if size else ""
        target = self.target(path, how)
        return sorted(os.listxattr(target.pop("path"), **target))  # type: ignore[arg-type]

    def remove(self, path: str, how: str) -> object:
        name = self.name()
        print(name, end=" ")
        if how == "at":
            return call(NUMBERS["removexattrat"], AT_FDCWD, path.encode(), 0, name.encode())
        target = self.target(path, how)
        os.removexattr(target.pop("path"), name, **target)  # type: ignore[arg-type]
        return "ok"

    def chmod(self, path: str, how: str) -> object:
        del how
        mode = self.rng.choice((0o644, 0o755, 0o600, 0o4711, 0o770))
        print(oct(mode), end=" ")
        os.chmod(path, mode)
        return "ok"

    def chown(self, path: str, how: str) -> object:
        ids = self.rng.choice(((42, 43), (0, 0), (-1, 7), (42, -1)))
        print(ids, end=" ")
        os.chown(path, *ids, follow_symlinks=how == "l")
        return "ok"

    def create(self, path: str, how: str) -> object:
        del path, how
        os.umask(self.rng.choice((0o22, 0o77, 0)))
        name = self.rng.choice(("dir/new", "dir/in"))
        try:
            os.unlink(name)
        except FileNotFoundError:
            pass
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        return self.show(name)

    def write(self, path: str, how: str) -> object:
        del path, how
        with open("reg", "ab") as file:
            file.write(b"x")
        return self.show("reg")

    def show(self, path: str) -> object:
        st = os.lstat(path)
        return (oct(st.st_mode), st.st_uid, st.st_gid, st.st_rdev)


def main() -> None:
    seed, count, directory = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    rng = random.Random(seed)
    os.chdir(directory)
    os.chmod(".", 0o777)
    os.umask(0o22)
    for name in ("reg", "abs"):
        with open(name, "w") as file:
            file.write("x")
    os.mkdir("dir")
    with open("dir/in", "w"):
        pass
    os.symlink("reg", "link")
    os.mkfifo("fifo")
    os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod("disk", stat.S_IFBLK | 0o660, os.makedev(8, 1))
    os.mknod("sock", stat.S_IFSOCK | 0o600)
    ops = Ops(rng)
    weights = {"set": 10, "get": 8, "list": 5, "remove": 4, "chmod": 2, "chown": 2, "create": 2, "write": 1}
    asked = sys.argv[4:] or ["root"]
    for index in range(count):
        if "user" in asked and index == count // 2:
            for name in os.listdir("."):
                os.chown(name, *rng.choice(((1000, 1000), (42, 43))), follow_symlinks=False)
                if name != "link":
                    os.chmod(name, 0o777)
            os.chmod("dir/in", 0o666)
            os.setgroups([])
            os.setresgid(1000, 1000, 1000)
            os.setresuid(1000, 1000, 1000)
            # What modes forbid a plain user is not asked here: the files are open, and only their attributes are tried.
            weights = {"set": 10, "get": 8, "list": 5, "remove": 4}
        op = rng.choices(list(weights), list(weights.values()))[0]
        path = rng.choice(FILES)
        how = rng.choice(("", "l", "f", "at"))
        if how == "f" and path == "link":
            how = "l"
        print(index, op, path, how or "p", end=" ")
        try:
            print(getattr(ops, op)(path, how), end=" ")
        except OSError as error:
            print(errno.errorcode.get(error.errno or 0, error), end=" ")
        finally:
            while ops.fds:
                os.close(ops.fds.pop())
        try:
            print(ops.show(path))
        except OSError as error:
            print(errno.errorcode.get(error.errno or 0, error))


if __name__ == "__main__":
    main()
