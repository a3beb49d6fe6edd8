# SPDX-License-Identifier: GPL-2.0-or-later
"""POSIX message queues of fake users: mq_overview(7). A queue is a file, its owner is in the store as any file's."""

from __future__ import annotations

import os
from errno import EEXIST
from stat import S_IFREG

from remainroot import abi as abis
from remainroot import ipc
from remainroot.dispatch import CONTINUE, InstallFd
from remainroot.handlers.resource_limits import soft_limit
from remainroot.kernel import RLIM_INFINITY, prlimit, syscall
from remainroot.store.base import Owner
from remainroot.tracee import umask_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call, Outcome

_RLIMIT_MSGQUEUE: Final = 12
_ATTRIBUTES: Final = 8
"""How many longs struct mq_attr has."""


def create(call: Call, flags: int, mode: int) -> Outcome:
    """mq_open(2) with O_CREAT: a queue that is not there yet is made here, and belongs to the caller's fs ids."""
    try:
        name = call.path(0)
        attributes = _attributes(call, call.ptr(3))
    except OSError:
        return CONTINUE
    mask = umask_of(call.tid)
    call.check()
    world = call.world

    def make() -> int:
        number = abis.native()[0].numbers["mq_open"]
        previous = os.umask(world.workable_umask(mask))
        before = _take_limit(call)
        try:
            return syscall(number, name, flags | os.O_EXCL, world.workable(mode), attributes)
        finally:
            os.umask(previous)
            prlimit(0, _RLIMIT_MSGQUEUE, before)

    try:
        fd = ipc.inside(call.tid, make)
    except ipc.Elsewhere:
        return CONTINUE
    except OSError as error:
        if error.errno == EEXIST:
            return CONTINUE
        raise
    creds = call.creds
    mode &= ~mask
    try:
        st = os.fstat(fd)
        world.store.put(fd, st, Owner(creds.fsuid, creds.fsgid, 0 if world.workable(mode) == mode else S_IFREG | mode))
    except BaseException:
        os.close(fd)
        raise
    return InstallFd(fd, cloexec=True)


def _take_limit(call: Call) -> tuple[int, int]:
    """Have the kernel count our queues by the task's limit, as far as ours allows; what it was before."""
    limit = soft_limit(call, call.tid, _RLIMIT_MSGQUEUE)
    before = prlimit(0, _RLIMIT_MSGQUEUE)
    hard = before[1]
    if hard != RLIM_INFINITY and (limit == RLIM_INFINITY or limit > hard):
        limit = hard
    prlimit(0, _RLIMIT_MSGQUEUE, (limit, hard))
    return before


def _attributes(call: Call, address: int) -> bytes | None:
    """struct mq_attr as this machine's kernel takes it; None for a null pointer, which means its default."""
    if not address:
        return None
    word = 8 if call.abi.bits == 64 else 4
    raw = call.read(address, _ATTRIBUTES * word)
    values = [int.from_bytes(raw[at : at + word], "little", signed=True) for at in range(0, len(raw), word)]
    return b"".join(value.to_bytes(8, "little", signed=True) for value in values)
