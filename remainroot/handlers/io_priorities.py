# SPDX-License-Identifier: GPL-2.0-or-later
"""I/O priorities: ioprio_set(2), ioprio_get(2). Real-time ones are remembered, as policies are (`scheduling`)."""

from __future__ import annotations

import os
from errno import EPERM, ESRCH

from remainroot import abi as abis
from remainroot.credentials import CAP_SYS_ADMIN, CAP_SYS_NICE
from remainroot.dispatch import CONTINUE, DONE, Fail, Return, handles
from remainroot.handlers.scheduling import (
    POLICY,
    REAL_TIME,
    RESET_ON_FORK,
    SCHED_IDLE,
    members,
    nice_of,
    remember,
    remembered,
    task_meant,
    told,
)
from remainroot.kernel import syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remainroot.credentials import Credentials
    from remainroot.dispatch import Call, Outcome

_IOPRIO_WHO_PROCESS, _IOPRIO_WHO_PGRP, _IOPRIO_WHO_USER = 1, 2, 3
_IOPRIO_CLASS_RT, _IOPRIO_CLASS_BE, _IOPRIO_CLASS_IDLE = 1, 2, 3
_SYS_IOPRIO_SET, _SYS_IOPRIO_GET = (abis.native()[0].numbers[name] for name in ("ioprio_set", "ioprio_get"))
_IO = "ioprio"


def _may_order(creds: Credentials, target: Credentials) -> bool:
    owns = target.uid in (creds.uid, creds.euid) and not target.permitted & ~creds.permitted
    return owns or creds.capable_in(CAP_SYS_NICE, target.namespace)


@handles("ioprio_set")
def ioprio_set(call: Call) -> Outcome:
    """ioprio_set(2) of one process, or of all of a group or a user.

    EPERM for the real-time class without CAP_SYS_ADMIN or CAP_SYS_NICE, and for a process that is another's or
    permitted more than the caller, which ends it.
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
        tids = [tid for tid in [task_meant(call, who)] if tid]
    else:
        tids = members(call, who, is_user=which == _IOPRIO_WHO_USER)
        if not tids and which == _IOPRIO_WHO_PGRP:
            return CONTINUE
    return _order(call, tids, value)


def _order(call: Call, tids: list[int], value: int) -> Outcome:
    """The real-time class in words, others really."""
    for tid in tids:
        if not _may_order(call.creds, call.world.tasks.state(tid).creds):
            return Fail(EPERM)
        if value >> 13 & 7 == _IOPRIO_CLASS_RT:
            remember(call, tid, _IO, (value, 0))
        else:
            call.check()
            syscall(_SYS_IOPRIO_SET, _IOPRIO_WHO_PROCESS, tid, value)
            remember(call, tid, _IO, None)
    return DONE if tids else Fail(ESRCH)


@handles("ioprio_get")
def ioprio_get(call: Call) -> Outcome:
    """ioprio_get(2) of one process; of many the highest that any has."""
    which, who = call.signed(0), call.signed(1)
    if which in (_IOPRIO_WHO_PGRP, _IOPRIO_WHO_USER) and not call.world.tasks.untouched:
        many = members(call, who, is_user=which == _IOPRIO_WHO_USER)
        if not many:
            return Fail(ESRCH) if which == _IOPRIO_WHO_USER else CONTINUE
        return Return(min(_io_priority(call, tid) for tid in many))
    found = remembered(call, who, _IO) if which == _IOPRIO_WHO_PROCESS else None
    return CONTINUE if found is None else Return(found[0])


def _io_priority(call: Call, tid: int) -> int:
    """What the task is told to have, made of its nice value if it has none of its own: ioprio_set(2)."""
    found = told(call, tid, _IO)
    if found is not None:
        return found[0]
    try:
        own = syscall(_SYS_IOPRIO_GET, _IOPRIO_WHO_PROCESS, tid)
        pretended = told(call, tid, POLICY)
        policy = (os.sched_getscheduler(tid) if pretended is None else pretended[0]) & ~RESET_ON_FORK
    except OSError:
        own, policy = _IOPRIO_CLASS_IDLE << 13, SCHED_IDLE  # gone
    if own >> 13:
        return own
    kind = _IOPRIO_CLASS_RT if policy in REAL_TIME else _IOPRIO_CLASS_BE
    return (_IOPRIO_CLASS_IDLE if policy == SCHED_IDLE else kind) << 13 | (nice_of(call, tid) + 20) // 5
