# SPDX-License-Identifier: GPL-2.0-or-later
"""`--strict`, of sockets: unix ones with a path (unix(7)); ports and raw packets, which take capabilities (ip(7)).

See `remainroot.handlers.strict`.
"""

from __future__ import annotations

import os
from errno import EACCES, EPERM
from struct import Struct

from remainroot.credentials import CAP_NET_BIND_SERVICE, CAP_NET_RAW
from remainroot.dispatch import Refused, differs, equals
from remainroot.elsewhere import NET, Elsewhere, inside
from remainroot.handlers import strict_network
from remainroot.handlers.searching import searches
from remainroot.handlers.sockets import open_socket
from remainroot.handlers.strict_names import make
from remainroot.kernel import AT_FDCWD
from remainroot.permissions import WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.handlers.searching import Searcher

_AF_UNIX: Final = 1
_SUN_PATH: Final = 108


def _path(searcher: Searcher, address: int, length: int) -> bytes:
    """The path in a struct sockaddr_un; empty if there is none."""
    if not address or not 2 < length <= _SUN_PATH + 2:
        return b""
    data = searcher.call.read(address, length)
    return data[2:].split(b"\0", 1)[0] if int.from_bytes(data[:2], "little") == _AF_UNIX else b""


def _bind(searcher: Searcher, fd: int, address: int, length: int) -> None:
    name = _path(searcher, address, length)
    if name:
        make(searcher, AT_FDCWD, name)
    elif strict_network.is_netlink(searcher.call, address, length):
        strict_network.listen(searcher.call, fd, address)
    else:
        _take_port(searcher, fd, address, length)


def _reach(searcher: Searcher, address: int, length: int) -> None:
    name = _path(searcher, address, length)
    if name:
        searcher.demand(searcher.find(AT_FDCWD, name), WRITE)


def _send(searcher: Searcher, fd: int, header: int, flags: int) -> None:
    """Of a struct msghdr."""
    call = searcher.call
    wide = call.abi.bits == 64
    address, length = Struct("=QI" if wide else "=II").unpack(call.read(header, 12 if wide else 8))
    if address and strict_network.is_netlink(call, address, length):
        strict_network.send(call, fd, address, strict_network.parts_of(call, header), flags)
    else:
        _reach(searcher, address, length)


def _send_to(searcher: Searcher, fd: int, part: tuple[int, int], flags: int, address: int, length: int) -> None:
    if address and strict_network.is_netlink(searcher.call, address, length):
        strict_network.send(searcher.call, fd, address, [part], flags)
    else:
        _reach(searcher, address, length)


_LEAST: Final = {2: 16, 10: 24}
"""How long an address of AF_INET, of AF_INET6 must be."""
_SOCK_RAW: Final = 3
_PROT_SOCK: Final = 1024


def _take_port(searcher: Searcher, fd: int, address: int, length: int) -> None:
    """A port that is not everybody's takes CAP_NET_BIND_SERVICE; a raw socket has no ports."""
    call = searcher.call
    if length < min(_LEAST.values()) or searcher.creds.capable_inside(CAP_NET_BIND_SERVICE):
        return
    data = call.read(address, 4)
    family, port = int.from_bytes(data[:2], "little"), int.from_bytes(data[2:], "big")
    if length < _LEAST.get(family, length + 1) or not 0 < port < _first_free_port(call.tid):
        return
    own = open_socket(call, fd)
    try:
        if own.family in _LEAST and own.type != _SOCK_RAW:
            raise Refused(EACCES)
    finally:
        own.close()


def _first_free_port(tid: int) -> int:
    """Of the task's network namespace; the usual one where that cannot be looked at."""

    def read() -> int:
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", "rb") as file:
            return int(file.read())

    try:
        return inside(tid, NET, read)
    except (Elsewhere, OSError):
        return _PROT_SOCK


@searches("bind")
def bind(searcher: Searcher) -> None:
    """As `mkdir`, for bind(2) of a unix socket to a path; a low port takes CAP_NET_BIND_SERVICE: ip(7)."""
    _bind(searcher, searcher.call.signed(0), searcher.call.ptr(1), searcher.call.unsigned(2))


_AF_INET, _AF_INET6, _AF_PACKET, _AF_XDP = 2, 10, 17, 44
_SOCK_PACKET: Final = 10
_TYPE: Final = 0xF
_PROTOCOLS: Final = range(1, 263)


def _open(searcher: Searcher, family: int, kind: int, protocol: int) -> None:
    searcher.call.world.unnamed.socket_makers.add(searcher.creds.fsuid)
    packet = family in (_AF_PACKET, _AF_XDP) or (family == _AF_INET and kind & _TYPE == _SOCK_PACKET)
    raw = family in (_AF_INET, _AF_INET6) and kind & _TYPE == _SOCK_RAW and protocol in _PROTOCOLS
    known = kind & _TYPE <= _SOCK_PACKET and not kind & ~(_TYPE | os.O_CLOEXEC | os.O_NONBLOCK)
    if (packet or raw) and known and not searcher.creds.capable_inside(CAP_NET_RAW):
        raise Refused(EPERM)


@searches("socket", when=equals(0, _AF_UNIX, _AF_INET, _AF_INET6, _AF_PACKET, _AF_XDP))
def socket(searcher: Searcher) -> None:
    """socket(2): packets, and raw ones of the internet's protocols, take CAP_NET_RAW: packet(7), raw(7).

    That a user makes sockets is noted: it may be whose they are.
    """
    _open(searcher, searcher.call.signed(0), searcher.call.signed(1), searcher.call.signed(2))


@searches("connect")
def connect(searcher: Searcher) -> None:
    """connect(2) to a unix socket with a path, which must be one to write (unix(7))."""
    _reach(searcher, searcher.call.ptr(1), searcher.call.unsigned(2))


@searches("sendto", when=differs(5, 0))
def sendto(searcher: Searcher) -> None:
    """As `connect`, of an address that is given with what is sent: sendto(2)."""
    call = searcher.call
    part = call.ptr(1), call.ptr(2)
    _send_to(searcher, call.signed(0), part, call.unsigned(3), call.ptr(4), call.unsigned(5))


@searches("sendmsg")
def sendmsg(searcher: Searcher) -> None:
    """As `sendto`, with the address in the message: sendmsg(2)."""
    _send(searcher, searcher.call.signed(0), searcher.call.ptr(1), searcher.call.unsigned(2))


@searches("sendmmsg")
def sendmmsg(searcher: Searcher) -> None:
    """As `sendmsg`, of the first of several messages."""
    call = searcher.call
    wide = call.abi.bits == 64
    address, length = Struct("=QI" if wide else "=II").unpack(call.read(call.ptr(1), 12 if wide else 8))
    _reach(searcher, address, length)


_SOCKET, _BIND, _CONNECT, _SENDTO, _SETSOCKOPT, _SENDMSG, _SENDMMSG = 1, 2, 3, 11, 14, 16, 20
_SIZES: Final = {_SENDTO: 6, _SETSOCKOPT: 5}


@searches("socketcall", when=equals(0, _SOCKET, _BIND, _CONNECT, _SENDTO, _SETSOCKOPT, _SENDMSG, _SENDMMSG))
def socketcall(searcher: Searcher) -> None:
    """socketcall(2): the number of one of these, and where its arguments are."""
    call = searcher.call
    kind = call.unsigned(0)
    size = _SIZES.get(kind, 3)
    args = Struct(f"={size}I").unpack(call.read(call.ptr(1), 4 * size))
    if kind == _SOCKET:
        _open(searcher, args[0], args[1], args[2])
    elif kind == _BIND:
        _bind(searcher, args[0], args[1], args[2])
    elif kind == _CONNECT:
        _reach(searcher, args[1], args[2])
    elif kind == _SENDTO:
        _send_to(searcher, args[0], (args[1], args[2]), *args[3:])
    elif kind == _SETSOCKOPT:
        strict_network.set_option(call, *args)
    elif kind == _SENDMSG:
        _send(searcher, *args)
    else:
        _reach(searcher, *Struct("=II").unpack(call.read(args[1], 8)))
