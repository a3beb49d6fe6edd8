# SPDX-License-Identifier: GPL-2.0-or-later
"""Access lists and file capabilities as three processes name them, each in a user namespace of its own.

usage: space_xattr_ops.py SEED COUNT DIRECTORY

The first is root of all, the second in a namespace that the first has mapped, the third in one within that. They take
turns at random, and print what each operation gives. Run by real root and under the shim.
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER = 0x10000000
NONE = 0xFFFFFFFF
MAPS = (
    (b"0 100000 50\n60 0 1\n70 7 2\n", b"0 200000 50\n60 0 1\n70 7 2\n"),
    (b"0 5 10\n20 60 1\n", b"0 5 10\n20 60 1\n"),
)
"""Of users and groups, of the second's namespace and of the third's."""
NAMES = ("system.posix_acl_access", "system.posix_acl_default", "security.capability")
IDS = (0, 1, 5, 7, 8, 10, 20, 49, 60, 70, 71, 100000, 100005, 200007, 65534, NONE)
OWNERS = {"root": (0, 0), "inner": (100000, 200000), "innermost": (100005, 200005), "half": (100005, 9), "none": (9, 9)}
NO_CAPABILITIES = 1 << 5


def access_list(rng: random.Random) -> bytes:
    named = [(rng.choice((2, 8)), rng.randrange(8), rng.choice(IDS)) for _ in range(rng.randrange(4))]
    entries = [(1, 7, NONE), *sorted(n for n in named if n[0] == 2), (4, rng.randrange(8), NONE)]
    entries += sorted(n for n in named if n[0] == 8)
    if named or rng.randrange(2):
        entries.append((16, rng.randrange(8), NONE))
    entries.append((32, rng.randrange(8), NONE))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def capability(rng: random.Random) -> bytes:
    words = [0x2000 << rng.randrange(3), 0, 0, 0]
    if rng.randrange(8) == 0:
        return rng.choice((b"", b"junk", struct.pack("<6I", 0x02000000, *words, 0)))
    if rng.randrange(2):
        return struct.pack("<5I", 0x02000000 | rng.randrange(2), *words)
    return struct.pack("<6I", 0x03000000, *words, rng.choice(IDS))


def told(value: object) -> str:
    return value.hex(" ", 4) if isinstance(value, bytes) else str(value)


def attempt(what: str, act: object, *args: object) -> None:
    try:
        print(what, told(act(*args)))  # type: ignore[operator]
    except OSError as error:
        print(what, errno.errorcode[error.errno or 0])


def step(actor: int, seed: str, directory: str) -> None:
    rng = random.Random(seed)
    name = rng.choice(tuple(OWNERS))
    if rng.randrange(3) == 0:
        name += ".d"
    path = os.path.join(directory, name)
    attribute = rng.choice(NAMES)
    label = f"{actor} {name} {attribute}"
    match rng.randrange(7):
        case 0 | 1 | 2:
            value = capability(rng) if attribute == NAMES[2] else access_list(rng)
            attempt(f"{label} set {told(value)}", os.setxattr, path, attribute, value, rng.choice((0, 0, 0, 1, 2)))
        case 3:
            attempt(f"{label} remove", os.removexattr, path, attribute)
        case 4:
            attempt(f"{label} list", lambda: sorted(os.listxattr(path)))
        case 5:
            attempt(f"{label} chmod", os.chmod, path, rng.randrange(0o1000))
        case _:
            pass
    for each in NAMES:
        attempt(f"{label} get {each}", os.getxattr, path, each)
    attempt(f"{label} mode", lambda: oct(os.stat(path).st_mode))
    sys.stdout.flush()


def actor(number: int, directory: str, orders: int, done: int) -> None:
    while order := os.read(orders, 64):
        step(number, order.decode(), directory)
        os.write(done, b"x")


def born(number: int, directory: str, user: tuple[int, int, int] | None) -> tuple[int, int, int]:
    """A process in a namespace within this one, which it maps: its pid, where it takes orders, where it says so."""
    orders, order = os.pipe()
    done, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(order)
        if user:
            os.setresgid(user[0], user[0], user[0])
            os.setresuid(user[0], user[0], user[0])
        if libc.unshare(CLONE_NEWUSER):
            os._exit(3)
        os.write(say, b"u")
        os.read(orders, 64)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        if number == 1:
            third = born(2, directory, None)
            os.write(say, b"m")
            relay(directory, third, orders, say)
        else:
            os.write(say, b"m")
            actor(number, directory, orders, say)
        os._exit(0)
    os.close(orders)
    os.read(done, 1)
    for name, text in zip(("uid_map", "gid_map"), MAPS[number - 1], strict=True):
        with open(f"/proc/{pid}/{name}", "wb", buffering=0) as file:
            file.write(text)
    os.write(order, b"go")
    os.read(done, 1)
    return pid, order, done


def relay(directory: str, third: tuple[int, int, int], orders: int, say: int) -> None:
    """The second's turns, and the third's, which are handed on."""
    while order := os.read(orders, 64):
        if order.startswith(b"2"):
            os.write(third[1], order)
            os.read(third[2], 1)
        else:
            step(1, order.decode(), directory)
        os.write(say, b"x")


def main() -> None:
    seed, count, directory = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    os.umask(0o022)
    for name, ids in OWNERS.items():
        path = os.path.join(directory, name)
        with open(path, "x"):
            pass
        os.mkdir(path + ".d")
        for each in (path, path + ".d"):
            os.chown(each, *ids)
    second = born(1, directory, None)
    rng = random.Random(seed)
    for at in range(count):
        who = rng.randrange(3)
        order = f"{who} {seed} {at}"
        if who == 0:
            step(0, order, directory)
        else:
            os.write(second[1], order.encode())
            os.read(second[2], 1)


main()
