# SPDX-License-Identifier: GPL-2.0-or-later
"""Priorities: setpriority(2), sched_setscheduler(2), sched_setattr(2), ioprio_set(2), and what asks for them.

Root may have any, and the kernel grants a user namespace's root none beyond its limits. What it refuses is remembered
as part of the task's state (so children inherit it, as they would the priority) and told when asked for; the task runs
with the priority it has.
"""

from __future__ import annotations

import os
from errno import EACCES, EINVAL, EPERM, ESRCH
from struct import Struct

from remainroot import quick
from remainroot.credentials import CAP_SYS_ADMIN, CAP_SYS_NICE
from remainroot.dispatch import CONTINUE, DONE, Fail, Return, handles
from remainroot.handlers.peers import affects, supervisors_pid
from remainroot.kernel import RLIM_INFINITY, prlimit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.credentials import Credentials
    from remainroot.dispatch import Call, Outcome

_PRIO_PROCESS: Final = 0
_RLIMIT_NICE: Final = 13
_IOPRIO_WHO_PROCESS: Final = 1
_IOPRIO_CLASS_RT: Final = 1
_REAL_TIME: Final = (1, 2)
"""SCHED_FIFO and SCHED_RR."""
_NORMAL: Final = (0, 3, 5)
"""SCHED_OTHER, SCHED_BATCH and SCHED_IDLE."""
_RESET_ON_FORK: Final = 0x4000_0000
_ATTRIBUTES: Final = Struct("=IIQiI")
"""struct sched_attr as far as it is understood here: size, policy, flags, nice value, priority."""
_ATTRIBUTES_SIZE: Final = 48

_NICE, _POLICY, _IO = "nice", "policy", "ioprio"


def _may(creds: Credentials, target: Credentials) -> bool:
    return creds.may_set_scheduling(target)


def _target(call: Call, pid: int) -> int:
    """The task meant, by its number here: the caller for 0; 0 if there is none."""
    return call.tid if pid == 0 else supervisors_pid(call, pid) if pid > 0 else 0


def _remember(call: Call, tid: int, name: str, value: tuple[int, int] | None) -> None:
    tasks = call.world.tasks
    state = tasks.state(tid)
    if state.pretended(name) != value:
        call.check()
        tasks.set(tid, state.pretend(name, value))


def _remembered(call: Call, pid: int, name: str) -> tuple[int, int] | None:
    """What the task meant was told to have; None: the kernel knows."""
    if call.world.tasks.untouched:
        return None
    tid = _target(call, pid)
    return call.world.tasks.state(tid).pretended(name) if tid else None


# ---------------------------------------------------------------- nice values


@handles("setpriority")
def setpriority(call: Call) -> Outcome:
    """setpriority(2) of one process.

    EPERM unless the effective id is its real or effective one; EACCES for a lower value without CAP_SYS_NICE; EPERM
    where it is permitted more than the caller.
    """
    if call.signed(0) != _PRIO_PROCESS:
        return CONTINUE
    tid = _target(call, call.signed(1))
    outcome = affects(call, call.signed(1), CAP_SYS_NICE, _owns)
    if outcome is not CONTINUE or not tid:
        return outcome
    outcome = affects(call, call.signed(1), CAP_SYS_NICE, _may)
    if outcome is not CONTINUE:
        return Fail(EACCES) if _is_lower(call, tid, call.signed(2)) else outcome
    return _set_nice(call, tid, call.signed(2))


def _owns(creds: Credentials, target: Credentials) -> bool:
    return creds.euid in (target.uid, target.euid)


def _nice(wanted: int) -> int:
    return max(-20, min(19, wanted))


def _is_lower(call: Call, tid: int, wanted: int) -> bool:
    """Whether this is a lower value than `tid` has, and than its limit allows."""
    told = call.world.tasks.state(tid).pretended(_NICE)
    now = os.getpriority(os.PRIO_PROCESS, tid) if told is None else told[0]
    limit = prlimit(tid, _RLIMIT_NICE)[0]
    return _nice(wanted) < now and limit != RLIM_INFINITY and 20 - _nice(wanted) > limit


def _set_nice(call: Call, tid: int, wanted: int) -> Outcome:
    if "nice" in call.world.settings.refused:
        return CONTINUE
    value = _nice(wanted)
    before = call.world.tasks.state(tid).pretended(_NICE)
    if not call.creds.capable(CAP_SYS_NICE):
        if before is None:
            return CONTINUE
        if value < before[0]:
            return Fail(EACCES)
    try:
        os.setpriority(os.PRIO_PROCESS, tid, value)
    except OSError as error:
        if error.errno not in (EACCES, EPERM):
            return CONTINUE
        _remember(call, tid, _NICE, (value, 0))
    else:
        _remember(call, tid, _NICE, None)
    return DONE


@handles("getpriority")
def getpriority(call: Call) -> Outcome:
    """getpriority(2) of one process: 20 less its nice value."""
    found = _remembered(call, call.signed(1), _NICE) if call.signed(0) == _PRIO_PROCESS else None
    return CONTINUE if found is None else Return(20 - found[0])


# ---------------------------------------------------------------- policies


@handles("sched_setaffinity", quick=quick.SCHEDULE)
def sched_setaffinity(call: Call) -> Outcome:
    """Another task's CPUs: sched_setaffinity(2), as setpriority."""
    return affects(call, call.signed(0), CAP_SYS_NICE, _may)


def _set_policy(call: Call, tid: int, policy: int, priority: int) -> Outcome:
    """Real-time policies are remembered where the kernel refuses them, any other ends that."""
    plain = policy & ~_RESET_ON_FORK
    if plain in _REAL_TIME:
        if not call.creds.capable(CAP_SYS_NICE) or "realtime" in call.world.settings.refused:
            return CONTINUE
        if not 1 <= priority <= 99:
            return Fail(EINVAL)
        try:
            os.sched_setscheduler(tid, policy, os.sched_param(priority))
        except OSError as error:
            if error.errno != EPERM:
                return CONTINUE
            _remember(call, tid, _POLICY, (policy, priority))
        else:
            _remember(call, tid, _POLICY, None)
        return DONE
    if plain in _NORMAL and priority == 0:
        _remember(call, tid, _POLICY, None)
    return CONTINUE


@handles("sched_setscheduler")
def sched_setscheduler(call: Call) -> Outcome:
    """sched_setscheduler(2)."""
    outcome = affects(call, call.signed(0), CAP_SYS_NICE, _may)
    tid = _target(call, call.signed(0))
    if outcome is not CONTINUE or not tid or not call.ptr(2) or call.signed(1) < 0:
        return outcome
    return _set_policy(call, tid, call.signed(1), int.from_bytes(call.read(call.ptr(2), 4), "little", signed=True))


@handles("sched_setparam")
def sched_setparam(call: Call) -> Outcome:
    """sched_setparam(2): the policy stays."""
    outcome = affects(call, call.signed(0), CAP_SYS_NICE, _may)
    found = _remembered(call, call.signed(0), _POLICY)
    if outcome is not CONTINUE or found is None or not call.ptr(1):
        return outcome
    priority = int.from_bytes(call.read(call.ptr(1), 4), "little", signed=True)
    return _set_policy(call, _target(call, call.signed(0)), found[0], priority)


@handles("sched_setattr")
def sched_setattr(call: Call) -> Outcome:
    """sched_setattr(2) of a real-time policy, or of an ordinary one with a nice value."""
    outcome = affects(call, call.signed(0), CAP_SYS_NICE, _may)
    tid = _target(call, call.signed(0))
    if outcome is not CONTINUE or not tid or not call.ptr(1) or call.unsigned(2):
        return outcome
    size, policy, flags, nice, priority = _ATTRIBUTES.unpack(call.read(call.ptr(1), _ATTRIBUTES.size))
    if (size and size < _ATTRIBUTES_SIZE) or flags & ~1:
        return CONTINUE
    if policy in _REAL_TIME:
        return _set_policy(call, tid, policy | (_RESET_ON_FORK if flags & 1 else 0), priority)
    if policy in _NORMAL and priority == 0:
        _remember(call, tid, _POLICY, None)
        if nice < 0 and policy != 5 and call.creds.capable(CAP_SYS_NICE):
            return _set_nice(call, tid, nice)
    return CONTINUE


@handles("sched_getscheduler")
def sched_getscheduler(call: Call) -> Outcome:
    """sched_getscheduler(2)."""
    found = _remembered(call, call.signed(0), _POLICY)
    return CONTINUE if found is None else Return(found[0])


@handles("sched_getparam")
def sched_getparam(call: Call) -> Outcome:
    """sched_getparam(2)."""
    found = _remembered(call, call.signed(0), _POLICY)
    if found is None or not call.ptr(1):
        return CONTINUE
    call.write(call.ptr(1), found[1].to_bytes(4, "little"))
    return DONE


@handles("sched_getattr")
def sched_getattr(call: Call) -> Outcome:
    """sched_getattr(2): the kernel's first version of the struct, which is all that applies here."""
    policy = _remembered(call, call.signed(0), _POLICY)
    nice = _remembered(call, call.signed(0), _NICE)
    if (policy is None and nice is None) or call.unsigned(2) < _ATTRIBUTES_SIZE or call.unsigned(3) or not call.ptr(1):
        return CONTINUE
    number, priority = (0, 0) if policy is None else policy
    flags = 1 if number & _RESET_ON_FORK else 0
    value = nice[0] if nice is not None and policy is None else 0
    text = _ATTRIBUTES.pack(_ATTRIBUTES_SIZE, number & ~_RESET_ON_FORK, flags, value, priority)
    call.write(call.ptr(1), text.ljust(_ATTRIBUTES_SIZE, b"\0"))
    return DONE


# ---------------------------------------------------------------- I/O priorities


@handles("ioprio_set")
def ioprio_set(call: Call) -> Outcome:
    """ioprio_set(2) of one process: EPERM for the real-time class without CAP_SYS_ADMIN or CAP_SYS_NICE."""
    if call.signed(0) != _IOPRIO_WHO_PROCESS:
        return CONTINUE
    value = call.unsigned(2)
    real_time = value >> 13 & 7 == _IOPRIO_CLASS_RT
    if real_time and not (call.creds.capable(CAP_SYS_ADMIN) or call.creds.capable(CAP_SYS_NICE)):
        return Fail(EPERM)
    outcome = affects(call, call.signed(1), CAP_SYS_NICE, _may)
    tid = _target(call, call.signed(1))
    if outcome is not CONTINUE:
        return outcome
    if not tid:
        return Fail(ESRCH) if real_time else CONTINUE
    if real_time and "ioprio" not in call.world.settings.refused:
        _remember(call, tid, _IO, (value, 0))
        return DONE
    if not call.world.tasks.untouched:
        _remember(call, tid, _IO, None)
    return CONTINUE


@handles("ioprio_get")
def ioprio_get(call: Call) -> Outcome:
    """ioprio_get(2) of one process."""
    found = _remembered(call, call.signed(1), _IO) if call.signed(0) == _IOPRIO_WHO_PROCESS else None
    return CONTINUE if found is None else Return(found[0])
