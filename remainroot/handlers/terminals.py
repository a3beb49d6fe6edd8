# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose a new pseudoterminal is: its opener's, as a new file's (pts(4)); devpts shows them all as the real user's.

The call that opens a master has not made the terminal yet when we see it. But a new one is locked, and nobody can open
it before TIOCSPTLCK (unlockpt(3)): then its owner is recorded. Its number, and so its inode, may have been another's.
"""

from __future__ import annotations

import os
from fcntl import ioctl

from remainroot.credentials import KEEP
from remainroot.dispatch import CONTINUE
from remainroot.kernel import O_CLOEXEC, O_PATH, duplicate_fd
from remainroot.store.base import Owner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call, Outcome

_TIOCGPTPEER: Final = 0x5441
_TIOCGPTLCK: Final = 0x8004_5439


def unlock(call: Call) -> Outcome:
    """TIOCSPTLCK of ioctl_tty(2), by which a new terminal can be opened."""
    try:
        if any(call.read(call.ptr(2), 4)):
            return CONTINUE
        terminal = _locked(call)
    except OSError:
        return CONTINUE
    if terminal < 0:
        return CONTINUE
    try:
        _record(call, terminal)
    finally:
        os.close(terminal)
    return CONTINUE


def _locked(call: Call) -> int:
    """The terminal whose master the task has, if it is still locked, as an O_PATH descriptor; -1: it is not."""
    master = duplicate_fd(call.tid, call.signed(0))
    try:
        if not any(ioctl(master, _TIOCGPTLCK, bytes(4))):
            return -1
        return ioctl(master, _TIOCGPTPEER, O_PATH | O_CLOEXEC)  # wherever its devpts is mounted
    finally:
        os.close(master)


def _record(call: Call, terminal: int) -> None:
    world, creds = call.world, call.creds
    st = os.fstat(terminal)
    default = world.default_owner(st)
    uid, gid = world.devpts.get(st.st_dev, (KEEP, KEEP))
    uid = creds.fsuid if uid == KEEP else uid
    if gid == KEEP:  # the place's own may be mounted with a group that is not the user's
        gid = creds.fsgid if st.st_gid == world.real_gid else default.gid
    call.check()
    if (uid, gid) != (default.uid, default.gid):
        world.store.put(terminal, st, Owner(uid, gid))
    elif not world.store.empty:
        world.store.forget(terminal, st)
