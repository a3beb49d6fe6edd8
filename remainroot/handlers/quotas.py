# SPDX-License-Identifier: GPL-2.0-or-later
"""Disk quotas: quotactl(2), quotactl_fd(2).

The kernel knows what is wrong with the place (ENOENT, ENOTBLK, ENODEV, ENOSYS) before it asks who wants to know. Then
it refuses all but real root, with EPERM, also where there are no quotas. Real root is told so (ESRCH), and so is it
here. Where there are quotas nothing is faked, for who sets one relies on it.
"""

from __future__ import annotations

import os
from errno import EINVAL, ENODEV, ESRCH
from stat import S_ISBLK

from remainroot.credentials import CAP_SYS_ADMIN
from remainroot.dispatch import CONTINUE, Fail, handles
from remainroot.handlers.paths import Unresolved, find_fd, find_path
from remainroot.kernel import AT_FDCWD, quota_format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call, Outcome

_TYPES: Final = 3
"""Of users, groups and projects: how many kinds of quotas there are."""
_GETQUOTA, _XGETQUOTA = 0x800007, 0x5803
_ABOUT_QUOTAS: Final = {
    0x800006: 24, _GETQUOTA: 0, 0x800008: 72, 0x800009: 0, _XGETQUOTA: 0, 0x5804: 112, 0x5809: 0,
}  # fmt: skip
"""What needs quotas to be on, and how much it reads first: Q_SETINFO, Q_GETQUOTA, Q_SETQUOTA, Q_GETNEXTQUOTA,
Q_XGETQUOTA, Q_XSETQLIM, Q_XGETNEXTQUOTA."""
_QUOTAON: Final = 0x800002
_OTHERS: Final = (
    0x800001, _QUOTAON, 0x800003, 0x800004, 0x800005, 0x5801, 0x5802, 0x5805, 0x5806, 0x5807, 0x5808,
)  # fmt: skip
"""Q_SYNC, Q_QUOTAON, Q_QUOTAOFF, Q_GETFMT, Q_GETINFO, Q_XQUOTAON, Q_XQUOTAOFF, Q_XGETQSTAT, Q_XQUOTARM, Q_XQUOTASYNC,
Q_XGETQSTATV: for everybody, refused here, or the kernel's to answer about."""


@handles("quotactl")
def quotactl(call: Call) -> Outcome:
    """quotactl(2): ESRCH where there are no quotas, as to real root; else EPERM."""
    command = call.unsigned(0)
    if not call.ptr(1) or command & 0xFF >= _TYPES:
        return CONTINUE  # EINVAL, ENODEV
    try:
        fd, st = find_path(call, AT_FDCWD, 1)
    except Unresolved:
        return CONTINUE
    try:
        node = call.world.owner(fd, st).mode
        if S_ISBLK(node) and not S_ISBLK(st.st_mode):
            return Fail(ENODEV)  # no file system that we know of is on a device that was made here
        if not _may_ask(call, command, call.unsigned(2)):
            return CONTINUE
        error = quota_format(fd, command & 0xFF, device=True)
    finally:
        os.close(fd)
    if command >> 8 == _QUOTAON and error == ESRCH:
        os.close(call.world.files.resolve(call.tid, AT_FDCWD, call.path(3)))  # the file that is to have them: ENOENT
    return _answer(call, command, error)


@handles("quotactl_fd")
def quotactl_fd(call: Call) -> Outcome:
    """As `quotactl`, of the file system that a descriptor is on: Linux 5.14."""
    command = call.unsigned(1)
    if command & 0xFF >= _TYPES or not _may_ask(call, command, call.unsigned(2)):
        return CONTINUE
    try:
        fd, _ = find_fd(call, 0)
    except Unresolved:
        return CONTINUE
    try:
        error = quota_format(fd, command & 0xFF, device=False)
    finally:
        os.close(fd)
    if command >> 8 == _QUOTAON and error == ESRCH:
        return Fail(EINVAL)  # it names no file with quotas
    return _answer(call, command, error)


def _may_ask(call: Call, command: int, number: int) -> bool:
    """Whether real root, or in its place this caller, would be allowed the call: anybody may ask for his own quota."""
    kind, creds = command & 0xFF, call.creds
    if creds.capable(CAP_SYS_ADMIN):
        return True
    own = (number == creds.euid) if kind == 0 else kind == 1 and creds.in_egroup(number)
    return own and command >> 8 in (_GETQUOTA, _XGETQUOTA)


def _answer(call: Call, command: int, error: int) -> Outcome:
    """What real root is told where Q_GETFMT says `error`: ESRCH is "no quotas"; any other is the kernel's to tell."""
    if error != ESRCH or command >> 8 in _OTHERS:
        return CONTINUE
    size = _ABOUT_QUOTAS.get(command >> 8)
    if size is None:
        return Fail(EINVAL)
    if size:
        call.read(call.ptr(3), size)  # EFAULT
    return Fail(ESRCH)
