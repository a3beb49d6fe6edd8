# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose the root of a file system in memory is, that a task mounts: mount(2), tmpfs(5).

Who mounts one owns its root, and a fake user may do it in a user namespace of its own. To the kernel all are one user.
What is mounted, and whether it may be, is the kernel's business, and with `--strict` that of
`remainroot.handlers.strict_mounts`.
"""

from __future__ import annotations

from remainroot.dispatch import CONTINUE, handles
from remainroot.kernel import AT_FDCWD
from remainroot.store.base import Owner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call, Outcome

_IN_MEMORY: Final = (b"tmpfs", b"ramfs", b"mqueue")
_NOT_NEW: Final = 0x1000 | 0x2000 | 0x20 | 1 << 17 | 1 << 18 | 1 << 19 | 1 << 20
"""MS_BIND, MS_MOVE, MS_REMOUNT, and the kinds of propagation."""


@handles("mount")
def mount(call: Call) -> Outcome:
    """mount(2) of a new file system in memory: its root is the caller's, as soon as it is there."""
    creds = call.creds
    if (creds.fsuid == 0 and creds.fsgid == 0) or call.ptr(3) & _NOT_NEW or not call.ptr(2):
        return CONTINUE
    try:
        if call.path(2) not in _IN_MEMORY:
            return CONTINUE
        directory, name = call.world.files.parent(call.tid, AT_FDCWD, call.path(1).rstrip(b"/"))
        call.world.births.expect(call.tid, directory, name, Owner(creds.fsuid, creds.fsgid), mounted=True)
    except OSError:
        pass  # the kernel will say so
    return CONTINUE
