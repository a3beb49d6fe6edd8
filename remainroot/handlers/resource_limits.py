# SPDX-License-Identifier: GPL-2.0-or-later
"""Resource limits: getrlimit(2), setrlimit(2), prlimit(2).

RLIMIT_RTTIME carries the number of a task's state, so what the task thinks of it is answered here. And root may raise a
hard limit, a user namespace's root may not: then the soft limit becomes what the real hard one allows, the rest is
remembered in the task's state and told when asked for.
"""

from __future__ import annotations

from errno import EINVAL, EPERM
from struct import Struct

from remainroot import quick
from remainroot.credentials import CAP_SYS_RESOURCE
from remainroot.dispatch import CONTINUE, DONE, Fail, differs, equals, handles
from remainroot.handlers.peers import affects, supervisors_pid
from remainroot.kernel import RLIM_INFINITY, RLIMIT_NOFILE, prlimit
from remainroot.tasks import RLIMIT_RTTIME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call, Outcome

    Limit = tuple[int, int]

_U64: Final = (1 << 64) - 1
_U32: Final = (1 << 32) - 1
_LIMIT64: Final = Struct("=QQ")
_LIMIT32: Final = Struct("=II")
_STACK: Final = 3
_LIMITS: Final = 16

_OTHERS: Final = tuple(resource for resource in range(_LIMITS) if resource != _STACK)
_ASKED: Final = (*equals(1, *_OTHERS), *differs(2, 0), *differs(0, 0))
"""Every prlimit64 but the one that every program starts with, how large its own stack may be.

So nothing is pretended of the stack.
"""


def _out(value: int, infinity: int) -> int:
    """A limit as the task's struct holds it; here infinity is the largest number."""
    return infinity if value == _U64 else min(value, infinity - 1)


def _in(value: int, infinity: int) -> int:
    return _U64 if value == infinity else value


def _python(value: int) -> int:
    return RLIM_INFINITY if value == _U64 else value


def _kernel(limit: Limit) -> Limit:
    """A limit as the module `resource` has it, made of unsigned numbers."""
    soft, hard = limit
    return _U64 if soft == RLIM_INFINITY else soft, _U64 if hard == RLIM_INFINITY else hard


def _shown(call: Call, tid: int, resource: int) -> Limit | None:
    """The limit that the task was told to have; None: what it really has."""
    tasks = call.world.tasks
    if resource == RLIMIT_RTTIME:
        return _kernel(tasks.state(tid).rttime)
    return None if tasks.untouched else tasks.state(tid).pretended(f"rlimit{resource}")


def told_limit(call: Call, tid: int, resource: int) -> int | None:
    """The soft limit that `tid` was told to have, in place of the real one; None if the kernel knows it."""
    told = _shown(call, tid, resource)
    return None if told is None else _python(told[0])


def soft_limit(call: Call, tid: int, resource: int) -> int:
    """What binds `tid`: getrlimit(2)'s soft limit, RLIM_INFINITY if there is none."""
    told = told_limit(call, tid, resource)
    return prlimit(tid, resource)[0] if told is None else told


def _change(call: Call, tid: int, resource: int, limit: Limit) -> Outcome:
    """EINVAL if the soft limit exceeds the hard one, EPERM to raise the hard one without CAP_SYS_RESOURCE."""
    soft, hard = limit
    if soft > hard:
        return Fail(EINVAL)
    tasks = call.world.tasks
    state = tasks.state(tid)
    before = _shown(call, tid, resource)
    real = _kernel(prlimit(tid, resource))[1]
    if before is None and (hard <= real or resource == _STACK):
        return CONTINUE
    if hard > (real if before is None else before[1]) and not call.creds.capable(CAP_SYS_RESOURCE):
        return Fail(EPERM)
    if resource == RLIMIT_RTTIME:
        tasks.set(tid, state.replace(rttime=(_python(soft), _python(hard))))
        return DONE
    too_many = resource == RLIMIT_NOFILE and hard > _most_files()
    if too_many or (hard > real and "rlimit" in call.world.settings.refused):
        return Fail(EPERM)
    call.check()
    prlimit(tid, resource, (_python(min(soft, real)), _python(min(hard, real))))
    tasks.set(tid, state.pretend(f"rlimit{resource}", limit if hard > real else None))
    return DONE


def _most_files() -> int:
    """The largest RLIMIT_NOFILE that even root may ask for."""
    with open("/proc/sys/fs/nr_open", "rb") as file:
        return int(file.read())


@handles("prlimit64", when=_ASKED, quick=quick.own_limits(2, resource=1, hidden=RLIMIT_RTTIME, pid=0))
def prlimit64(call: Call) -> Outcome:
    """prlimit(2): the new limit is read first, the old one written last.

    EPERM for another process unless all its user and group ids are the caller's real ones, or with CAP_SYS_RESOURCE.
    """
    pid, resource = call.signed(0), call.unsigned(1)
    outcome = affects(call, pid, CAP_SYS_RESOURCE, lambda creds, target: creds.may_set_limits(target))
    if outcome is not CONTINUE and call.ptr(2):
        call.read(call.ptr(2), _LIMIT64.size)  # EFAULT comes first
    if outcome is not CONTINUE or resource >= _LIMITS:
        return outcome
    tid = supervisors_pid(call, pid) if pid else call.tid
    if not tid:
        return CONTINUE
    before = _shown(call, tid, resource)
    new, old = call.ptr(2), call.ptr(3)
    if new:
        real = _kernel(prlimit(tid, resource))
        soft, hard = _LIMIT64.unpack(call.read(new, 16))
        outcome = _change(call, tid, resource, (soft, hard))
        if outcome is not DONE:
            return outcome
        before = before or real
    if old and before is not None:
        call.write(old, _LIMIT64.pack(*before))
        return DONE
    return DONE if new else CONTINUE


@handles("getrlimit", "ugetrlimit")
def getrlimit(call: Call) -> Outcome:
    """getrlimit(2); i386's oldest call shows no more than 2**31 - 1."""
    resource = call.unsigned(0)
    limit = _shown(call, call.tid, resource) if resource < _LIMITS else None
    if limit is None:
        return CONTINUE
    if call.abi.bits == 64:
        call.write(call.ptr(1), _LIMIT64.pack(*limit))
        return DONE
    values = [_out(value, _U32) for value in limit]
    if call.name == "getrlimit":
        values = [min(value, 0x7FFF_FFFF) for value in values]
    call.write(call.ptr(1), _LIMIT32.pack(*values))
    return DONE


@handles("setrlimit")
def setrlimit(call: Call) -> Outcome:
    """setrlimit(2)."""
    resource = call.unsigned(0)
    if resource >= _LIMITS:
        return CONTINUE
    form, infinity = (_LIMIT64, _U64) if call.abi.bits == 64 else (_LIMIT32, _U32)
    soft, hard = form.unpack(call.read(call.ptr(1), form.size))
    return _change(call, call.tid, resource, (_in(soft, infinity), _in(hard, infinity)))
