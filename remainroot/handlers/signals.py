# SPDX-License-Identifier: GPL-2.0-or-later
"""Signals from one task to another: kill(2), tgkill(2), rt_sigqueueinfo(2), pidfd_send_signal(2).

The kernel takes all of us for one user and would let anybody signal anybody. So the ids decide here, and two processes
are spared that stand for CMD's world: the supervisor (an orphan's parent, as init would be, which ignores what it has
no handler for) and front (CMD's stand-in, in CMD's process group).
"""

from __future__ import annotations

import os
from errno import EPERM, ESRCH
from stat import S_ISDIR

from remainroot import quick
from remainroot.credentials import CAP_KILL, ROOT
from remainroot.dispatch import CONTINUE, DONE, Fail, Letter, Post, differs, handles
from remainroot.handlers import letters
from remainroot.handlers.peers import (
    SESSION,
    group_members,
    ours,
    pid_for,
    stat_field,
    supervisors_pid,
    task_of,
    with_group,
)
from remainroot.kernel import O_PATH, PROC_SUPER_MAGIC, fs_type
from remainroot.pids import everyone
from remainroot.tasks import thread_group
from remainroot.tracee import descriptor_field, open_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from signal import SIGCONT, pidfd_send_signal
    from typing import Final

    from remainroot.dispatch import Call, Outcome

    Way = Callable[[Call, int, int], Outcome]
else:
    from _signal import SIGCONT, pidfd_send_signal  # without the module's 8 ms of enum

_NSIG: Final = 64
_PROCESS_GROUP: Final = 4
_THREAD: Final = 1
_PIDFD_FLAGS: Final = (0, _THREAD, 2, _PROCESS_GROUP)
"""PIDFD_SIGNAL_{THREAD,THREAD_GROUP,PROCESS_GROUP}, one at most."""

_SIGINFO: Final = 48
"""What is read of a siginfo_t at least, before anything else is asked."""
_NOT_OURS: Final = differs(5, Letter.magic)
"""The receiver of a letter makes such a call, which asks nobody."""


def _allowed(call: Call, tid: int, signo: int) -> bool:
    """kill(2): CAP_KILL, or the ids match, or it is the caller's own process, or SIGCONT within the session."""
    creds = call.creds
    if creds.capable(CAP_KILL) or creds.may_signal(call.world.tasks.state(tid).creds):
        return True
    if thread_group(tid) == thread_group(call.tid):
        return True
    return signo == SIGCONT and stat_field(tid, SESSION) == stat_field(call.tid, SESSION)


def _to_one(call: Call, pid: int, signo: int, way: Way | None = None) -> Outcome:
    """A signal to the task that the caller calls `pid`. What does not exist or is no signal, the kernel refuses.

    `way` sends it, if it may be sent; None: the kernel does.
    """
    if pid <= 0 or not 0 <= signo <= _NSIG:
        return CONTINUE
    tid = supervisors_pid(call, pid)
    return CONTINUE if not tid else _to_task(call, tid, signo, way)


def _to_task(call: Call, tid: int, signo: int, way: Way | None) -> Outcome:
    if not _allowed(call, tid, signo):
        return Fail(EPERM)
    if tid in call.world.guardians:
        return DONE
    return CONTINUE if way is None else way(call, tid, signo)


@handles("kill")
def kill(call: Call) -> Outcome:
    """Send a signal to a process, a group (0, -pgid) or all (-1); of several, those it may not signal are left out."""
    pid, signo = call.signed(0), call.signed(1)
    if pid > 0:
        return _to_one(call, pid, signo, letters.to_one)
    if not 0 <= signo <= _NSIG:
        return CONTINUE
    if pid == -1:
        own = thread_group(call.tid)
        # PID 1 is not meant, nor who is in no pid namespace of the caller's, or no task of ours: the user has others.
        targets = [tid for tid in ours(call, everyone()) if tid != own and pid_for(call, tid) > 1]
    else:
        targets = group_members(call, -pid)
        if not targets:
            return CONTINUE
    return _to_many(call, targets, signo, everybody=pid == -1)


def _to_many(
    call: Call, targets: list[int], signo: int, *, everybody: bool, named: bool = False
) -> Outcome:
    allowed = [tid for tid in targets if _allowed(call, tid, signo)]
    guardians = call.world.guardians
    spared = [tid for tid in allowed if tid not in guardians]
    found = [None if named else letters.letter(call, tid, signo, whole=True) for tid in spared]
    if len(spared) == len(targets) and not everybody and not any(found):
        return CONTINUE
    if everybody and not targets:
        return Fail(ESRCH)
    if not allowed and not everybody:
        return Fail(EPERM)
    own = thread_group(call.tid)
    # The caller itself last: the signal may end it.
    order = sorted(zip(spared, found, strict=True), key=lambda one: one[0] == own)
    posted: list[Letter] = []
    for tid, letter in order if signo else ():
        if letter is None and tid == own and posted:
            letter = letters.letter(call, tid, signo, whole=True, always=True)  # noqa: PLW2901
        if letter is not None:
            posted.append(letter)
        else:
            _send(tid, signo)
    return Post(tuple(posted), alone=False) if posted else DONE


def _send(tid: int, signo: int) -> None:
    """Send the signal ourselves, to a process that may be gone."""
    try:
        pidfd = os.pidfd_open(tid)
    except OSError:
        return
    try:
        pidfd_send_signal(pidfd, signo)
    except OSError:
        pass
    finally:
        os.close(pidfd)


@handles("tkill")
def tkill(call: Call) -> Outcome:
    """Send a signal to a thread: tkill(2)."""
    return _to_one(call, call.signed(0), call.signed(1), _to_thread)


def _to_thread(call: Call, tid: int, signo: int) -> Outcome:
    return letters.to_one(call, tid, signo, whole=False)


@handles("tgkill", quick=quick.OWN_SIGNAL)
def tgkill(call: Call) -> Outcome:
    """Send a signal to a thread of a process: tgkill(2)."""
    tgid, pid = call.signed(0), call.signed(1)
    if _is_plain_root(call) and (call.tid in (tgid, pid) or tgid == thread_group(call.tid)):
        return CONTINUE  # to its own process; or it is in a pid namespace of its own, where no guardian is
    return _to_thread_of(call, tgid, pid, call.signed(2), _to_thread)


def _is_plain_root(call: Call) -> bool:
    """Whether the kernel would refuse the caller's process no signal, and says who it is."""
    tasks = call.world.tasks
    return tasks.untouched or (call.creds == ROOT and not tasks.is_mixed(call.tid))


def _to_thread_of(call: Call, tgid: int, pid: int, signo: int, way: Way | None = None) -> Outcome:
    """As `_to_one`, if the task is of the process that the caller calls `tgid`, which the kernel asks first (ESRCH)."""
    if tgid <= 0 or pid <= 0 or not 0 <= signo <= _NSIG:
        return CONTINUE
    tid = supervisors_pid(call, pid)
    if not tid or thread_group(tid) != (tid if tgid == pid else supervisors_pid(call, tgid)):
        return CONTINUE
    return _to_task(call, tid, signo, way)


@handles("rt_tgsigqueueinfo", when=_NOT_OURS)
def rt_tgsigqueueinfo(call: Call) -> Outcome:
    """Queue a signal and data to a thread of a process: rt_tgsigqueueinfo(2)."""
    pid = call.signed(1)
    if pid == call.tid:
        return CONTINUE
    call.read(call.ptr(3), _SIGINFO)
    return _to_thread_of(call, call.signed(0), pid, call.signed(2))


@handles("rt_sigqueueinfo", when=_NOT_OURS)
def rt_sigqueueinfo(call: Call) -> Outcome:
    """Queue a signal and data to a process: rt_sigqueueinfo(2)."""
    call.read(call.ptr(2), _SIGINFO)
    return _to_one(call, call.signed(0), call.signed(1))


@handles("pidfd_send_signal")
def pidfd_send(call: Call) -> Outcome:
    """Send a signal to the process behind a descriptor: pidfd_send_signal(2)."""
    signo, flags = call.signed(1), call.unsigned(3)
    if not 0 <= signo <= _NSIG or flags not in _PIDFD_FLAGS:
        return CONTINUE
    tid = behind(call) or _directory_of(call)
    if not tid:
        return CONTINUE
    if flags == _PROCESS_GROUP:
        members = with_group(tid)
        named = bool(call.ptr(2))  # the caller says itself who sends it
        return _to_many(call, members, signo, everybody=False, named=named) if members else CONTINUE
    if not _allowed(call, tid, signo):
        return Fail(EPERM)
    if tid in call.world.guardians:
        return DONE
    return CONTINUE if call.ptr(2) else letters.to_one(call, tid, signo, whole=not _to_its_thread(call, flags))


def _to_its_thread(call: Call, flags: int) -> bool:
    """Whether the signal is for a thread: as the flags say, or else the descriptor."""
    return flags == _THREAD or (flags == 0 and _of_thread(call))


def _of_thread(call: Call) -> bool:
    """Whether the descriptor in the first argument was opened with PIDFD_THREAD."""
    try:
        return bool(open_flags(call.tid, call.signed(0)) & os.O_EXCL)
    except OSError:
        return False


def _directory_of(call: Call) -> int:
    """The process whose directory on procfs the first argument is a descriptor of; 0 for any other."""
    name = f"/proc/{call.tid}/fd/{call.signed(0)}"
    try:
        if not S_ISDIR(os.stat(name).st_mode):
            return 0
        fd = os.open(name, O_PATH | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        if fs_type(fd) != PROC_SUPER_MAGIC:
            return 0
        parts = os.fsencode(os.readlink(f"/proc/self/fd/{fd}")).split(b"/")
        return task_of(call, os.fstat(fd), [*parts, b""]) if parts[-2:-1] != [b"task"] else 0
    except OSError:
        return 0
    finally:
        os.close(fd)


def behind(call: Call) -> int:
    """The task that the descriptor in the first argument stands for; 0 if it is gone, or that is no pidfd."""
    try:
        return max(0, int(descriptor_field(call.tid, call.signed(0), b"Pid")))
    except OSError:
        return 0
