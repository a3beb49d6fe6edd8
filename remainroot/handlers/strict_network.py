# SPDX-License-Identifier: GPL-2.0-or-later
"""`--strict`, of the network: setsockopt(2), ioctl(2) and netlink(7), where much takes CAP_NET_ADMIN or CAP_NET_RAW.

In a network namespace that was made inside the kernel would let everybody do all of it, for to it all are its owner.
What a caller may and may not it says best itself: so a socket's option is set, and a message is sent, by a thread of
ours that has no more capabilities than the caller. See `remainroot.handlers.strict`.
"""

from __future__ import annotations

import os
from errno import EPERM
from stat import S_ISSOCK
from struct import Struct

from remainroot.credentials import CAP_NET_ADMIN, CAP_NET_RAW
from remainroot.dispatch import Refused, Settled, When, equals
from remainroot.elsewhere import weakly
from remainroot.handlers.searching import searches
from remainroot.handlers.sockets import open_socket
from remainroot.handlers.strict_mounts import FREEZING, SET_VERSION, control_file_system
from remainroot.tasks import thread_group
from remainroot.tracee import status_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, TypeVar

    from remainroot.dispatch import Call
    from remainroot.handlers.searching import Searcher

    T = TypeVar("T")

_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16


def _as_caller(call: Call, body: Callable[[], T]) -> T:
    """What `body` returns with the caller's capabilities; Refused with the errno that it raises."""
    call.check()
    try:
        return weakly(call.creds.effective, body)
    except BlockingIOError:
        raise  # the caller may wait for it
    except OSError as error:
        raise Refused(error.errno or EPERM) from None


def _is_free(call: Call) -> bool:
    """Whether the caller has all that the network may take."""
    creds = call.creds
    return creds.capable_inside(CAP_NET_ADMIN) and creds.capable_inside(CAP_NET_RAW)


# ---------------------------------------------------------------- options

_SOCKET, _IP, _IPV6, _TCP, _NETLINK = 1, 0, 41, 6, 270
_TABLES: Final = frozenset({64, 65, 66, 67})
"""What netfilter's older modules are told by."""
_OPTIONS: Final = {
    _SOCKET: frozenset({12, 25, 36, 61, 62}),  # SO_PRIORITY, _BINDTODEVICE, _MARK, _TXTIME, _BINDTOIFINDEX
    _IP: frozenset({16, 17, 19}) | _TABLES,  # IP_IPSEC_POLICY, _XFRM_POLICY, _TRANSPARENT
    # IPV6_JOIN_ANYCAST, _IPSEC_POLICY, _XFRM_POLICY, _HOPOPTS, _RTHDRDSTOPTS, _DSTOPTS, _TRANSPARENT
    _IPV6: frozenset({27, 34, 35, 54, 55, 59, 75}) | _TABLES,
    _TCP: frozenset({13, 19}),  # TCP_CONGESTION, _REPAIR
    _NETLINK: frozenset({1, 8}),  # NETLINK_ADD_MEMBERSHIP, _LISTEN_ALL_NSID
}
"""Options by level that some values of take a capability; the values lie in one piece of memory."""
_MOST: Final = 4096


def set_option(call: Call, fd: int, level: int, name: int, value: int, size: int) -> None:
    """setsockopt(2) with these arguments; `value` is an address."""
    if name not in _OPTIONS.get(level, ()) or not 0 <= size <= _MOST or not value or _is_free(call):
        return
    data = call.read(value, size)
    own = open_socket(call, fd)
    try:
        _as_caller(call, lambda: own.setsockopt(level, name, data))
    finally:
        own.close()
    raise Settled(0)


@searches("setsockopt", when=equals(2, *sorted(frozenset().union(*_OPTIONS.values()))))
def setsockopt(searcher: Searcher) -> None:
    """setsockopt(2): SO_MARK and its kin take CAP_NET_ADMIN or CAP_NET_RAW: socket(7), ip(7), ipv6(7)."""
    call = searcher.call
    set_option(call, call.signed(0), call.signed(1), call.signed(2), call.ptr(3), call.signed(4))


# ---------------------------------------------------------------- interfaces, routes

_ALL: Final = frozenset(
    {0x8914, 0x8922, 0x8923, 0x8924, 0x891E, 0x8930, 0x8931, 0x8932, 0x8937, 0x8948, 0x8949}
    | {0x8990, 0x8991, 0x8992, 0x8995, 0x89A0, 0x89A1, 0x89A2, 0x89A3, 0x89B0}
)
"""SIOCSIF... that any socket knows, of bonds and bridges too; and the flags, which those of the internet know first."""
_UNIXFILE, _TUNSETIFF = 0x89E0, 0x400454CA
_ROUTES: Final = frozenset({0x890B, 0x890C})
_FAMILIES: Final = {
    _AF_UNIX: frozenset({_UNIXFILE}),
    _AF_INET: _ROUTES | {0x8916, 0x8918, 0x891A, 0x891C, 0x8953, 0x8955},
    _AF_INET6: _ROUTES | {0x8916, 0x8936},
}
"""What the sockets of a family know: addresses, routes, neighbours; a unix socket's file."""
_REQUEST: Final = 32
"""How much of struct ifreq there is at least, which is read before anything is refused."""
_TUN: Final = os.makedev(10, 200)
_FIRST: Final = When(1, "eq", 0x8900, 0xFFFF_FF00)


@searches("ioctl", when=(_FIRST, *equals(1, *FREEZING, *SET_VERSION, _TUNSETIFF)))
def ioctl(searcher: Searcher) -> None:
    """ioctl(2): see `control_file_system`; changes of interfaces and routes take CAP_NET_ADMIN: netdevice(7)."""
    call = searcher.call
    number = call.unsigned(1)
    if number in FREEZING or number in SET_VERSION:
        control_file_system(searcher)
    elif not call.creds.capable_inside(CAP_NET_ADMIN) and _takes_power(call, number):
        raise Refused(EPERM)


def _takes_power(call: Call, number: int) -> bool:
    st = os.stat(f"/proc/{call.tid}/fd/{call.signed(0)}")
    if number == _TUNSETIFF:
        return st.st_rdev == _TUN and bool(call.read(call.ptr(2), _REQUEST))
    if not S_ISSOCK(st.st_mode):
        return False
    if number in _ALL:
        return bool(call.read(call.ptr(2), _REQUEST))
    if not any(number in known for known in _FAMILIES.values()):
        return False
    own = open_socket(call, call.signed(0))
    known = _FAMILIES.get(own.family, frozenset())
    own.close()
    if number not in known:
        return False
    return number in _ROUTES or number == _UNIXFILE or bool(call.read(call.ptr(2), _REQUEST))


# ---------------------------------------------------------------- netlink

_TO_ALL: Final = frozenset({0, 4, 7, 9, 15, 16, 20})
"""NETLINK_ROUTE and others whose groups everybody may listen to."""
_ADDRESS: Final = Struct("=HxxII")
_MOST_TEXT: Final = 1 << 17
_MOST_PARTS: Final = 64
_DONTWAIT: Final = 0x40


def is_netlink(call: Call, address: int, length: int) -> bool:
    """Whether an address is one of netlink's."""
    return length >= _ADDRESS.size and int.from_bytes(call.read(address, 2), "little") == _AF_NETLINK


def listen(call: Call, fd: int, address: int) -> None:
    """bind(2) to groups of netlink's: others than those for everybody take CAP_NET_ADMIN."""
    _, _, groups = _ADDRESS.unpack(call.read(address, _ADDRESS.size))
    if groups and not call.creds.capable_inside(CAP_NET_ADMIN):
        own = open_socket(call, fd)
        family, protocol = own.family, own.proto
        own.close()
        if family == _AF_NETLINK and protocol not in _TO_ALL:
            raise Refused(EPERM)


def send(call: Call, fd: int, address: int, parts: list[tuple[int, int]], flags: int) -> None:
    """A message of these `parts`, each an address and a size, to an address of netlink's."""
    if _is_free(call) or len(parts) > _MOST_PARTS or sum(size for _, size in parts) > _MOST_TEXT:
        return
    text = b"".join([call.read(where, size) for where, size in parts if size])
    _, pid, groups = _ADDRESS.unpack(call.read(address, _ADDRESS.size))
    own = open_socket(call, fd)
    try:
        if own.family != _AF_NETLINK:
            return
        if not own.getsockname()[0]:
            _name(call, own.bind)
        sent = _as_caller(call, lambda: own.sendto(text, flags | _DONTWAIT, (pid, groups)))
    finally:
        own.close()
    raise Settled(sent)


def _name(call: Call, bind: Callable[[tuple[int, int]], None]) -> None:
    """Give the socket the number of its process, as the kernel would when it sends for the first time."""
    try:
        bind((int(status_field(thread_group(call.tid), b"NSpid").split()[-1]), 0))
    except OSError:
        pass  # another socket of the process has it


def parts_of(call: Call, header: int) -> list[tuple[int, int]]:
    """The parts of a struct msghdr."""
    wide = call.abi.bits == 64
    form = Struct("=QQQQ" if wide else "=IIII")
    _, _, vector, count = form.unpack(call.read(header, form.size))
    count = min(count, _MOST_PARTS + 1)
    words = Struct(f"={2 * count}{'Q' if wide else 'I'}")
    found = words.unpack(call.read(vector, words.size)) if count else ()
    return list(zip(found[::2], found[1::2], strict=True))
