# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose end of a unix socket it is: SO_PEERCRED, SO_PEERGROUPS (unix(7)), noted when sockets are connected.

What is noted, and when, is said in `remainroot.connections`.
"""

from __future__ import annotations

import os
from errno import EINVAL, ERANGE
from struct import Struct, pack

from remainroot import quick
from remainroot.connections import CONNECT, LISTEN, PAIR, is_plain
from remainroot.dispatch import CONTINUE, DONE, Fail, equals, handles
from remainroot.handlers import messages
from remainroot.handlers.creation import bind_address
from remainroot.handlers.peers import pid_for
from remainroot.kernel import duplicate_fd
from remainroot.namespaces import INITIAL
from remainroot.tasks import PLAIN, thread_group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from typing import Final

    from remainroot.credentials import Credentials
    from remainroot.dispatch import Call, Outcome
    from remainroot.tasks import State

_AF_UNIX: Final = 1
_SOL_SOCKET: Final = 1
_SO_PASSCRED: Final = 16
_SO_PEERCRED: Final = 17
_SO_PEERGROUPS: Final = 59
_UCRED: Final = Struct("=iII")


def open_socket(call: Call, fd: int) -> socket:
    """A duplicate of the task's socket, to be closed; OSError(ENOTSOCK) if the descriptor is of something else."""
    from _socket import socket

    own = duplicate_fd(call.tid, fd)
    try:
        return socket(fileno=own)
    except OSError:
        os.close(own)
        raise


# ---------------------------------------------------------------- noting


def _is_nobody(call: Call) -> bool:
    """Whether what this task does need not be noted."""
    if call.world.tasks.untouched:
        return True
    connections = call.world.connections
    return is_plain(call.creds) and not (connections.processes and connections.has(thread_group(call.tid)))


def _connect(call: Call, fd: int, address: int) -> Outcome:
    if _is_nobody(call):
        return CONTINUE
    try:
        if int.from_bytes(call.read(address, 2), "little") != _AF_UNIX:
            return CONTINUE
        ino = os.stat(f"/proc/{call.tid}/fd/{fd}").st_ino
    except OSError:
        return CONTINUE  # EFAULT, EBADF, or EINVAL for an address of no length
    call.world.connections.note(thread_group(call.tid), CONNECT, ino, call.state)
    return CONTINUE


def _listen(call: Call, fd: int) -> Outcome:
    if _is_nobody(call):
        return CONTINUE
    try:
        own = open_socket(call, fd)
    except OSError:
        return CONTINUE
    try:
        if own.family == _AF_UNIX:
            call.world.connections.note(thread_group(call.tid), LISTEN, own.getsockname(), call.state)
            call.world.unnamed.socket_makers.add(call.creds.fsuid)
    finally:
        own.close()
    return CONTINUE


def _socketpair(call: Call) -> Outcome:
    if not _is_nobody(call):
        call.world.connections.note(thread_group(call.tid), PAIR, None, call.state)
        call.world.unnamed.socket_makers.add(call.creds.fsuid)
    return CONTINUE


@handles("connect", quick=quick.MEET)
def connect(call: Call) -> Outcome:
    """connect(2) of a unix socket: the listener's side will ask who it was."""
    return _connect(call, call.signed(0), call.ptr(1))


@handles("listen", quick=quick.MEET)
def listen(call: Call) -> Outcome:
    """listen(2) on a unix socket: who connects will ask who it was."""
    return _listen(call, call.signed(0))


@handles("socketpair", when=equals(0, _AF_UNIX), quick=quick.MEET)
def socketpair(call: Call) -> Outcome:
    """socketpair(2): both ends are the caller's."""
    return _socketpair(call)


# ---------------------------------------------------------------- asking


def _peer_inode(call: Call, ino: int) -> int:
    """The inode number of the peer of the socket of inode number `ino`; 0 if it is gone: sock_diag(7)."""
    if os.stat(f"/proc/{call.tid}/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino:
        return 0
    from _socket import AF_NETLINK, SOCK_CLOEXEC, SOCK_RAW, socket

    # struct nlmsghdr and struct unix_diag_req: SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, any state, UDIAG_SHOW_PEER.
    request = pack("=IHHII", 40, 20, 1, 1, 0) + pack("=BBHIIIii", _AF_UNIX, 0, 0, 0xFFFF_FFFF, ino, 4, -1, -1)
    asking = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 4)
    try:
        asking.settimeout(1)
        asking.sendto(request, (0, 0))
        reply = asking.recv(512)
    except OSError:
        return 0
    finally:
        asking.close()
    # struct unix_diag_msg is 16 bytes, then attributes: length, type (2: UNIX_DIAG_PEER), value.
    at = 32
    while at + 8 <= len(reply) and int.from_bytes(reply[4:6], "little") == 20:
        size, kind = Struct("=HH").unpack_from(reply, at)
        if kind == 2:
            return int.from_bytes(reply[at + 4 : at + 8], "little")
        at += max(size + 3 & ~3, 4)
    return 0


def _peer(call: Call, own: socket, fd: int, pid: int) -> State | None:
    """What the process `pid`, the peer of the task's socket, was when it became that; None: nobody of ours."""
    connections = call.world.connections
    if not connections.has(pid):
        return PLAIN if call.world.tasks.supervises(pid) else None
    try:
        listener: str | bytes = own.getpeername()
    except OSError:
        return connections.find(pid, LISTEN, own.getsockname()) or PLAIN  # it listens itself
    if listener:
        return connections.find(pid, LISTEN, listener) or PLAIN
    if not own.getsockname():
        return connections.find(pid, PAIR, None) or PLAIN
    ino = _peer_inode(call, os.stat(f"/proc/{call.tid}/fd/{fd}").st_ino)
    return (connections.find(pid, CONNECT, ino) if ino else connections.last(pid)) or PLAIN


def _getsockopt(call: Call, fd: int, option: int, address: int, length: int) -> Outcome:
    """What the kernel says, with the ids in it exchanged; it is asked on our own duplicate of the socket."""
    if option == _SO_PEERCRED and call.world.tasks.untouched:
        return CONTINUE
    try:
        own = open_socket(call, fd)
    except OSError:
        return CONTINUE
    try:
        if own.family != _AF_UNIX:
            return CONTINUE
        pid, uid, gid = _UCRED.unpack(own.getsockopt(_SOL_SOCKET, _SO_PEERCRED, _UCRED.size))
        state = _peer(call, own, fd, pid) if pid > 0 else None
    finally:
        own.close()
    alike = state is not None and (state.creds.euid, state.creds.egid) == (uid, gid)
    if state is None or (option == _SO_PEERCRED and alike and call.creds.namespace is INITIAL):
        return CONTINUE
    return _tell(call, option, pid, state.creds, address, length)


def _tell(call: Call, option: int, pid: int, creds: Credentials, address: int, length: int) -> Outcome:
    """Write the option's value, the credentials of the peer: struct ucred cut to fit, or all groups (ERANGE)."""
    room = int.from_bytes(call.read(length, 4), "little", signed=True)
    namespace = call.creds.namespace
    if room < 0:
        return Fail(EINVAL)
    if option == _SO_PEERCRED:
        uid, gid = namespace.uids.shown(creds.euid), namespace.gids.shown(creds.egid)
        answer = _UCRED.pack(pid_for(call, pid), uid, gid)[:room]
    else:
        answer = pack(f"={len(creds.groups)}I", *map(namespace.gids.shown, creds.groups))
        if room < len(answer):
            call.write(length, len(answer).to_bytes(4, "little"))
            return Fail(ERANGE)
    call.write(address, answer)
    call.write(length, len(answer).to_bytes(4, "little"))
    return DONE


@handles("getsockopt", when=equals(2, _SO_PEERCRED, _SO_PEERGROUPS))
def getsockopt(call: Call) -> Outcome:
    """getsockopt(2) of SO_PEERCRED and SO_PEERGROUPS."""
    if call.signed(1) != _SOL_SOCKET or call.unsigned(2) not in (_SO_PEERCRED, _SO_PEERGROUPS):
        return CONTINUE
    return _getsockopt(call, call.signed(0), call.unsigned(2), call.ptr(3), call.ptr(4))


@handles("setsockopt", when=equals(2, _SO_PASSCRED))
def setsockopt(call: Call) -> Outcome:
    """setsockopt(2) of SO_PASSCRED: from now on messages are looked at when they are received."""
    if call.signed(1) == _SOL_SOCKET and call.unsigned(2) == _SO_PASSCRED:
        call.world.connections.passing = True
    return CONTINUE


@handles("sendmsg")
def sendmsg(call: Call) -> Outcome:
    """sendmsg(2)."""
    return messages.send(call, call.signed(0), call.ptr(1), open_socket)


@handles("recvmsg")
def recvmsg(call: Call) -> Outcome:
    """recvmsg(2)."""
    if not call.world.connections.passing:
        return CONTINUE
    return messages.receive(call, call.signed(0), call.ptr(1), call.unsigned(2), open_socket, attended=True)


@handles("sendmmsg")
def sendmmsg(call: Call) -> Outcome:
    """sendmmsg(2)."""
    return messages.send_many(call, call.signed(0), call.ptr(1), call.unsigned(2), open_socket)


@handles("recvmmsg", "recvmmsg_time64")
def recvmmsg(call: Call) -> Outcome:
    """recvmmsg(2)."""
    if not call.world.connections.passing:
        return CONTINUE
    return messages.receive_many(
        call, call.signed(0), call.ptr(1), call.unsigned(2), call.unsigned(3), open_socket
    )


# ---------------------------------------------------------------- i386's one call for all of them


@handles("socketcall", when=equals(0, 2, 3, 4, 8, 14, 15, 16, 17, 19, 20))
def socketcall(call: Call) -> Outcome:  # noqa: PLR0911  # one line for each call in it
    """socketcall(2): the number of the call, and where its arguments are."""
    kind = call.unsigned(0)
    size = {2: 3, 3: 3, 4: 2, 8: 4, 14: 5, 15: 5, 16: 3, 17: 3, 19: 5, 20: 4}.get(kind, 0)
    args = Struct(f"={size}I").unpack(call.read(call.ptr(1), 4 * size)) if size else ()
    if kind == 2:
        return bind_address(call, args[1], args[2])
    if kind == 3:
        return _connect(call, args[0], args[1])
    if kind == 4:
        return _listen(call, args[0])
    if kind == 8 and args[0] == _AF_UNIX:
        return _socketpair(call)
    if kind in (14, 15) and args[1] == _SOL_SOCKET:
        if kind == 15 and args[2] in (_SO_PEERCRED, _SO_PEERGROUPS):
            return _getsockopt(call, args[0], args[2], args[3], args[4])
        if kind == 14 and args[2] == _SO_PASSCRED:
            call.world.connections.passing = True
    if kind == 16:
        return messages.send(call, args[0], args[1], open_socket)
    if kind == 17 and call.world.connections.passing:
        return messages.receive(call, args[0], args[1], args[2], open_socket)
    if kind == 19 and call.world.connections.passing:
        return messages.receive_many(call, args[0], args[1], args[2], args[3], open_socket)
    if kind == 20:
        return messages.send_many(call, args[0], args[1], args[2], open_socket)
    return CONTINUE
