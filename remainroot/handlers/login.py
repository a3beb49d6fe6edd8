# SPDX-License-Identifier: GPL-2.0-or-later
"""/proc/PID/loginuid (proc_pid_loginuid(5)): who logged in.

The kernel takes no id there that the user namespace does not map, and pam_loginuid(8) is content with that only where
/proc/self/uid_map tells of a namespace, which it does not to a program whose opens are seen. Who opens it to write
gets a file in memory, and the task's state says which one: so its children have it, and what is in it last is the login
uid. A write to it is not seen here.
"""

from __future__ import annotations

import os

from remainroot.kernel import O_CLOEXEC
from remainroot.outcomes import InstallFd
from remainroot.tasks import thread_ids
from remainroot.written import Written

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call
    from remainroot.world import World

_PRETENCE: Final = "loginuid"
_SIZE: Final = 64


def shown(world: World, tid: int, text: bytes) -> bytes:
    """The login uid of `tid`, for which the kernel says `text`."""
    found = world.tasks.state(tid).pretended(_PRETENCE)
    return text if found is None or world.written is None else world.written.text(found[0])


def open_to_write(call: Call, tid: int, fd: int, flags: int) -> InstallFd | None:
    """An open, to write, of that file of `tid`, which `fd` holds; None if it is not the caller's."""
    world = call.world
    if tid not in thread_ids(call.tid):
        return None
    with open(f"/proc/self/fd/{fd}", "rb", buffering=0) as file:
        text = shown(world, tid, file.read(_SIZE))
    call.check()
    memory = os.memfd_create("loginuid", os.MFD_CLOEXEC)
    os.write(memory, b"" if flags & os.O_TRUNC else text)
    os.lseek(memory, 0, os.SEEK_SET)
    given = os.open(f"/proc/self/fd/{memory}", flags & os.O_ACCMODE | O_CLOEXEC)
    if world.written is None:
        world.written = Written()
    call.state = call.state.pretend(_PRETENCE, (world.written.add(memory, text), 0))
    return InstallFd(given, cloexec=bool(flags & O_CLOEXEC))
