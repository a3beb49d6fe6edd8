# SPDX-License-Identifier: GPL-2.0-or-later
"""Capability sets: capget(2), capset(2), capabilities(7)."""

from __future__ import annotations

from errno import EINVAL, EPERM, ESRCH
from struct import Struct

from remainroot.dispatch import ALWAYS, DONE, Fail, handles
from remainroot.handlers.peers import own_pid, supervisors_pid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.credentials import Credentials
    from remainroot.dispatch import Call, Outcome

_HEADER: Final = Struct("=Ii")
_WORDS: Final = {0x19980330: 1, 0x20071026: 2, 0x20080522: 2}
"""How many 32-bit words each set has, by the version in the header."""
_NEWEST: Final = 0x20080522


def _words(mask: int, count: int) -> tuple[int, ...]:
    return tuple(mask >> 32 * index & 0xFFFF_FFFF for index in range(count))


@handles("capget")
def capget(call: Call) -> Outcome:
    """Capabilities of the caller (pid 0) or of another task.

    An unknown version is answered with the newest, and EINVAL.
    """
    header, data = call.ptr(0), call.ptr(1)
    count = _WORDS.get(int.from_bytes(call.read(header, 4), "little"))
    if count is None:
        call.write(header, _NEWEST.to_bytes(4, "little"))
        # A null data pointer asks for just that: which version is the newest.
        return Fail(EINVAL) if data else DONE
    if not data:
        return DONE
    _, pid = _HEADER.unpack(call.read(header, _HEADER.size))
    if pid < 0:
        return Fail(EINVAL)
    if pid == 0:
        creds = call.creds
    else:
        tid = supervisors_pid(call, pid)
        if not tid:
            return Fail(ESRCH)
        creds = call.world.tasks.state(tid).creds
    call.write(data, _pack(creds, count))
    return DONE


def _pack(creds: Credentials, count: int) -> bytes:
    sets = (_words(creds.effective, count), _words(creds.permitted, count), _words(creds.inheritable, count))
    return b"".join(word.to_bytes(4, "little") for row in zip(*sets, strict=True) for word in row)


@handles("capset", blind=ALWAYS)
def capset(call: Call) -> Outcome:
    """Set the caller's own capabilities; another pid is EPERM, an unknown version EINVAL."""
    header = call.ptr(0)
    count = _WORDS.get(int.from_bytes(call.read(header, 4), "little"))
    if count is None:
        call.write(header, _NEWEST.to_bytes(4, "little"))
        return Fail(EINVAL)
    _, pid = _HEADER.unpack(call.read(header, _HEADER.size))
    if pid and pid != own_pid(call):
        return Fail(EPERM)
    words = Struct(f"={3 * count}I").unpack(call.read(call.ptr(1), 12 * count))
    effective, permitted, inheritable = (
        sum(words[3 * index + which] << 32 * index for index in range(count)) for which in range(3)
    )
    call.creds = call.creds.capset(effective, permitted, inheritable)
    return DONE
