# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose a file in memory is that a task makes: memfd_create(2). It belongs to the caller's file-system ids."""

from __future__ import annotations

import os
from errno import EINVAL

from remainroot import abi as abis
from remainroot import quick
from remainroot.dispatch import CONTINUE, Fail, InstallFd, handles
from remainroot.kernel import syscall
from remainroot.store.base import Owner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call, Outcome

_MFD_CLOEXEC: Final = 1
_NAME_MAX: Final = 249


@handles("memfd_create", quick=quick.CREATE_SOMEWHERE)
def memfd_create(call: Call) -> Outcome:
    """memfd_create(2): what a user makes is the user's, so that it may change its mode."""
    creds = call.creds
    if creds.fsuid == 0 and creds.fsgid == 0:
        return CONTINUE
    flags = call.unsigned(1)
    try:
        name = call.path(0)
    except OSError:
        return CONTINUE
    if len(name) > _NAME_MAX:
        return Fail(EINVAL)
    call.check()
    fd = syscall(abis.native()[0].numbers["memfd_create"], name, flags | _MFD_CLOEXEC)
    try:
        call.world.store.put(fd, os.fstat(fd), Owner(creds.fsuid, creds.fsgid))
    except BaseException:
        os.close(fd)
        raise
    return InstallFd(fd, cloexec=bool(flags & _MFD_CLOEXEC))
