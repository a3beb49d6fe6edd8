# SPDX-License-Identifier: GPL-2.0-or-later
"""`--strict`, of unix sockets with a path (unix(7)). See `remainroot.handlers.strict`."""

from __future__ import annotations

from struct import Struct

from remainroot.dispatch import differs, equals
from remainroot.handlers.searching import searches
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


def _bind(searcher: Searcher, address: int, length: int) -> None:
    name = _path(searcher, address, length)
    if name:
        make(searcher, AT_FDCWD, name)


def _reach(searcher: Searcher, address: int, length: int) -> None:
    name = _path(searcher, address, length)
    if name:
        searcher.demand(searcher.find(AT_FDCWD, name), WRITE)


def _send(searcher: Searcher, header: int) -> None:
    """Of a struct msghdr."""
    wide = searcher.call.abi.bits == 64
    address, length = Struct("=QI" if wide else "=II").unpack(searcher.call.read(header, 12 if wide else 8))
    _reach(searcher, address, length)


@searches("bind")
def bind(searcher: Searcher) -> None:
    """As `mkdir`, for bind(2) of a unix socket to a path."""
    _bind(searcher, searcher.call.ptr(1), searcher.call.unsigned(2))


@searches("connect")
def connect(searcher: Searcher) -> None:
    """connect(2) to a unix socket with a path, which must be one to write (unix(7))."""
    _reach(searcher, searcher.call.ptr(1), searcher.call.unsigned(2))


@searches("sendto", when=differs(5, 0))
def sendto(searcher: Searcher) -> None:
    """As `connect`, of an address that is given with what is sent: sendto(2)."""
    _reach(searcher, searcher.call.ptr(4), searcher.call.unsigned(5))


@searches("sendmsg", "sendmmsg")
def sendmsg(searcher: Searcher) -> None:
    """As `sendto`, with the address in the message, of several in the first: sendmsg(2)."""
    _send(searcher, searcher.call.ptr(1))


_BIND, _CONNECT, _SENDTO, _SENDMSG, _SENDMMSG = 2, 3, 11, 16, 20


@searches("socketcall", when=equals(0, _BIND, _CONNECT, _SENDTO, _SENDMSG, _SENDMMSG))
def socketcall(searcher: Searcher) -> None:
    """socketcall(2): the number of one of these, and where its arguments are."""
    call = searcher.call
    kind = call.unsigned(0)
    size = 6 if kind == _SENDTO else 3
    args = Struct(f"={size}I").unpack(call.read(call.ptr(1), 4 * size))
    if kind == _BIND:
        _bind(searcher, args[1], args[2])
    elif kind == _CONNECT:
        _reach(searcher, args[1], args[2])
    elif kind == _SENDTO:
        _reach(searcher, args[4], args[5])
    else:
        _send(searcher, args[1])
