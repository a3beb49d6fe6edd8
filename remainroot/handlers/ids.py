# SPDX-License-Identifier: GPL-2.0-or-later
"""User and group ids: credentials(7), setresuid(2), setgroups(2) and their kin."""

from __future__ import annotations

from errno import EINVAL, EPERM
from struct import Struct, pack

from remainroot import quick
from remainroot.credentials import CAP_SETGID, NGROUPS_MAX
from remainroot.dispatch import ALWAYS, DONE, Fail, Return, handles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call, Outcome

_U16: Final = Struct("=H")
_U32: Final = Struct("=I")


def _shown(call: Call, value: int) -> int:
    """An id as this call returns it: the 16-bit calls show what does not fit as the overflow id."""
    return 65534 if call.short_ids and value > 0xFFFF else value


@handles("getuid", "getuid32", quick=quick.own_id(0))
def getuid(call: Call) -> Outcome:
    """The real user id: getuid(2)."""
    return Return(_shown(call, call.creds.uid))


@handles("geteuid", "geteuid32", quick=quick.own_id(1))
def geteuid(call: Call) -> Outcome:
    """The effective user id: geteuid(2)."""
    return Return(_shown(call, call.creds.euid))


@handles("getgid", "getgid32", quick=quick.own_id(2))
def getgid(call: Call) -> Outcome:
    """The real group id: getgid(2)."""
    return Return(_shown(call, call.creds.gid))


@handles("getegid", "getegid32", quick=quick.own_id(3))
def getegid(call: Call) -> Outcome:
    """The effective group id: getegid(2)."""
    return Return(_shown(call, call.creds.egid))


def _write_three(call: Call, values: tuple[int, int, int]) -> Outcome:
    """Write three ids to the three pointers, one after the other: what came before a bad pointer stays written."""
    form = _U16 if call.short_ids else _U32
    for index, value in enumerate(values):
        call.write(call.ptr(index), form.pack(_shown(call, value)))
    return DONE


@handles("getresuid", "getresuid32")
def getresuid(call: Call) -> Outcome:
    """Real, effective and saved user id: getresuid(2)."""
    creds = call.creds
    return _write_three(call, (creds.uid, creds.euid, creds.suid))


@handles("getresgid", "getresgid32")
def getresgid(call: Call) -> Outcome:
    """Real, effective and saved group id: getresgid(2)."""
    creds = call.creds
    return _write_three(call, (creds.gid, creds.egid, creds.sgid))


@handles("setuid", "setuid32", quick=quick.change_ids(1), blind=ALWAYS)
def setuid(call: Call) -> Outcome:
    """setuid(2)."""
    call.creds = call.creds.setuid(call.id(0))
    return DONE


@handles("setgid", "setgid32", quick=quick.change_ids(1), blind=ALWAYS)
def setgid(call: Call) -> Outcome:
    """setgid(2)."""
    call.creds = call.creds.setgid(call.id(0))
    return DONE


@handles("setreuid", "setreuid32", quick=quick.change_ids(2), blind=ALWAYS)
def setreuid(call: Call) -> Outcome:
    """setreuid(2); -1 keeps an id."""
    call.creds = call.creds.setreuid(call.id(0), call.id(1))
    return DONE


@handles("setregid", "setregid32", quick=quick.change_ids(2), blind=ALWAYS)
def setregid(call: Call) -> Outcome:
    """setregid(2); -1 keeps an id."""
    call.creds = call.creds.setregid(call.id(0), call.id(1))
    return DONE


@handles("setresuid", "setresuid32", quick=quick.change_ids(3), blind=ALWAYS)
def setresuid(call: Call) -> Outcome:
    """setresuid(2); -1 keeps an id."""
    call.creds = call.creds.setresuid(call.id(0), call.id(1), call.id(2))
    return DONE


@handles("setresgid", "setresgid32", quick=quick.change_ids(3), blind=ALWAYS)
def setresgid(call: Call) -> Outcome:
    """setresgid(2); -1 keeps an id."""
    call.creds = call.creds.setresgid(call.id(0), call.id(1), call.id(2))
    return DONE


@handles("setfsuid", "setfsuid32", quick=quick.change_ids(1), blind=ALWAYS)
def setfsuid(call: Call) -> Outcome:
    """setfsuid(2): never fails, returns the former id (whole, even where the call takes 16 bits)."""
    creds = call.creds
    call.creds = creds.setfsuid(call.id(0))
    return Return(creds.fsuid)


@handles("setfsgid", "setfsgid32", quick=quick.change_ids(1), blind=ALWAYS)
def setfsgid(call: Call) -> Outcome:
    """setfsgid(2): never fails, returns the former id (whole, even where the call takes 16 bits)."""
    creds = call.creds
    call.creds = creds.setfsgid(call.id(0))
    return Return(creds.fsgid)


@handles("getgroups", "getgroups32")
def getgroups(call: Call) -> Outcome:
    """The supplementary groups.

    Getgroups(2). EINVAL for a negative size and for one too small; 0 asks for the number.
    """
    size = call.signed(0)
    groups = call.creds.groups
    if size < 0 or 0 < size < len(groups):
        return Fail(EINVAL)
    if size and groups:
        letter = "H" if call.short_ids else "I"
        call.write(call.ptr(1), pack(f"={len(groups)}{letter}", *(_shown(call, gid) for gid in groups)))
    return Return(len(groups))


@handles("setgroups", "setgroups32", quick=quick.change_ids(1, list_of_ids=1), blind=ALWAYS)
def setgroups(call: Call) -> Outcome:
    """setgroups(2): EPERM without CAP_SETGID, then EINVAL above NGROUPS_MAX, EFAULT, EINVAL for -1 in the list."""
    creds = call.creds
    if not creds.capable(CAP_SETGID):
        return Fail(EPERM)
    size = call.unsigned(0)
    if size > NGROUPS_MAX:
        return Fail(EINVAL)
    gids: tuple[int, ...] = ()
    if size:
        form = Struct(f"={size}{'H' if call.short_ids else 'I'}")
        gids = form.unpack(call.read(call.ptr(1), form.size))
        if call.short_ids:
            gids = tuple(0xFFFF_FFFF if gid == 0xFFFF else gid for gid in gids)
    call.creds = creds.setgroups(gids)
    return DONE
