# SPDX-License-Identifier: GPL-2.0-or-later
"""Interprocess communication whose objects have owners: System V IPC (sysvipc(7)), message queues (mq_overview(7)).

Only the calls that make, look up, ask about and change objects are caught, not those that use them. What they do is in
modules that are imported when the first such call comes.
"""

from __future__ import annotations

import os

from remainroot.credentials import CAP_IPC_OWNER
from remainroot.dispatch import CONTINUE, INT, When, handles, has_bits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call, Outcome

_IPC_64: Final = 0x100
"""What old 32-bit programs leave out of a command (they mean an older struct), and others may leave in."""
_COMMANDS: Final = {"msg": (0, 1, 2, 11, 13), "sem": (0, 1, 2, 18, 20), "shm": (0, 1, 2, 11, 12, 13, 15)}
"""IPC_RMID, IPC_SET, IPC_STAT, then STAT and STAT_ANY by index; SHM_LOCK, SHM_UNLOCK."""
_MULTIPLEXED: Final = {2: "sem", 3: "sem", 13: "msg", 14: "msg", 23: "shm", 24: "shm"}


@handles("msgget")
def msgget(call: Call) -> Outcome:
    """msgget(2): a new message queue belongs to the caller."""
    return _get(call, "msg", call.signed(0), 0, call.unsigned(1))


@handles("semget")
def semget(call: Call) -> Outcome:
    """semget(2), as msgget."""
    return _get(call, "sem", call.signed(0), call.signed(1), call.unsigned(2))


@handles("shmget")
def shmget(call: Call) -> Outcome:
    """shmget(2), as msgget."""
    return _get(call, "shm", call.signed(0), call.ptr(1), call.unsigned(2))


@handles("msgctl")
def msgctl(call: Call) -> Outcome:
    """msgctl(2): whose the queue is, and who may change or remove it."""
    return _control(call, "msg", call.signed(0), call.signed(1) & ~_IPC_64, call.ptr(2))


@handles("semctl", when=tuple(When(2, "eq", command, INT & ~_IPC_64) for command in _COMMANDS["sem"]))
def semctl(call: Call) -> Outcome:
    """semctl(2), as msgctl; getting and setting values is not caught."""
    return _control(call, "sem", call.signed(0), call.signed(2) & ~_IPC_64, call.ptr(3))


@handles("shmctl")
def shmctl(call: Call) -> Outcome:
    """shmctl(2), as msgctl; and who may lock the segment."""
    return _control(call, "shm", call.signed(0), call.signed(1) & ~_IPC_64, call.ptr(2))


@handles("ipc", when=tuple(When(0, "eq", number, 0xFFFF) for number in _MULTIPLEXED))
def ipc(call: Call) -> Outcome:
    """ipc(2), i386's one call for all of them; those that mean the structs of Linux 2.2 are left to the kernel."""
    kind = _MULTIPLEXED.get(call.unsigned(0) & 0xFFFF)
    if kind is None:
        return CONTINUE
    number = call.unsigned(0) & 0xFFFF
    if number in (2, 23):
        return _get(call, kind, call.signed(1), call.unsigned(2), call.unsigned(3))
    if number == 13:
        return _get(call, kind, call.signed(1), 0, call.unsigned(2))
    command = call.unsigned(3 if kind == "sem" else 2)
    plain = command & ~_IPC_64
    if plain not in _COMMANDS[kind] or (plain and not command & _IPC_64):
        return CONTINUE
    buffer = call.ptr(4)
    if kind == "sem":
        if not buffer:
            return CONTINUE
        buffer = int.from_bytes(call.read(buffer, 4), "little")
    return _control(call, kind, call.signed(1), plain, buffer)


def _get(call: Call, kind: str, key: int, size: int, flags: int) -> Outcome:
    creds = call.creds
    owners = flags & 0o600 == 0o600 and not flags & 0o111
    if owners and creds.euid == 0 and creds.egid == 0 and creds.capable(CAP_IPC_OWNER):
        return CONTINUE  # what root makes, or may use, by itself
    from remainroot.handlers.sysv import get

    return get(call, kind, key, size, flags)


def _control(call: Call, kind: str, number: int, command: int, buffer: int) -> Outcome:
    if command not in _COMMANDS[kind]:
        return CONTINUE
    from remainroot.handlers.sysv import control

    return control(call, kind, number, command, buffer)


@handles("mq_open", when=has_bits(1, os.O_CREAT))
def mq_open(call: Call) -> Outcome:
    """mq_open(2) to create: a new queue belongs to the caller."""
    creds, world = call.creds, call.world
    mode = call.unsigned(2) & 0o777
    if creds.fsuid == 0 and creds.fsgid == 0 and world.workable(mode) == mode:
        return CONTINUE
    from remainroot.handlers.queues import create

    return create(call, call.unsigned(1), mode)
