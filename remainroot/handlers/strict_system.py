# SPDX-License-Identifier: GPL-2.0-or-later
"""`--strict`, of seccomp filters (seccomp(2)) and of reboot(2). See `remainroot.handlers.strict`."""

from __future__ import annotations

from errno import EACCES, EPERM

from remainroot.credentials import CAP_SYS_ADMIN, CAP_SYS_BOOT
from remainroot.dispatch import Refused, equals, guards

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call

_SET_MODE_FILTER: Final = 1
_FLAGS: Final = 0x3F
"""All that seccomp(2) knows."""
_PR_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2
_LENGTHS: Final = range(1, 4097)
"""How many instructions a program may have (BPF_MAXINSNS)."""


def _load(call: Call, program: int) -> None:
    """EACCES without CAP_SYS_ADMIN or no_new_privs, once the length of the struct sock_fprog was looked at."""
    length = int.from_bytes(call.read(program, call.abi.bits // 4)[:2], "little")
    if length in _LENGTHS and not (call.creds.no_new_privs or call.creds.capable_inside(CAP_SYS_ADMIN)):
        raise Refused(EACCES)


@guards("seccomp", when=equals(0, _SET_MODE_FILTER))
def seccomp(call: Call) -> None:
    """seccomp(2): a filter takes CAP_SYS_ADMIN or no_new_privs."""
    if not call.unsigned(1) & ~_FLAGS:
        _load(call, call.ptr(2))


@guards("prctl", when=equals(0, _PR_SET_SECCOMP))
def prctl(call: Call) -> None:
    """prctl(2) with PR_SET_SECCOMP: as `seccomp`."""
    if call.ptr(1) == _MODE_FILTER:
        _load(call, call.ptr(2))


@guards("reboot")
def reboot(call: Call) -> None:
    """reboot(2): takes CAP_SYS_BOOT, also where it would only end the task's pid namespace."""
    if not call.creds.capable(CAP_SYS_BOOT):
        raise Refused(EPERM)
