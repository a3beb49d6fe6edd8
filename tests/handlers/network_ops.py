# SPDX-License-Identifier: GPL-2.0-or-later
"""Does to sockets what takes CAP_NET_ADMIN or CAP_NET_RAW, and what is like it, and prints what comes of each."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ONE = struct.pack("=i", 1)
DGRAM, STREAM, RAW = socket.SOCK_DGRAM, socket.SOCK_STREAM, socket.SOCK_RAW
NETLINK = 16


def tell(what: str, action: Callable[[], object]) -> None:
    try:
        action()
        print(what, "ok")
    except OSError as error:
        print(what, errno.errorcode[error.errno or 0])


def with_socket(family: int, kind: int, protocol: int, action: Callable[[socket.socket], object]) -> None:
    with socket.socket(family, kind, protocol) as own:
        action(own)


def number(value: int) -> bytes:
    return struct.pack("=i", value)


OPTIONS = (
    # level, name, value
    *((1, name, ONE) for name in (12, 18, 25, 36, 41, 43, 44, 46, 49, 53, 60, 62, 75)),
    *((1, 12, number(value)) for value in (-1, 0, 6, 7)),
    *((1, 25, name) for name in (b"lo", b"nothing", b"")),
    *((1, 61, struct.pack("=iI", clock, flags)) for clock, flags in ((1, 0), (0, 0), (11, 1), (0, 77))),
    *((1, 36, value) for value in (b"", b"abc")),
    *((0, name, ONE) for name in (1, 15, 19, 24, 200)),
    (0, 19, number(0)),
    *((0, name, bytes(168)) for name in (16, 17, 64, 65, 41)),
    *((41, name, ONE) for name in (7, 75, 76, 78)),
    *((41, name, bytes(8)) for name in (54, 55, 57, 59)),
    *((41, name, b"") for name in (54, 59)),
    *((41, name, bytes(168)) for name in (34, 35, 64)),
    (41, 27, bytes(15) + b"\1" + ONE),
    *((6, name, ONE) for name in (1, 19, 20, 23)),
    *((6, 13, name) for name in (b"reno", b"nothing")),
)
SOCKETS = (
    *((2, RAW, protocol) for protocol in (0, 1, 255)),
    *((2, DGRAM, 1), (10, RAW, 58), (17, RAW, 768), (17, DGRAM, 0), (2, 10, 0), (44, RAW, 0), (44, STREAM, 0)),
    *((NETLINK, kind, protocol) for kind in (RAW, STREAM) for protocol in (0, 6, 12, 15, 16, 99)),
)
LOOPBACK = struct.pack("=HH4s8x", 2, 0, bytes([127, 0, 0, 5]))
REQUESTS = {
    0x8914: struct.pack("=h", 0x49), 0x8916: LOOPBACK, 0x891C: LOOPBACK, 0x891A: LOOPBACK, 0x8918: LOOPBACK,
    0x8922: number(65536), 0x8924: struct.pack("=H", 772), 0x8923: b"other", 0x891E: number(0), 0x8955: b"",
    0x8953: b"", 0x8954: b"", 0x8930: b"", 0x8931: b"", 0x8932: b"", 0x89B0: b"", 0x89A0: b"", 0x89A1: b"", 0x89A2: b"",
    0x8990: b"",
    0x8937: struct.pack("=H", 772), 0x8948: b"", 0x8949: b"", 0x8936: b"", 0x8913: b"", 0x8927: b"", 0x8910: b"",
    0x8921: b"", 0x8905: b"", 0x89E0: b"", 0x890B: b"", 0x890C: b"",
}  # fmt: skip
"""Of struct ifreq what follows the name, by the number of the call."""
LINK = struct.pack("=BxHiII", 0, 0, 1, 0, 0)
ADDRESS = struct.pack("=BBBBI", 2, 32, 0, 0, 1) + struct.pack("=HH4s", 8, 2, bytes([127, 0, 0, 9]))
ROUTE = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0)
QUEUE = struct.pack("=BxxxiIII", 0, 1, 0, 0xFFFF_FFFF, 0)
MESSAGES = (
    # protocol, type, body
    *((0, kind, LINK) for kind in (16, 17, 18, 19)),
    *((0, kind, ADDRESS) for kind in (20, 21)),
    *((0, kind, ROUTE) for kind in (24, 25, 32, 33)),
    *((0, kind, QUEUE) for kind in (36, 40)),
    *((0, kind, bytes(4)) for kind in (88, 90, 255)),
    *((0, 104, bytes(8)), (6, 16, bytes(224)), (6, 28, b"\0"), (12, 0xA00, bytes(4)), (16, 16, b"\3\1\0\0")),
)


def ask(own: socket.socket, kind: int, body: bytes, *, gathered: bool) -> None:
    """Send it, and raise what the answer says."""
    own.settimeout(10)
    head = struct.pack("=IHHII", 16 + len(body), kind, 5, 1, 0)
    if gathered:
        own.sendmsg([head, b"", body], [], 0, (0, 0))
    else:
        own.sendto(head + body, (0, 0))
    answer = own.recv(65536)
    kind, code = struct.unpack_from("=4xH10xi", answer)
    if kind == 2 and code:
        raise OSError(-code, "")


def tap() -> None:
    fd = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(fd, 0x400454CA, b"tap7".ljust(16, b"\0") + struct.pack("=H22x", 2))
    finally:
        os.close(fd)


def main() -> None:
    for level, name, value in OPTIONS:
        for family, way in ((2, DGRAM), (2, STREAM), (10, DGRAM), (1, DGRAM), (NETLINK, RAW)):
            tell(
                f"option {family} {way} {level} {name} {value[:8]!r}",
                lambda: with_socket(family, way, 0, lambda own: own.setsockopt(level, name, value)),  # noqa: B023
            )
    for family, shape, protocol in SOCKETS:
        tell(f"socket {family} {shape} {protocol}", lambda: socket.socket(family, shape, protocol).close())  # noqa: B023
    for protocol in (0, 6, 12, 16):
        for option in (1, 8, 4):
            tell(
                f"netlink option {protocol} {option}",
                lambda: with_socket(NETLINK, RAW, protocol, lambda own: own.setsockopt(270, option, ONE)),  # noqa: B023
            )
        for groups in (0, 1):
            tell(
                f"netlink bind {protocol} {groups}",
                lambda: with_socket(NETLINK, RAW, protocol, lambda own: own.bind((0, groups))),  # noqa: B023
            )
    for protocol, kind, body in MESSAGES:
        for gathered in (False, True):
            tell(
                f"netlink {protocol} {kind}",
                lambda: with_socket(
                    NETLINK, RAW, protocol, lambda own: ask(own, kind, body, gathered=gathered)  # noqa: B023
                ),
            )
    with socket.socket(NETLINK, RAW, 0) as own:
        ask(own, 18, LINK, gathered=True)
        print(own.getsockname() == (os.getpid(), 0))
    for request, rest in REQUESTS.items():
        for family in (2, 10, 1):
            data = b"lo".ljust(16, b"\0") + rest.ljust(104, b"\0")
            tell(
                f"ioctl {request:x} {family}",
                lambda: with_socket(family, DGRAM, 0, lambda own: fcntl.ioctl(own, request, data)),  # noqa: B023
            )
    tell("ioctl of a file", lambda: fcntl.ioctl(0, 0x8914, bytes(40)))
    tell("tap", tap)


if __name__ == "__main__":
    main()
