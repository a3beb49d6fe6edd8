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

from remainroot import abi as abis
from remainroot import quick
from remainroot.credentials import CAP_SYS_ADMIN, CAP_SYS_NICE
from remainroot.dispatch import CONTINUE, DONE, Fail, Return, handles
from remainroot.handlers.peers import affects, everyone, group_members, ours, supervisors_pid
from remainroot.handlers.resource_limits import soft_limit, told_limit
from remainroot.kernel import PAGE, RLIM_INFINITY, syscall
from remainroot.tasks import thread_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.credentials import Credentials
    from remainroot.dispatch import Call, Outcome

_PRIO_PROCESS, _PRIO_PGRP, _PRIO_USER = 0, 1, 2
_RLIMIT_NICE, _RLIMIT_RTPRIO = 13, 14
_IOPRIO_WHO_PROCESS, _IOPRIO_WHO_PGRP, _IOPRIO_WHO_USER = 1, 2, 3
_IOPRIO_CLASS_RT, _IOPRIO_CLASS_BE, _IOPRIO_CLASS_IDLE = 1, 2, 3
_REAL_TIME: Final = (1, 2)
"""SCHED_FIFO and SCHED_RR."""
_NORMAL: Final = (0, 3, 5)
"""SCHED_OTHER, SCHED_BATCH and SCHED_IDLE."""
_SCHED_RR, _SCHED_IDLE = 2, 5
_RESET_ON_FORK: Final = 0x4000_0000
_ATTRIBUTES: Final = Struct("=IIQiI")
"""struct sched_attr as far as it is understood here: size, policy, flags, nice value, priority."""
_ATTRIBUTES_SIZE: Final = 48
_MOST_ATTRIBUTES: Final = 56
"""The size of struct sched_attr that the kernel knows (SCHED_ATTR_SIZE_VER1); what is behind must be 0."""

_SYS_IOPRIO_SET, _SYS_IOPRIO_GET = (abis.native()[0].numbers[name] for name in ("ioprio_set", "ioprio_get"))

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
    return _told(call, tid, name) if tid else None


def _told(call: Call, tid: int, name: str) -> tuple[int, int] | None:
    """What `tid` was told to have.

    A policy with SCHED_RESET_ON_FORK is no child's: the kernel takes that flag, which anybody may set, from a child.
    """
    found = call.world.tasks.state(tid).pretended(name)
    if found is not None and name == _POLICY and found[0] & _RESET_ON_FORK:
        try:
            return found if os.sched_getscheduler(tid) & _RESET_ON_FORK else None
        except OSError:
            return None
    return found


def _many(call: Call, who: int, *, is_user: bool) -> list[int]:
    """The threads of a process group (0: the caller's), or those that a user runs.

    None of a group that began outside the caller's pid namespace, which has no number there: the kernel knows it.
    """
    processes = ours(call, everyone() if is_user else group_members(call, who))
    threads = [tid for pid in processes for tid in thread_ids(pid)]
    if not is_user:
        return threads
    state, uid = call.world.tasks.state, call.creds.namespace.uids.down(who & 0xFFFF_FFFF)
    return [tid for tid in threads if state(tid).creds.uid == uid]


# ---------------------------------------------------------------- nice values


def _many_prioritised(call: Call, *, is_user: bool) -> list[int]:
    """Those that setpriority(2) and getpriority(2) mean: of user 0, the caller's."""
    who = call.signed(1)
    uids = call.creds.namespace.uids
    return _many(call, uids.up(call.creds.uid) if is_user and who == 0 else who, is_user=is_user)


@handles("setpriority")
def setpriority(call: Call) -> Outcome:
    """setpriority(2) of one process, or of all of a group or a user.

    EPERM unless the effective id is its real or effective one; EACCES for a lower value without CAP_SYS_NICE; EPERM
    where it is permitted more than the caller. Of many the last error counts.
    """
    which = call.signed(0)
    if which in (_PRIO_PGRP, _PRIO_USER):
        return _set_nice_of_many(call, which == _PRIO_USER)
    if which != _PRIO_PROCESS:
        return CONTINUE
    tid = _target(call, call.signed(1))
    outcome = affects(call, call.signed(1), CAP_SYS_NICE, _owns)
    if outcome is not CONTINUE or not tid:
        return outcome
    outcome = affects(call, call.signed(1), CAP_SYS_NICE, _may)
    if outcome is not CONTINUE:
        return Fail(EACCES) if _is_lower(call, tid, call.signed(2)) else outcome
    return _set_nice(call, tid, call.signed(2))


def _set_nice_of_many(call: Call, is_user: bool) -> Outcome:
    if "nice" in call.world.settings.refused:
        return CONTINUE
    error = ESRCH
    creds, wanted = call.creds, call.signed(2)
    many = _many_prioritised(call, is_user=is_user)
    if not many and not is_user:
        return CONTINUE
    for tid in many:
        target = call.world.tasks.state(tid).creds
        may = creds.capable_in(CAP_SYS_NICE, target.namespace)
        if not may and not _owns(creds, target):
            error = EPERM
        elif not may and _is_lower(call, tid, wanted):
            error = EACCES
        elif not may and not _may(creds, target):
            error = EPERM
        else:
            _change_nice(call, tid, _nice(wanted))
            error = 0 if error == ESRCH else error
    return Fail(error) if error else DONE


def _owns(creds: Credentials, target: Credentials) -> bool:
    return creds.euid in (target.uid, target.euid)


def _nice(wanted: int) -> int:
    return max(-20, min(19, wanted))


def _is_lower(call: Call, tid: int, wanted: int) -> bool:
    """Whether this is a lower value than `tid` has, and than its limit allows."""
    return _nice(wanted) < _nice_of(call, tid) and not _within(20 - _nice(wanted), soft_limit(call, tid, _RLIMIT_NICE))


def _within(value: int, limit: int) -> bool:
    return limit == RLIM_INFINITY or value <= limit


def _set_nice(call: Call, tid: int, wanted: int) -> Outcome:
    if "nice" in call.world.settings.refused:
        return CONTINUE
    if not call.creds.capable(CAP_SYS_NICE):
        if not _was_told(call, tid, _NICE, _RLIMIT_NICE):
            return CONTINUE
        if _is_lower(call, tid, wanted):
            return Fail(EACCES)
    return _change_nice(call, tid, _nice(wanted))


def _was_told(call: Call, tid: int, name: str, limit: int) -> bool:
    """Whether it, or its limit, is another than the kernel knows."""
    return _told(call, tid, name) is not None or told_limit(call, tid, limit) is not None


def _change_nice(call: Call, tid: int, value: int) -> Outcome:
    """Really, or else in words."""
    call.check()
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
    """getpriority(2) of one process: 20 less its nice value; of many the highest that any has."""
    which, who = call.signed(0), call.signed(1)
    if which in (_PRIO_PGRP, _PRIO_USER) and not call.world.tasks.untouched:
        is_user = which == _PRIO_USER
        many = _many_prioritised(call, is_user=is_user)
        if not many:
            return Fail(ESRCH) if is_user else CONTINUE
        return Return(20 - min(_nice_of(call, tid) for tid in many))
    found = _remembered(call, who, _NICE) if which == _PRIO_PROCESS else None
    return CONTINUE if found is None else Return(20 - found[0])


def _nice_of(call: Call, tid: int) -> int:
    """What the task is told to have; 19, which is nobody's loss, if it is gone."""
    found = _told(call, tid, _NICE)
    try:
        return os.getpriority(os.PRIO_PROCESS, tid) if found is None else found[0]
    except OSError:
        return 19


# ---------------------------------------------------------------- policies


@handles("sched_setaffinity", quick=quick.SCHEDULE)
def sched_setaffinity(call: Call) -> Outcome:
    """Another task's CPUs: sched_setaffinity(2), as setpriority."""
    return affects(call, call.signed(0), CAP_SYS_NICE, _may)


def _set_policy(call: Call, tid: int, policy: int, priority: int) -> Outcome:
    """Real-time policies are remembered where the kernel refuses them, any other ends that."""
    plain = policy & ~_RESET_ON_FORK
    if plain not in _REAL_TIME:
        return _set_normal(call, tid, policy) if plain in _NORMAL and priority == 0 else CONTINUE
    if "realtime" in call.world.settings.refused:
        return CONTINUE
    if not call.creds.capable(CAP_SYS_NICE):
        return _set_users_policy(call, tid, policy, priority)
    if not 1 <= priority <= 99:
        return Fail(EINVAL)
    try:
        os.sched_setscheduler(tid, policy, os.sched_param(priority))
    except OSError as error:
        if error.errno != EPERM:
            return CONTINUE
        _pretend_policy(call, tid, policy, priority)
    else:
        _remember(call, tid, _POLICY, None)
    return DONE


def _pretend_policy(call: Call, tid: int, policy: int, priority: int) -> None:
    """Remember it; that no child shall have it is the kernel's to remember, see `_told`."""
    if policy & _RESET_ON_FORK:
        os.sched_setscheduler(tid, os.sched_getscheduler(tid) | _RESET_ON_FORK, os.sched_getparam(tid))
    _remember(call, tid, _POLICY, (policy, priority))


def _set_users_policy(call: Call, tid: int, policy: int, priority: int) -> Outcome:
    """Without CAP_SYS_NICE: EPERM beyond what the task has and RLIMIT_RTPRIO, or to let children have it again."""
    if not 1 <= priority <= 99 or not _was_told(call, tid, _POLICY, _RLIMIT_RTPRIO):
        return CONTINUE
    told = _told(call, tid, _POLICY)
    now, highest = told or (os.sched_getscheduler(tid), os.sched_getparam(tid).sched_priority)
    limit = soft_limit(call, tid, _RLIMIT_RTPRIO)
    other = (policy ^ now) & ~_RESET_ON_FORK
    if (other and not limit) or (priority > highest and not _within(priority, limit)) or now & ~policy & _RESET_ON_FORK:
        return Fail(EPERM)
    _pretend_policy(call, tid, policy, priority)
    return DONE


def _may_leave_idle(call: Call, tid: int) -> bool:
    """By the RLIMIT_NICE that the task was told to have; what it really has is the kernel's business."""
    limit = told_limit(call, tid, _RLIMIT_NICE)
    return limit is not None and _within(20 - _nice_of(call, tid), limit)


def _set_normal(call: Call, tid: int, policy: int) -> Outcome:
    """An ordinary policy: the kernel's business, but for leaving SCHED_IDLE or SCHED_RESET_ON_FORK."""
    now = os.sched_getscheduler(tid)
    leaves_idle = now & ~_RESET_ON_FORK == _SCHED_IDLE
    leaves_reset = now & ~policy & _RESET_ON_FORK
    may = call.creds.capable(CAP_SYS_NICE) or (not leaves_reset and _may_leave_idle(call, tid))
    if may and (leaves_idle or leaves_reset) and "nice" not in call.world.settings.refused:
        try:
            os.sched_setscheduler(tid, policy, os.sched_param(0))
        except OSError as error:
            if error.errno != EPERM:
                return CONTINUE
            _pretend_policy(call, tid, policy, 0)
        else:
            _remember(call, tid, _POLICY, None)
        return DONE
    told = _told(call, tid, _POLICY)
    if told is not None and not (told[0] & ~policy & _RESET_ON_FORK):
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
    known = not size or _ATTRIBUTES_SIZE <= size <= PAGE
    if known and size > _MOST_ATTRIBUTES:
        known = not any(call.read(call.ptr(1) + _MOST_ATTRIBUTES, size - _MOST_ATTRIBUTES))
    if not known or flags & ~1:
        return CONTINUE  # E2BIG, EINVAL, or what takes no privilege
    whole = policy | (_RESET_ON_FORK if flags & 1 else 0)
    if policy in _REAL_TIME:
        return _set_policy(call, tid, whole, priority)
    return _set_normal_attributes(call, tid, whole, nice) if policy in _NORMAL and not priority else CONTINUE


def _set_normal_attributes(call: Call, tid: int, policy: int, nice: int) -> Outcome:
    """As `_set_normal`, with a nice value."""
    may = call.creds.capable(CAP_SYS_NICE)
    if not may and _is_lower(call, tid, nice):
        return CONTINUE  # EPERM
    outcome = _set_normal(call, tid, policy)
    if policy & ~_RESET_ON_FORK == _SCHED_IDLE:
        return outcome
    if outcome is CONTINUE and ((may and nice < 0) or _was_told(call, tid, _NICE, _RLIMIT_NICE)):
        os.sched_setscheduler(tid, policy, os.sched_param(0))
        outcome = DONE
    return _set_nice(call, tid, nice) if outcome is DONE else CONTINUE


@handles("sched_getscheduler")
def sched_getscheduler(call: Call) -> Outcome:
    """sched_getscheduler(2)."""
    found = _remembered(call, call.signed(0), _POLICY)
    return CONTINUE if found is None else Return(found[0])


@handles("sched_rr_get_interval", "sched_rr_get_interval_time64")
def sched_rr_get_interval(call: Call) -> Outcome:
    """sched_rr_get_interval(2): the slice of SCHED_RR, none of SCHED_FIFO."""
    found = _remembered(call, call.signed(0), _POLICY)
    if found is None or found[0] & ~_RESET_ON_FORK not in _REAL_TIME:
        return CONTINUE
    milliseconds = 0
    if found[0] & ~_RESET_ON_FORK == _SCHED_RR:
        with open("/proc/sys/kernel/sched_rr_timeslice_ms", "rb") as file:
            milliseconds = int(file.read())
    wide = call.abi.bits == 64 or call.name.endswith("64")
    slice_ = (milliseconds // 1000, milliseconds % 1000 * 1_000_000)
    call.write(call.ptr(1), Struct("=qq" if wide else "=ii").pack(*slice_))
    return DONE


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


def _may_order(creds: Credentials, target: Credentials) -> bool:
    return target.uid in (creds.uid, creds.euid) or creds.capable_in(CAP_SYS_NICE, target.namespace)


@handles("ioprio_set")
def ioprio_set(call: Call) -> Outcome:
    """ioprio_set(2) of one process, or of all of a group or a user.

    EPERM for the real-time class without CAP_SYS_ADMIN or CAP_SYS_NICE, and for another's process, which ends it.
    """
    which, who, value = call.signed(0), call.signed(1), call.unsigned(2)
    kind = value >> 13 & 7
    known = kind in (_IOPRIO_CLASS_RT, _IOPRIO_CLASS_BE, _IOPRIO_CLASS_IDLE) or not value & 0xE007
    if which not in (_IOPRIO_WHO_PROCESS, _IOPRIO_WHO_PGRP, _IOPRIO_WHO_USER) or not known:
        return CONTINUE  # EINVAL
    creds = call.creds
    real_time = kind == _IOPRIO_CLASS_RT
    if real_time and not (creds.capable(CAP_SYS_ADMIN) or creds.capable(CAP_SYS_NICE)):
        return Fail(EPERM)
    if real_time and "ioprio" in call.world.settings.refused:
        return CONTINUE
    if call.world.tasks.untouched and not real_time and which != _IOPRIO_WHO_USER:
        return CONTINUE
    if which == _IOPRIO_WHO_PROCESS:
        tids = [tid for tid in [_target(call, who)] if tid]
    else:
        tids = _many(call, who, is_user=which == _IOPRIO_WHO_USER)
        if not tids and which == _IOPRIO_WHO_PGRP:
            return CONTINUE
    return _order(call, tids, value)


def _order(call: Call, tids: list[int], value: int) -> Outcome:
    """The real-time class in words, others really."""
    for tid in tids:
        if not _may_order(call.creds, call.world.tasks.state(tid).creds):
            return Fail(EPERM)
        if value >> 13 & 7 == _IOPRIO_CLASS_RT:
            _remember(call, tid, _IO, (value, 0))
        else:
            call.check()
            syscall(_SYS_IOPRIO_SET, _IOPRIO_WHO_PROCESS, tid, value)
            _remember(call, tid, _IO, None)
    return DONE if tids else Fail(ESRCH)


@handles("ioprio_get")
def ioprio_get(call: Call) -> Outcome:
    """ioprio_get(2) of one process; of many the highest that any has."""
    which, who = call.signed(0), call.signed(1)
    if which in (_IOPRIO_WHO_PGRP, _IOPRIO_WHO_USER) and not call.world.tasks.untouched:
        many = _many(call, who, is_user=which == _IOPRIO_WHO_USER)
        if not many:
            return Fail(ESRCH) if which == _IOPRIO_WHO_USER else CONTINUE
        return Return(min(_io_priority(call, tid) for tid in many))
    found = _remembered(call, who, _IO) if which == _IOPRIO_WHO_PROCESS else None
    return CONTINUE if found is None else Return(found[0])


def _io_priority(call: Call, tid: int) -> int:
    """What the task is told to have, made of its nice value if it has none of its own: ioprio_set(2)."""
    found = _told(call, tid, _IO)
    if found is not None:
        return found[0]
    try:
        own = syscall(_SYS_IOPRIO_GET, _IOPRIO_WHO_PROCESS, tid)
        told = _told(call, tid, _POLICY)
        policy = (os.sched_getscheduler(tid) if told is None else told[0]) & ~_RESET_ON_FORK
    except OSError:
        own, policy = _IOPRIO_CLASS_IDLE << 13, _SCHED_IDLE  # gone
    if own >> 13:
        return own
    kind = _IOPRIO_CLASS_RT if policy in _REAL_TIME else _IOPRIO_CLASS_BE
    return (_IOPRIO_CLASS_IDLE if policy == _SCHED_IDLE else kind) << 13 | (_nice_of(call, tid) + 20) // 5
