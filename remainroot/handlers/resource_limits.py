# SPDX-License-Identifier: GPL-2.0-or-later
"""RLIMIT_RTTIME, which carries the number of a task's state.

Getrlimit(2) and prlimit(2) of that one resource are answered here.
"""

from __future__ import annotations

from errno import EINVAL, EPERM
from resource import RLIM_INFINITY
from struct import Struct

from remainroot.credentials import CAP_SYS_RESOURCE
from remainroot.dispatch import CONTINUE, DONE, Fail, differs, equals, handles
from remainroot.tasks import RLIMIT_RTTIME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call, Outcome

_U64: Final = (1 << 64) - 1
_U32: Final = (1 << 32) - 1
_LIMIT64: Final = Struct("=QQ")
_LIMIT32: Final = Struct("=II")

RLIMIT_RTTIME_WHEN: Final = (*equals(1, RLIMIT_RTTIME), *differs(0, 0))
"""prlimit64 of RLIMIT_RTTIME, or of another process."""
_THIS: Final = equals(0, RLIMIT_RTTIME)


def _out(value: int, infinity: int) -> int:
    return infinity if value == RLIM_INFINITY else min(value, infinity - 1)


def _in(value: int, infinity: int) -> int:
    return RLIM_INFINITY if value == infinity else value


def _change(call: Call, tid: int, limit: tuple[int, int]) -> Outcome:
    """Set the remembered limit.

    EINVAL if the soft one exceeds the hard one, EPERM to raise the hard one without CAP_SYS_RESOURCE.
    """
    soft, hard = ((_U64 if value == RLIM_INFINITY else value) for value in limit)
    if soft > hard:
        return Fail(EINVAL)
    tasks = call.world.tasks
    state = tasks.state(tid)
    old_hard = _U64 if state.rttime[1] == RLIM_INFINITY else state.rttime[1]
    if hard > old_hard and not call.creds.capable(CAP_SYS_RESOURCE):
        return Fail(EPERM)
    tasks.set(tid, state.replace(rttime=limit))
    return DONE


def rttime(call: Call, pid: int, resource: int) -> Outcome:
    """prlimit64 of RLIMIT_RTTIME: the new limit is read first, the old one written last, as the kernel does."""
    if resource != RLIMIT_RTTIME:
        return CONTINUE
    tid = call.tid
    if pid:
        from remainroot.handlers.peers import supervisors_pid

        tid = supervisors_pid(call, pid)
        if not tid:
            return CONTINUE
    new, old = call.ptr(2), call.ptr(3)
    before = call.world.tasks.state(tid).rttime
    if new:
        soft, hard = _LIMIT64.unpack(call.read(new, 16))
        outcome = _change(call, tid, (_in(soft, _U64), _in(hard, _U64)))
        if outcome is not DONE:
            return outcome
    if old:
        call.write(old, _LIMIT64.pack(_out(before[0], _U64), _out(before[1], _U64)))
    return DONE


@handles("getrlimit", "ugetrlimit", when=_THIS)
def getrlimit(call: Call) -> Outcome:
    """getrlimit(2) of RLIMIT_RTTIME; i386's oldest call shows no more than 2**31 - 1."""
    if call.unsigned(0) != RLIMIT_RTTIME:
        return CONTINUE
    limit = call.state.rttime
    if call.abi.bits == 64:
        call.write(call.ptr(1), _LIMIT64.pack(*(_out(value, _U64) for value in limit)))
        return DONE
    values = [_out(value, _U32) for value in limit]
    if call.name == "getrlimit":
        values = [min(value, 0x7FFF_FFFF) for value in values]
    call.write(call.ptr(1), _LIMIT32.pack(*values))
    return DONE


@handles("setrlimit", when=_THIS)
def setrlimit(call: Call) -> Outcome:
    """setrlimit(2) of RLIMIT_RTTIME."""
    if call.unsigned(0) != RLIMIT_RTTIME:
        return CONTINUE
    form, infinity = (_LIMIT64, _U64) if call.abi.bits == 64 else (_LIMIT32, _U32)
    soft, hard = form.unpack(call.read(call.ptr(1), form.size))
    return _change(call, call.tid, (_in(soft, infinity), _in(hard, infinity)))
