# SPDX-License-Identifier: GPL-2.0-or-later
"""Credentials that go with a message: SCM_CREDENTIALS, sent and received (unix(7)).

Sent: the kernel takes no id that the namespace does not map, so the ids in the task's message are exchanged for the
real ones for as long as the call takes, and what the task claimed is noted. So it is with a process that root names,
where that takes more than root of our namespace may. A peer outside sees what is real.

Received: the kernel fills in the sender's real ids. Where the sender is known by others, the message is received here
on the task's behalf, if it is there already (else it is waited for, `remainroot.handlers.message_waits`) and brings
credentials and, at most, the time of its arrival (SO_TIMESTAMP: syslog daemons ask for it). A message that carries
descriptors is left to the kernel: they must not be lost.
"""

from __future__ import annotations

import os
from errno import EINVAL, EPERM, ESRCH
from select import POLLOUT, poll
from struct import Struct

from remainroot.credentials import CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN, KEEP, ROOT
from remainroot.dispatch import CONTINUE, Fail, Lend, Return
from remainroot.handlers.message_waits import await_message
from remainroot.handlers.peers import owner_of_namespace, pid_for, supervisors_pid
from remainroot.namespaces import INITIAL
from remainroot.tasks import thread_group
from remainroot.tracee import status_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from typing import Final

    from remainroot.connections import Sender
    from remainroot.credentials import Credentials
    from remainroot.dispatch import Call, Outcome

    Received = tuple[bytes, bytes, int, str | bytes | None]
    Ancillary = list[tuple[int, int, bytes]]

_AF_UNIX: Final = 1
_AF_NETLINK: Final = 16
_SOCK_STREAM: Final = 1
_SOL_SOCKET: Final = 1
_SO_PASSCRED: Final = 16
_SCM_RIGHTS, _SCM_CREDENTIALS, _SCM_PIDFD = 1, 2, 4
_SCM_TIMESTAMP, _SCM_TIMESTAMPNS, _SCM_TIMESTAMP_NEW, _SCM_TIMESTAMPNS_NEW = 29, 35, 63, 64
_COPIED: Final = {
    4: (_SCM_CREDENTIALS, _SCM_TIMESTAMP_NEW, _SCM_TIMESTAMPNS_NEW),
    8: (_SCM_CREDENTIALS, _SCM_TIMESTAMP_NEW, _SCM_TIMESTAMPNS_NEW, _SCM_TIMESTAMP, _SCM_TIMESTAMPNS),
}
"""What a message may bring that is received on a task's behalf, by the size of its long: ours has 8 bytes."""
_MSG_OOB, _MSG_PEEK, _MSG_TRUNC, _MSG_DONTWAIT, _MSG_WAITALL, _MSG_ERRQUEUE = 0x1, 0x2, 0x20, 0x40, 0x100, 0x2000
_UNCOMMON: Final = _MSG_OOB | _MSG_TRUNC | _MSG_WAITALL | _MSG_ERRQUEUE
_MSG_WAITFORONE: Final = 0x10000
_MSG_CTRUNC: Final = 0x8
_MSG_CMSG_CLOEXEC: Final = 0x4000_0000
_UCRED: Final = Struct("=iII")
_PID: Final = 4
"""The size of the first of these, the process; the ids follow."""
_MOST_CONTROL: Final = 20480
_MOST_PARTS: Final = 1024
_MOST_MESSAGES: Final = 1024
"""UIO_MAXIOV: of more messages the rest is left."""
_BEGINNING: Final = 32
"""How many bytes a message is known by."""
_MOST_DATA: Final = 1 << 24


class _Header:
    """struct msghdr in the task's memory, with the offsets of what the kernel changes in it."""

    __slots__ = (
        *("name", "name_size", "name_at", "iov", "iov_count", "control", "control_size", "control_at", "flags_at"),
        "word",
    )

    _WIDE = Struct("=QIxxxxQQQQ")
    _NARROW = Struct("=IIIIII")

    @classmethod
    def size_of(cls, call: Call) -> int:
        """The size of the whole, of which the last field, the flags, is not read."""
        return cls._WIDE.size + 8 if call.abi.bits == 64 else cls._NARROW.size + 4

    def __init__(self, call: Call, address: int) -> None:
        wide = call.abi.bits == 64
        form = self._WIDE if wide else self._NARROW
        fields = form.unpack(call.read(address, form.size))
        self.name, self.name_size, self.iov, self.iov_count, self.control, self.control_size = fields
        self.word = 8 if wide else 4
        self.name_at = address + self.word
        self.control_at = address + (40 if wide else 20)
        self.flags_at = self.control_at + self.word

    @property
    def room_for_credentials(self) -> bool:
        """Whether a control message with credentials fits."""
        return self.has_room(self.word + 8 + _UCRED.size)

    def has_room(self, size: int) -> bool:
        """Whether control messages of so many bytes fit."""
        return bool(self.control) and bool(self.control_size >= size)

    def parts(self, call: Call) -> list[tuple[int, int]]:
        """The (address, size) of each part of the message."""
        count = min(self.iov_count, _MOST_PARTS)
        form = Struct(f"={2 * count}{'Q' if self.word == 8 else 'I'}")
        words = form.unpack(call.read(self.iov, form.size)) if count else ()
        return list(zip(words[::2], words[1::2], strict=True))

    def pack(self, ancillary: Ancillary) -> bytes:
        """Control messages as the kernel lays them out, each padded to a whole word."""
        size, whole = self.word + 8, b""
        for level, kind, data in ancillary:
            message = (size + len(data)).to_bytes(self.word, "little") + Struct("=ii").pack(level, kind) + data
            whole += message + bytes(-len(message) % self.word)
        return whole


def _credentials_at(header: _Header, control: bytes) -> int:
    """The offset in `control` of the credentials that are sent with it, -1 if there are none."""
    at, head = 0, header.word + 8
    while at + head <= len(control):
        size = int.from_bytes(control[at : at + header.word], "little")
        level, kind = Struct("=ii").unpack_from(control, at + header.word)
        if size < head or at + size > len(control):
            return -1  # EINVAL
        if level == _SOL_SOCKET and kind == _SCM_CREDENTIALS:
            return at + head if size == head + _UCRED.size else -1
        at += size + (-size % header.word)
    return -1


def _may_claim(creds: Credentials, uid: int, gid: int) -> bool:
    """unix(7): one of the sender's own real, effective or saved ids, or any with CAP_SETUID and CAP_SETGID."""
    return (uid in (creds.uid, creds.euid, creds.suid) or creds.capable_inside(CAP_SETUID)) and (
        gid in (creds.gid, creds.egid, creds.sgid) or creds.capable_inside(CAP_SETGID)
    )


def _must_wait(call: Call, fd: int, open_socket: Callable[[Call, int], socket]) -> bool:
    """Whether the kernel has no room for a message that the task's socket sends."""
    own = open_socket(call, fd)
    try:
        poller = poll()
        poller.register(own.fileno(), POLLOUT)
        return not poller.poll(0)
    finally:
        own.close()


def _refused(call: Call, fd: int, error: int, open_socket: Callable[[Call, int], socket]) -> Outcome:
    """The errno of a message whose credentials are wrong, if the task's socket looks at any (scm_send())."""
    try:
        own = open_socket(call, fd)
    except OSError:
        return CONTINUE  # EBADF, ENOTSOCK
    try:
        return Fail(error) if own.family in (_AF_UNIX, _AF_NETLINK) else CONTINUE
    finally:
        own.close()


def send(call: Call, fd: int, address: int, open_socket: Callable[[Call, int], socket]) -> Outcome:
    """sendmsg(2) of the message at `address`."""
    kept: dict[int, bytes] = {}
    error = _prepare(call, address, kept)
    if error:
        return _refused(call, fd, error, open_socket)
    return Lend(kept, waits=_must_wait(call, fd, open_socket)) if kept else CONTINUE


def send_many(call: Call, fd: int, address: int, count: int, open_socket: Callable[[Call, int], socket]) -> Outcome:
    """sendmmsg(2) of `count` messages at `address`: up to the first that may not be sent.

    Its error is told if it is the very first.
    """
    kept: dict[int, bytes] = {}
    size = _size_of_many(call)
    for index in range(min(count, _MOST_MESSAGES)):
        try:
            error = _prepare(call, address + index * size, kept)
        except OSError:
            if not kept:
                raise
            break  # what was lent must be given back; the kernel ends here by itself
        if error and not index:
            return _refused(call, fd, error, open_socket)
        if error:
            _spoil(call, address + index * size, kept)
            break
    return Lend(kept, waits=_must_wait(call, fd, open_socket)) if kept else CONTINUE


def _size_of_many(call: Call) -> int:
    """The size of struct mmsghdr: a message, and how much of it was sent or received."""
    return _Header.size_of(call) + (8 if call.abi.bits == 64 else 4)


def _credentials_sent(call: Call, header: _Header) -> tuple[int, bytes] | None:
    """The credentials that go with a message, and where they are (struct ucred); None: there are none."""
    if not header.room_for_credentials or header.control_size > _MOST_CONTROL:
        return None
    control = call.read(header.control, header.control_size)
    at = _credentials_at(header, control)
    if at < 0:
        return None
    return header.control + at, control[at : at + _UCRED.size]


def _prepare(call: Call, address: int, kept: dict[int, bytes]) -> int:
    """See to it that the kernel takes the message, if it may be sent; what was in its place gets into `kept`.

    Else the errno.
    """
    try:
        header = _Header(call, address)
        sent = _credentials_sent(call, header)
    except OSError:
        return 0  # EFAULT, or what is the matter with the socket
    if sent is None:
        _note_sender(call, header)
        return 0
    creds, world = call.creds, call.world
    where, text = sent
    own = int(status_field(call.tid, b"NStgid").split()[-1])
    real = _UCRED.pack(own, world.real_uid, world.real_gid)
    owed = kept.get(where) or world.owed(call.tid, where)  # several messages may share their credentials
    if owed is not None and text in (real, owed[:_PID] + real[_PID:]):
        text = owed
    pid, uid, gid = _UCRED.unpack(text)
    uid, gid = creds.namespace.uids.down(uid), creds.namespace.gids.down(gid)
    if uid == KEEP or gid == KEEP:
        return EINVAL
    # unix(7): the sender's own process, or any with CAP_SYS_ADMIN.
    if (pid != own and not creds.capable(CAP_SYS_ADMIN)) or not _may_claim(creds, uid, gid):
        return EPERM
    process = thread_group(call.tid)
    named = process if pid == own else _named(call, pid)
    if not named:
        return ESRCH
    # Of another's pid namespace root of ours is no root.
    shown = named if named == process or owner_of_namespace(call.tid, "pid") else process
    lent = real if shown == process else text[:_PID] + real[_PID:]
    if lent != text:
        kept[where] = text
        call.write(where, lent)
    sender = named, uid, gid
    if sender != (shown, world.real_uid, world.real_gid) or world.connections.claimed(shown) or creds != ROOT:
        world.connections.claim(shown, sender, _beginning(call, header))
    return 0


def _note_sender(call: Call, header: _Header) -> None:
    """The kernel adds the sender's real ids, whom nobody can be asked for any more when it has ended."""
    creds, connections = call.creds, call.world.connections
    process = thread_group(call.tid) if connections.passing else 0
    if process and (creds != ROOT or connections.claimed(process) is not None):
        connections.claim(process, (process, creds.uid, creds.gid), _beginning(call, header))


def _named(call: Call, pid: int) -> int:
    """The process that the caller calls `pid`, or the thread; 0: none."""
    return supervisors_pid(call, pid) if pid > 0 else 0


def _spoil(call: Call, address: int, kept: dict[int, bytes]) -> None:
    """Have the kernel refuse the message, too."""
    sent = _credentials_sent(call, _Header(call, address))
    if sent is not None:
        kept.setdefault(*sent)
        call.write(sent[0], _UCRED.pack(0, KEEP, KEEP))


def _beginning(call: Call, header: _Header) -> bytes:
    """The first bytes of the message that is sent."""
    text = b""
    for address, size in header.parts(call):
        text += call.read(address, min(size, _BEGINNING - len(text)))
        if len(text) == _BEGINNING:
            break
    return text


def _sender(call: Call, pid: int, text: bytes, *, take: bool, whole: bool) -> Sender | None:
    """Whom a message of process `pid` that begins with `text` names; None: nobody of ours.

    `take`, `whole`: as of `Connections.claimed`.
    """
    world = call.world
    claimed = world.connections.claimed(pid, text, take=take, whole=whole)
    if claimed is not None:
        return claimed
    if world.tasks.supervises(pid):
        creds = world.tasks.state(pid).creds
        return pid, creds.uid, creds.gid
    last = world.connections.last(pid)
    return None if last is None else (pid, last.creds.uid, last.creds.gid)


def _look(own: socket) -> tuple[bytes, Ancillary]:
    """The beginning and the control messages of the next message; none of these if we may not take it."""
    try:
        text, ancillary, flags, _ = own.recvmsg(_BEGINNING, 4096, _MSG_PEEK | _MSG_DONTWAIT | _MSG_CMSG_CLOEXEC)
    except OSError:
        return b"", []
    given = False
    for level, kind, data in ancillary:
        if level == _SOL_SOCKET and kind in (_SCM_RIGHTS, _SCM_PIDFD):
            given = True
            for fd in Struct(f"={len(data) // 4}i").unpack(data[: len(data) // 4 * 4]):
                os.close(fd)
    return text, [] if given or flags & _MSG_CTRUNC else ancillary


def _address(name: str | bytes | None) -> bytes:
    """struct sockaddr_un as the kernel gives it; nothing for a socket without a name."""
    if not name:
        return b""
    path = name if isinstance(name, bytes) else os.fsencode(name) + b"\0"
    return _AF_UNIX.to_bytes(2, "little") + path


def receive(
    call: Call, fd: int, address: int, flags: int, open_socket: Callable[[Call, int], socket], *, attended: bool = False
) -> Outcome:
    """recvmsg(2) into the message at `address`. Not `attended`: where it must wait, the kernel answers."""
    if flags & _UNCOMMON:
        return CONTINUE
    try:
        own = open_socket(call, fd)
    except OSError:
        return CONTINUE
    try:
        size = _receive(call, own, address, flags)
        if size is None and attended and own.family == _AF_UNIX and own.getsockopt(_SOL_SOCKET, _SO_PASSCRED):
            return _await(call, own, address)
    finally:
        own.close()
    return CONTINUE if size is None else Return(size)


def _await(call: Call, own: socket, address: int) -> Outcome:
    try:
        header = _Header(call, address)
        if not header.room_for_credentials:
            return CONTINUE
    except OSError:
        return CONTINUE  # EFAULT
    return await_message(call, own, address, header.size_of(call), header.control_at - header.word)


def receive_many(
    call: Call, fd: int, address: int, count: int, flags: int, open_socket: Callable[[Call, int], socket]
) -> Outcome:
    """recvmmsg(2) of up to `count` messages to `address`: those that are there.

    If there is none, or the first is one for the kernel, so are all.
    """
    if flags & _UNCOMMON:
        return CONTINUE
    try:
        own = open_socket(call, fd)
    except OSError:
        return CONTINUE
    size = _size_of_many(call)
    taken = 0
    try:
        while taken < min(count, _MOST_MESSAGES):
            message = address + taken * size
            received = _receive(call, own, message, flags & ~_MSG_WAITFORONE, whoever=True)
            if received is None:
                break
            call.write(message + _Header.size_of(call), received.to_bytes(4, "little"))
            taken += 1
    finally:
        own.close()
    return Return(taken) if taken else CONTINUE


def _receive(call: Call, own: socket, address: int, flags: int, *, whoever: bool = False) -> int | None:
    """Receive into the message at `address` on the task's behalf: the message's size; None if the kernel is to do it.

    `whoever`: be it that the kernel says right who has sent it.
    """
    try:
        header = _Header(call, address)
        if not header.room_for_credentials or header.iov_count > _MOST_PARTS:
            return None
        parts = header.parts(call)
    except OSError:
        return None
    received = _take(call, own, header, sum(size for _, size in parts), flags, whoever=whoever)
    if received is None:
        return None
    data, control, told, name = received
    _scatter(call, parts, data)
    try:
        call.write(header.control, control)
    except OSError:
        control = b""  # the kernel does not mind either
    sockaddr = _address(name)
    if header.name:
        call.write(header.name, sockaddr[: header.name_size])
        call.write(header.name_at, len(sockaddr).to_bytes(4, "little"))
    call.write(header.control_at, len(control).to_bytes(header.word, "little"))
    call.write(header.flags_at, (told & ~_MSG_DONTWAIT | flags & _MSG_CMSG_CLOEXEC).to_bytes(4, "little"))
    return len(data)


def _take(
    call: Call, own: socket, header: _Header, size: int, flags: int, *, whoever: bool
) -> Received | None:
    """Receive the next message, if it is there and we are to tell the task who sent it."""
    if size > _MOST_DATA or own.family != _AF_UNIX or not own.getsockopt(_SOL_SOCKET, _SO_PASSCRED):
        return None
    text, ancillary = _look(own)
    if any(level != _SOL_SOCKET or kind not in _COPIED[header.word] for level, kind, _ in ancillary):
        return None
    whole = own.type != _SOCK_STREAM
    shown = _exchange(call, text, ancillary, take=not flags & _MSG_PEEK, whole=whole)
    if shown is None and whoever and ancillary:
        shown = ancillary
    if shown is None:
        return None
    control = header.pack(shown)
    if not header.has_room(len(control)):
        return None
    try:
        data, _, told, name = own.recvmsg(size, 4096, flags | _MSG_DONTWAIT)
    except OSError:
        return None
    return data, control, told, name


def _exchange(call: Call, text: bytes, ancillary: Ancillary, *, take: bool, whole: bool) -> Ancillary | None:
    """The control messages with the sender's ids as the task is to see them; None where the kernel's are right."""
    sent = [data for _, kind, data in ancillary if kind == _SCM_CREDENTIALS]
    if not sent:
        return None
    pid, uid, gid = _UCRED.unpack(sent[0])
    sender = _sender(call, pid, text, take=take, whole=whole) if pid > 0 else None
    namespace = call.creds.namespace
    if sender is None or (sender == (pid, uid, gid) and namespace is INITIAL):
        return None
    told = _UCRED.pack(pid_for(call, sender[0]), namespace.uids.shown(sender[1]), namespace.gids.shown(sender[2]))
    return [(level, kind, told if kind == _SCM_CREDENTIALS else data) for level, kind, data in ancillary]


def _scatter(call: Call, parts: list[tuple[int, int]], data: bytes) -> None:
    at = 0
    for address, size in parts:
        if at >= len(data):
            break
        call.write(address, data[at : at + size])
        at += size
