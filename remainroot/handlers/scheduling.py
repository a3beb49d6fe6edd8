# SPDX-License-Identifier: GPL-2.0-or-later
"""Priorities: setpriority(2), sched_setscheduler(2), sched_setattr(2), and what asks for them.

Root may have any, and the kernel grants a user namespace's root none beyond its limits. What it refuses is remembered
as part of the task's state (so children inherit it, as they would the priority) and told when asked for; the task runs
with the priority it has.
"""

from __future__ import annotations

import os
from errno import EACCES, EINVAL, EPERM, ESRCH
from struct import Struct

from remainroot import quick
from remainroot.credentials import CAP_SYS_NICE
from remainroot.dispatch import CONTINUE, DONE, Fail, Return, handles
from remainroot.handlers.peers import affects, group_members, ours, supervisors_pid
from remainroot.handlers.resource_limits import soft_limit, told_limit
from remainroot.kernel import PAGE, RLIM_INFINITY
from remainroot.pids import everyone
from remainroot.tasks import thread_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.credentials import Credentials
    from remainroot.dispatch import Call, Outcome

_PRIO_PROCESS, _PRIO_PGRP, _PRIO_USER = 0, 1, 2
_RLIMIT_NICE, _RLIMIT_RTPRIO = 13, 14
_HIGHEST: Final = 99
REAL_TIME: Final = (1, 2)
"""SCHED_FIFO and SCHED_RR."""
_NORMAL: Final = (0, 3, 5)
"""SCHED_OTHER, SCHED_BATCH and SCHED_IDLE."""
_SCHED_RR, SCHED_IDLE = 2, 5
RESET_ON_FORK: Final = 0x4000_0000
_ATTRIBUTES: Final = Struct("=IIQiI")
"""struct sched_attr as far as it is understood here: size, policy, flags, nice value, priority."""
_ATTRIBUTES_SIZE: Final = 48
_MOST_ATTRIBUTES: Final = 56
"""The size of struct sched_attr that the kernel knows (SCHED_ATTR_SIZE_VER1); what is behind must be 0."""

_NICE, POLICY = "nice", "policy"


def _may(creds: Credentials, target: Credentials) -> bool:
    return creds.may_set_scheduling(target)


def task_meant(call: Call, pid: int) -> int:
    """The task meant, by its number here: the caller for 0; 0 if there is none."""
    return call.tid if pid == 0 else supervisors_pid(call, pid) if pid > 0 else 0


def remember(call: Call, tid: int, name: str, value: tuple[int, int] | None) -> None:
    """Have the task told so from now on (None: what the kernel says), and nothing more that is its parent's alone."""
    tasks = call.world.tasks
    before = state = tasks.state(tid)
    for inherited in (_NICE, POLICY):
        state = state.pretend(inherited, told(call, tid, inherited))
    state = state.pretend(name, value)
    if state != before:
        call.check()
        tasks.set(tid, state)


def remembered(call: Call, pid: int, name: str) -> tuple[int, int] | None:
    """What the task meant was told to have; None: the kernel knows."""
    if call.world.tasks.untouched:
        return None
    tid = task_meant(call, pid)
    return told(call, tid, name) if tid else None


def told(call: Call, tid: int, name: str) -> tuple[int, int] | None:
    """What `tid` was told to have.

    With SCHED_RESET_ON_FORK a policy is no child's, nor a nice value below 0, nor any of a real-time policy's. The
    kernel takes that flag, which anybody may set, from a child.
    """
    state = call.world.tasks.state(tid)
    found = state.pretended(name)
    if name not in (_NICE, POLICY):
        return found
    policy = (state.pretended(POLICY) or (0, 0))[0]
    reset = policy & RESET_ON_FORK or (state.pretended(_NICE) or (0, 0))[1]
    if not reset or _resets(tid):
        return found
    if policy & ~RESET_ON_FORK in REAL_TIME:
        return 0, 0
    if found is None or name == _NICE:
        return None if found is None else (max(found[0], 0), 0)
    return policy & ~RESET_ON_FORK, 0


def _resets(tid: int) -> int:
    """SCHED_RESET_ON_FORK, if the task really has it."""
    try:
        return os.sched_getscheduler(tid) & RESET_ON_FORK
    except OSError:
        return 0


def _is_reset(call: Call, tid: int) -> int:
    """SCHED_RESET_ON_FORK, if the task is told that it has it."""
    policy = told(call, tid, POLICY)
    return _resets(tid) if policy is None else policy[0] & RESET_ON_FORK


def members(call: Call, who: int, *, is_user: bool) -> list[int]:
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
    return members(call, uids.up(call.creds.uid) if is_user and who == 0 else who, is_user=is_user)


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
    tid = task_meant(call, call.signed(1))
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
    return _nice(wanted) < nice_of(call, tid) and not _within(20 - _nice(wanted), soft_limit(call, tid, _RLIMIT_NICE))


def _within(value: int, limit: int) -> bool:
    return limit == RLIM_INFINITY or value <= limit


def _set_nice(call: Call, tid: int, wanted: int, *, here: bool = False) -> Outcome:
    if "nice" in call.world.settings.refused:
        return CONTINUE
    if not call.creds.capable(CAP_SYS_NICE):
        if not here and not _was_told(call, tid, _NICE, _RLIMIT_NICE):
            return CONTINUE
        if _is_lower(call, tid, wanted):
            return Fail(EACCES)
    return _change_nice(call, tid, _nice(wanted))


def _was_told(call: Call, tid: int, name: str, limit: int) -> bool:
    """Whether it, or its limit, is another than the kernel knows."""
    return told(call, tid, name) is not None or told_limit(call, tid, limit) is not None


def _change_nice(call: Call, tid: int, value: int) -> Outcome:
    """Really, or else in words."""
    call.check()
    try:
        os.setpriority(os.PRIO_PROCESS, tid, value)
    except OSError as error:
        if error.errno not in (EACCES, EPERM):
            return CONTINUE
        remember(call, tid, _NICE, (value, _is_reset(call, tid)))
    else:
        remember(call, tid, _NICE, None)
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
        return Return(20 - min(nice_of(call, tid) for tid in many))
    found = remembered(call, who, _NICE) if which == _PRIO_PROCESS else None
    return CONTINUE if found is None else Return(20 - found[0])


def nice_of(call: Call, tid: int) -> int:
    """What the task is told to have; 19, which is nobody's loss, if it is gone."""
    found = told(call, tid, _NICE)
    try:
        return os.getpriority(os.PRIO_PROCESS, tid) if found is None else found[0]
    except OSError:
        return 19


# ---------------------------------------------------------------- policies


@handles("sched_setaffinity", quick=quick.SCHEDULE)
def sched_setaffinity(call: Call) -> Outcome:
    """Another task's CPUs: sched_setaffinity(2), as setpriority."""
    outcome = affects(call, call.signed(0), CAP_SYS_NICE, _may)
    if outcome is not CONTINUE:
        call.read(call.ptr(2), min(call.unsigned(1), 8))  # EFAULT comes first
    return outcome


def _set_policy(call: Call, tid: int, policy: int, priority: int, *, here: bool = False) -> Outcome:
    """As `_change_policy`; a nice value that is remembered knows whether it is to be reset on fork."""
    nice = told(call, tid, _NICE)
    outcome = _change_policy(call, tid, policy, priority, here=here)
    if nice is not None and outcome is DONE:
        remember(call, tid, _NICE, (nice[0], _is_reset(call, tid)))
    return outcome


def _change_policy(call: Call, tid: int, policy: int, priority: int, *, here: bool) -> Outcome:
    """Real-time policies are remembered where the kernel refuses them, any other ends that.

    With `here` the kernel is not to see the call: it has more in it.
    """
    plain = policy & ~RESET_ON_FORK
    if plain not in REAL_TIME:
        return _set_normal(call, tid, policy, here=here) if plain in _NORMAL and priority == 0 else CONTINUE
    if "realtime" in call.world.settings.refused:
        return CONTINUE
    if not call.creds.capable(CAP_SYS_NICE):
        return _set_users_policy(call, tid, policy, priority)
    try:
        os.sched_setscheduler(tid, policy, os.sched_param(priority))
    except OSError as error:
        if error.errno != EPERM:
            return CONTINUE
        _pretend_policy(call, tid, policy, priority)
    else:
        remember(call, tid, POLICY, None)
    return DONE


def _pretend_policy(call: Call, tid: int, policy: int, priority: int) -> None:
    """Remember it; that no child shall have it is the kernel's to remember, see `told`."""
    if policy & RESET_ON_FORK:
        os.sched_setscheduler(tid, os.sched_getscheduler(tid) | RESET_ON_FORK, os.sched_getparam(tid))
    remember(call, tid, POLICY, (policy, priority))


def _set_users_policy(call: Call, tid: int, policy: int, priority: int) -> Outcome:
    """Without CAP_SYS_NICE: EPERM beyond what the task has and RLIMIT_RTPRIO, or to let children have it again."""
    if not _was_told(call, tid, POLICY, _RLIMIT_RTPRIO):
        return CONTINUE
    now, highest = told(call, tid, POLICY) or (os.sched_getscheduler(tid), os.sched_getparam(tid).sched_priority)
    limit = soft_limit(call, tid, _RLIMIT_RTPRIO)
    other = (policy ^ now) & ~RESET_ON_FORK
    if (other and not limit) or (priority > highest and not _within(priority, limit)) or now & ~policy & RESET_ON_FORK:
        return Fail(EPERM)
    _pretend_policy(call, tid, policy, priority)
    return DONE


def _may_leave_idle(call: Call, tid: int) -> bool:
    """By the RLIMIT_NICE that the task was told to have; what it really has is the kernel's business."""
    limit = told_limit(call, tid, _RLIMIT_NICE)
    return limit is not None and _within(20 - nice_of(call, tid), limit)


def _set_normal(call: Call, tid: int, policy: int, *, here: bool) -> Outcome:
    """An ordinary policy: the kernel's business, but for leaving SCHED_IDLE or SCHED_RESET_ON_FORK."""
    before = told(call, tid, POLICY)
    now = os.sched_getscheduler(tid) if before is None else before[0]
    resets = now & ~policy & RESET_ON_FORK
    leaves = resets or now & ~RESET_ON_FORK == SCHED_IDLE
    may = call.creds.capable(CAP_SYS_NICE) or (not resets and _may_leave_idle(call, tid))
    if leaves and ("nice" in call.world.settings.refused or not may):
        return CONTINUE
    if not (leaves or here or call.world.tasks.state(tid).pretences):
        return CONTINUE
    try:
        os.sched_setscheduler(tid, policy, os.sched_param(0))
    except OSError as error:
        if error.errno != EPERM:
            return CONTINUE
        _pretend_policy(call, tid, policy, 0)
    else:
        remember(call, tid, POLICY, None)
    return DONE


_KNOWN_FLAGS, _KEEPS_POLICY, _KEEPS_PARAMETERS = 0x7F, 0x8, 0x10
_UNDERSTOOD: Final = 1 | _KEEPS_POLICY | _KEEPS_PARAMETERS
"""SCHED_FLAG_RESET_ON_FORK and these: without the others it is about a policy, a nice value or a priority alone."""
_DEADLINE: Final = 6
_LEAST_RUNTIME: Final = 1024
"""In nanoseconds, of SCHED_DEADLINE."""
_TIMES: Final = Struct("=QQQ")
"""Runtime, deadline and period behind `_ATTRIBUTES`."""


def _is_sound(call: Call, policy: int, priority: int) -> bool:
    """Whether struct sched_attr asks for a policy as it may be."""
    if policy != _DEADLINE:
        return _is_valid(policy, priority)
    runtime, deadline, period = _TIMES.unpack(call.read(call.ptr(1) + _ATTRIBUTES.size, _TIMES.size))
    return priority == 0 and _LEAST_RUNTIME <= runtime <= deadline <= (period or deadline) < 1 << 63


def _is_valid(policy: int, priority: int) -> bool:
    """Whether the kernel knows such a policy with that priority: otherwise EINVAL, whoever asks."""
    plain = policy & ~RESET_ON_FORK
    return 1 <= priority <= _HIGHEST if plain in REAL_TIME else plain in _NORMAL and priority == 0


@handles("sched_setscheduler")
def sched_setscheduler(call: Call) -> Outcome:
    """sched_setscheduler(2)."""
    policy = call.signed(1)
    if not call.ptr(2) or policy < 0:
        return CONTINUE
    priority = int.from_bytes(call.read(call.ptr(2), 4), "little", signed=True)
    if not _is_valid(policy, priority):
        return CONTINUE
    outcome = affects(call, call.signed(0), CAP_SYS_NICE, _may)
    tid = task_meant(call, call.signed(0))
    return outcome if outcome is not CONTINUE or not tid else _set_policy(call, tid, policy, priority)


@handles("sched_setparam")
def sched_setparam(call: Call) -> Outcome:
    """sched_setparam(2): the policy stays."""
    tid = task_meant(call, call.signed(0))
    if not call.ptr(1) or not tid:
        return CONTINUE
    priority = int.from_bytes(call.read(call.ptr(1), 4), "little", signed=True)
    found = remembered(call, call.signed(0), POLICY)
    if not _is_valid(os.sched_getscheduler(tid) if found is None else found[0], priority):
        return CONTINUE if found is None else Fail(EINVAL)
    outcome = affects(call, call.signed(0), CAP_SYS_NICE, _may)
    if outcome is not CONTINUE or found is None:
        return outcome
    return _set_policy(call, task_meant(call, call.signed(0)), found[0], priority)


def _kept(call: Call, tid: int, flags: int, asked: tuple[int, int, int]) -> tuple[int, int, int]:
    """Policy, nice value and priority that are `asked` for, or, if the flags say so, those that the task has."""
    policy, nice, priority = asked
    if not flags & (_KEEPS_POLICY | _KEEPS_PARAMETERS):
        return asked
    now, highest = told(call, tid, POLICY) or (os.sched_getscheduler(tid), os.sched_getparam(tid).sched_priority)
    if flags & _KEEPS_PARAMETERS and now & ~RESET_ON_FORK in REAL_TIME:
        priority = highest
    elif flags & _KEEPS_PARAMETERS:
        nice = nice_of(call, tid)
    return now if flags & _KEEPS_POLICY else policy, nice, priority


def _attributes(call: Call, tid: int) -> tuple[int, int, int, int] | None:
    """What struct sched_attr asks for: flags, policy, nice value and priority; None if the kernel takes no such."""
    size, policy, flags, nice, priority = _ATTRIBUTES.unpack(call.read(call.ptr(1), _ATTRIBUTES.size))
    known = not size or _ATTRIBUTES_SIZE <= size <= PAGE
    if known and size > _MOST_ATTRIBUTES:
        known = not any(call.read(call.ptr(1) + _MOST_ATTRIBUTES, size - _MOST_ATTRIBUTES))
    if not known or flags & ~_KNOWN_FLAGS or policy >> 31:
        return None  # E2BIG, EINVAL
    whole, nice, priority = _kept(call, tid, flags, (policy | (RESET_ON_FORK if flags & 1 else 0), nice, priority))
    return (flags, whole, nice, priority) if _is_sound(call, whole & ~RESET_ON_FORK, priority) else None


@handles("sched_setattr")
def sched_setattr(call: Call) -> Outcome:
    """sched_setattr(2) of a real-time policy, or of an ordinary one with a nice value."""
    tid = task_meant(call, call.signed(0))
    asked = _attributes(call, tid) if tid and call.ptr(1) and not call.unsigned(2) else None
    if asked is None:
        return CONTINUE
    flags, whole, nice, priority = asked
    policy = whole & ~RESET_ON_FORK
    outcome = affects(call, call.signed(0), CAP_SYS_NICE, _may)
    if outcome is not CONTINUE or flags & ~_UNDERSTOOD:
        return outcome  # or it takes no privilege
    if policy in REAL_TIME:
        return _set_policy(call, tid, whole, priority)
    lower = policy != SCHED_IDLE and _is_lower(call, tid, nice)
    if lower and not call.creds.capable(CAP_SYS_NICE):
        return Fail(EPERM)
    here = lower or (policy != SCHED_IDLE and _was_told(call, tid, _NICE, _RLIMIT_NICE))
    outcome = _set_policy(call, tid, whole, 0, here=here)
    return _set_nice(call, tid, nice, here=True) if outcome is DONE and policy != SCHED_IDLE else outcome


@handles("sched_getscheduler")
def sched_getscheduler(call: Call) -> Outcome:
    """sched_getscheduler(2)."""
    found = remembered(call, call.signed(0), POLICY)
    return CONTINUE if found is None else Return(found[0])


@handles("sched_rr_get_interval", "sched_rr_get_interval_time64")
def sched_rr_get_interval(call: Call) -> Outcome:
    """sched_rr_get_interval(2): the slice of SCHED_RR, none of SCHED_FIFO."""
    found = remembered(call, call.signed(0), POLICY)
    if found is None or found[0] & ~RESET_ON_FORK not in REAL_TIME:
        return CONTINUE
    milliseconds = 0
    if found[0] & ~RESET_ON_FORK == _SCHED_RR:
        with open("/proc/sys/kernel/sched_rr_timeslice_ms", "rb") as file:
            milliseconds = int(file.read())
    wide = call.abi.bits == 64 or call.name.endswith("64")
    slice_ = (milliseconds // 1000, milliseconds % 1000 * 1_000_000)
    call.write(call.ptr(1), Struct("=qq" if wide else "=ii").pack(*slice_))
    return DONE


@handles("sched_getparam")
def sched_getparam(call: Call) -> Outcome:
    """sched_getparam(2)."""
    found = remembered(call, call.signed(0), POLICY)
    if found is None or not call.ptr(1):
        return CONTINUE
    call.write(call.ptr(1), found[1].to_bytes(4, "little"))
    return DONE


@handles("sched_getattr")
def sched_getattr(call: Call) -> Outcome:
    """sched_getattr(2): the kernel's first version of the struct, which is all that applies here."""
    policy = remembered(call, call.signed(0), POLICY)
    nice = remembered(call, call.signed(0), _NICE)
    size = call.unsigned(2)
    if (policy is None and nice is None) or not _ATTRIBUTES_SIZE <= size <= PAGE or call.unsigned(3) or not call.ptr(1):
        return CONTINUE
    number, priority = policy or (os.sched_getscheduler(task_meant(call, call.signed(0))), 0)
    flags = 1 if number & RESET_ON_FORK else 0
    value = 0
    if not priority:
        value = os.getpriority(os.PRIO_PROCESS, task_meant(call, call.signed(0))) if nice is None else nice[0]
    text = _ATTRIBUTES.pack(_ATTRIBUTES_SIZE, number & ~RESET_ON_FORK, flags, value, priority)
    call.write(call.ptr(1), text.ljust(_ATTRIBUTES_SIZE, b"\0"))
    return DONE
