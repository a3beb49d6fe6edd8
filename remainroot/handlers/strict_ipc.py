# SPDX-License-Identifier: GPL-2.0-or-later
"""`--strict` for interprocess communication: who may use an object that is not his (sysvipc(7), mq_overview(7)).

The calls that look objects up, change and remove them are caught and refused without the option, too.
"""

from __future__ import annotations

import os
from errno import EACCES, EPERM
from struct import Struct

from remainroot import abi as abis
from remainroot import ipc
from remainroot.credentials import CAP_FOWNER, CAP_IPC_OWNER
from remainroot.dispatch import Refused, guards
from remainroot.handlers.searching import File, Searcher
from remainroot.handlers.sysv import shown
from remainroot.ipc import MSG, SEM, SHM
from remainroot.kernel import PAGE, syscall
from remainroot.permissions import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from remainroot.dispatch import Call

_READS, _ALTERS, _RUNS = 0o444, 0o222, 0o111
_SHM_RDONLY, _SHM_RND, _SHM_REMAP, _SHM_EXEC = 0o10000, 0o20000, 0o40000, 0o100000
_IPC_NOWAIT, _MSG_EXCEPT, _MSG_COPY = 0o4000, 0o20000, 0o40000
_SEM_COMMANDS: Final = {11: _READS, 12: _READS, 13: _READS, 14: _READS, 15: _READS, 16: _ALTERS, 17: _ALTERS}
"""GETPID, GETVAL, GETALL, GETNCNT, GETZCNT; SETVAL, SETALL."""
_SETVAL: Final = 16
_HIGHEST_VALUE: Final = 32767
_IPC_64: Final = 0x100
_OPERATION: Final = Struct("=Hhh")
_MOST_OPERATIONS: Final = 500
_COUNT_AT: Final = 80


def _demand(
    call: Call, kind: str, number: int, wanted: int, least: int = 0, wrong: Callable[[], bool] = lambda: False
) -> None:
    """EACCES unless the object grants what is `wanted`.

    Not if it is a set of fewer semaphores than `least` (EFBIG, EINVAL), nor for what is `wrong` with the call whoever
    makes it; that is looked for last, for it seldom is.
    """

    def check() -> bool:
        status = ipc.status(kind, number)
        if kind == SEM and int.from_bytes(status.raw[_COUNT_AT : _COUNT_AT + 8], "little") < least:
            return True
        permissions = shown(call.world, ipc.namespace(call.tid), kind, number, status.permissions)
        return permissions.allows(call.creds, wanted)

    if call.creds.capable(CAP_IPC_OWNER):
        return
    try:
        allowed = ipc.inside(call.tid, check)
    except ipc.Elsewhere:
        return
    if not allowed and not wrong():
        raise Refused(EACCES)


# ---------------------------------------------------------------- System V


def _signed(call: Call, value: int) -> int:
    """A long of the task's."""
    return value - (1 << call.abi.bits) if value >> call.abi.bits - 1 else value


def _most_bytes(call: Call) -> int:
    """How long a message may be: msgmax of proc(5)."""

    def ask() -> int:
        with open("/proc/sys/kernel/msgmax", "rb") as file:
            return int(file.read())

    return ipc.inside(call.tid, ask)


def _send(call: Call, number: int, size: int, message: int) -> None:
    def wrong() -> bool:
        """EINVAL for a size or a type, EFAULT."""
        word = call.abi.bits // 8
        kind = int.from_bytes(call.read(message, word), "little", signed=True)
        if kind < 1 or not 0 <= _signed(call, size) <= _most_bytes(call):
            return True
        call.read(message + word, size)
        return False

    _demand(call, MSG, number, _ALTERS, wrong=wrong)


def _receive(call: Call, number: int, size: int, flags: int) -> None:
    def wrong() -> bool:
        """EINVAL for a size, or for a copy that is to wait or to be of another type."""
        copies = flags & _MSG_COPY and flags & (_MSG_EXCEPT | _IPC_NOWAIT) != _IPC_NOWAIT
        return _signed(call, size) < 0 or bool(copies)

    _demand(call, MSG, number, _READS, wrong=wrong)


@guards("msgsnd")
def msgsnd(call: Call) -> None:
    """msgsnd(2): who may write to the queue."""
    _send(call, call.signed(0), call.ptr(2), call.ptr(1))


@guards("msgrcv")
def msgrcv(call: Call) -> None:
    """msgrcv(2): who may read from the queue."""
    _receive(call, call.signed(0), call.ptr(2), call.unsigned(4))


@guards("semop", "semtimedop", "semtimedop_time64")
def semop(call: Call) -> None:
    """semop(2): who may change the semaphores, or read them to wait for zero."""
    _operate(call, call.signed(0), call.ptr(1), call.unsigned(2))


def _operate(call: Call, number: int, operations: int, count: int) -> None:
    if not 0 < count <= _MOST_OPERATIONS:
        return
    found = list(_OPERATION.iter_unpack(call.read(operations, count * _OPERATION.size)))
    alters = any(operation for _, operation, _ in found)
    _demand(call, SEM, number, _ALTERS if alters else _READS, 1 + max(index for index, _, _ in found))


@guards("shmat")
def shmat(call: Call) -> None:
    """shmat(2): who may read the segment, write to it, execute what is in it."""
    _attach(call, call.signed(0), call.ptr(1), call.unsigned(2))


def _attach(call: Call, number: int, address: int, flags: int) -> None:
    if flags & _SHM_REMAP if not address else address % PAGE and not flags & _SHM_RND:
        return  # EINVAL
    wanted = _READS if flags & _SHM_RDONLY else _READS | _ALTERS
    _demand(call, SHM, number, wanted | _RUNS if flags & _SHM_EXEC else wanted)


@guards("semctl")
def semctl(call: Call) -> None:
    """semctl(2): who may get and set values."""
    _value(call, call.signed(0), call.signed(1), call.unsigned(2), call.unsigned(3))


def _value(call: Call, number: int, index: int, command: int, value: int) -> None:
    command &= ~_IPC_64
    wanted = _SEM_COMMANDS.get(command)
    if wanted is None or (command == _SETVAL and (value > _HIGHEST_VALUE or index < 0)):
        return  # ERANGE, EINVAL
    _demand(call, SEM, number, wanted, 1 + index if command == _SETVAL else 0)


@guards("ipc")
def multiplexed(call: Call) -> None:
    """ipc(2), i386's one call for all of them."""
    kind, number, second, third = call.unsigned(0) & 0xFFFF, call.signed(1), call.unsigned(2), call.unsigned(3)
    if kind in (1, 4):
        _operate(call, number, call.ptr(4), second)
    elif kind == 3:
        value = int.from_bytes(call.read(call.ptr(4), 4), "little")
        _value(call, number, call.signed(2), third, value)
    elif kind == 11:
        _send(call, number, second, call.ptr(4))
    elif kind == 12:
        _receive(call, number, second, third)
    elif kind == 21:
        _attach(call, number, call.ptr(4), second)


# ---------------------------------------------------------------- POSIX message queues


def _queue(call: Call) -> int:
    """A descriptor of the queue that the first argument names, to look at; OSError if there is none."""
    number = abis.native()[0].numbers["mq_open"]
    try:
        return ipc.inside(call.tid, lambda: syscall(number, call.path(0), os.O_RDONLY, 0, None))
    except ipc.Elsewhere as error:
        raise OSError from error


@guards("mq_open")
def mq_open(call: Call) -> None:
    """mq_open(2) of a queue that is there: who may read from it and write to it."""
    flags = call.unsigned(1)
    if flags & os.O_CREAT and flags & os.O_EXCL:
        return
    wanted = (READ, WRITE, READ | WRITE, READ | WRITE)[flags & os.O_ACCMODE]
    file = File(_queue(call))
    try:
        if not Searcher(call).permits(file, wanted):
            raise Refused(EACCES)
    finally:
        file.close()


@guards("mq_unlink")
def mq_unlink(call: Call) -> None:
    """mq_unlink(3): the directory of all queues is root's, and has the sticky bit."""
    file = File(_queue(call))
    try:
        owner = Searcher(call).owner(file)
    finally:
        file.close()
    if call.creds.fsuid not in (0, owner.uid) and not call.creds.capable(CAP_FOWNER):
        raise Refused(EPERM)
