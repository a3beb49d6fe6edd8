# SPDX-License-Identifier: GPL-2.0-or-later
"""User and group ids: credentials(7), setresuid(2), setgroups(2) and their kin."""

from __future__ import annotations

from errno import EINVAL, EPERM
from struct import Struct, pack

from remainroot import quick
from remainroot.credentials import NGROUPS_MAX
from remainroot.dispatch import ALWAYS, DONE, Fail, Return, handles
from remainroot.namespaces import OVERFLOW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.credentials import Credentials
    from remainroot.dispatch import Call, Outcome

_U16: Final = Struct("=H")
_U32: Final = Struct("=I")


def _fitting(call: Call, value: int) -> int:
    """An id as this call returns it: the 16-bit calls show what does not fit as the overflow id."""
    return OVERFLOW if call.short_ids and value > 0xFFFF else value


def _shown_uid(call: Call, creds: Credentials, uid: int) -> int:
    """A user id as the caller's namespace calls it."""
    return _fitting(call, creds.namespace.uids.shown(uid))


def _shown_gid(call: Call, creds: Credentials, gid: int) -> int:
    """A group id, the same way."""
    return _fitting(call, creds.namespace.gids.shown(gid))


def _uid(call: Call, creds: Credentials, index: int) -> int:
    """A user id argument as the first namespace has it: OSError(EINVAL) for one that the caller's has not."""
    return creds.namespace.uids.named(call.id(index))


def _gid(call: Call, creds: Credentials, index: int) -> int:
    """A group id argument, the same way."""
    return creds.namespace.gids.named(call.id(index))


@handles("getuid", "getuid32", quick=quick.own_id(0))
def getuid(call: Call) -> Outcome:
    """The real user id: getuid(2)."""
    creds = call.creds
    return Return(_shown_uid(call, creds, creds.uid))


@handles("geteuid", "geteuid32", quick=quick.own_id(1))
def geteuid(call: Call) -> Outcome:
    """The effective user id: geteuid(2)."""
    creds = call.creds
    return Return(_shown_uid(call, creds, creds.euid))


@handles("getgid", "getgid32", quick=quick.own_id(2))
def getgid(call: Call) -> Outcome:
    """The real group id: getgid(2)."""
    creds = call.creds
    return Return(_shown_gid(call, creds, creds.gid))


@handles("getegid", "getegid32", quick=quick.own_id(3))
def getegid(call: Call) -> Outcome:
    """The effective group id: getegid(2)."""
    creds = call.creds
    return Return(_shown_gid(call, creds, creds.egid))


def _write_three(call: Call, values: tuple[int, int, int]) -> Outcome:
    """Write three ids to the three pointers, one after the other: what came before a bad pointer stays written."""
    form = _U16 if call.short_ids else _U32
    for index, value in enumerate(values):
        call.write(call.ptr(index), form.pack(_fitting(call, value)))
    return DONE


@handles("getresuid", "getresuid32")
def getresuid(call: Call) -> Outcome:
    """Real, effective and saved user id: getresuid(2)."""
    creds = call.creds
    shown = creds.namespace.uids.shown
    return _write_three(call, (shown(creds.uid), shown(creds.euid), shown(creds.suid)))


@handles("getresgid", "getresgid32")
def getresgid(call: Call) -> Outcome:
    """Real, effective and saved group id: getresgid(2)."""
    creds = call.creds
    shown = creds.namespace.gids.shown
    return _write_three(call, (shown(creds.gid), shown(creds.egid), shown(creds.sgid)))


@handles("setuid", "setuid32", quick=quick.change_ids(1), blind=ALWAYS)
def setuid(call: Call) -> Outcome:
    """setuid(2)."""
    creds = call.creds
    call.creds = creds.setuid(_uid(call, creds, 0))
    return DONE


@handles("setgid", "setgid32", quick=quick.change_ids(1), blind=ALWAYS)
def setgid(call: Call) -> Outcome:
    """setgid(2)."""
    creds = call.creds
    call.creds = creds.setgid(_gid(call, creds, 0))
    return DONE


@handles("setreuid", "setreuid32", quick=quick.change_ids(2), blind=ALWAYS)
def setreuid(call: Call) -> Outcome:
    """setreuid(2); -1 keeps an id."""
    creds = call.creds
    call.creds = creds.setreuid(_uid(call, creds, 0), _uid(call, creds, 1))
    return DONE


@handles("setregid", "setregid32", quick=quick.change_ids(2), blind=ALWAYS)
def setregid(call: Call) -> Outcome:
    """setregid(2); -1 keeps an id."""
    creds = call.creds
    call.creds = creds.setregid(_gid(call, creds, 0), _gid(call, creds, 1))
    return DONE


@handles("setresuid", "setresuid32", quick=quick.change_ids(3), blind=ALWAYS)
def setresuid(call: Call) -> Outcome:
    """setresuid(2); -1 keeps an id."""
    creds = call.creds
    call.creds = creds.setresuid(_uid(call, creds, 0), _uid(call, creds, 1), _uid(call, creds, 2))
    return DONE


@handles("setresgid", "setresgid32", quick=quick.change_ids(3), blind=ALWAYS)
def setresgid(call: Call) -> Outcome:
    """setresgid(2); -1 keeps an id."""
    creds = call.creds
    call.creds = creds.setresgid(_gid(call, creds, 0), _gid(call, creds, 1), _gid(call, creds, 2))
    return DONE


@handles("setfsuid", "setfsuid32", quick=quick.change_ids(1), blind=ALWAYS)
def setfsuid(call: Call) -> Outcome:
    """setfsuid(2): never fails, returns the former id (whole, even where the call takes 16 bits)."""
    creds = call.creds
    ids = creds.namespace.uids
    call.creds = creds.setfsuid(ids.down(call.id(0)))
    return Return(ids.shown(creds.fsuid))


@handles("setfsgid", "setfsgid32", quick=quick.change_ids(1), blind=ALWAYS)
def setfsgid(call: Call) -> Outcome:
    """setfsgid(2): never fails, returns the former id (whole, even where the call takes 16 bits)."""
    creds = call.creds
    ids = creds.namespace.gids
    call.creds = creds.setfsgid(ids.down(call.id(0)))
    return Return(ids.shown(creds.fsgid))


@handles("getgroups", "getgroups32")
def getgroups(call: Call) -> Outcome:
    """The supplementary groups.

    Getgroups(2). EINVAL for a negative size and for one too small; 0 asks for the number.
    """
    size = call.signed(0)
    creds = call.creds
    groups = creds.groups
    if size < 0 or 0 < size < len(groups):
        return Fail(EINVAL)
    if size and groups:
        letter = "H" if call.short_ids else "I"
        call.write(call.ptr(1), pack(f"={len(groups)}{letter}", *(_shown_gid(call, creds, gid) for gid in groups)))
    return Return(len(groups))


@handles("setgroups", "setgroups32", quick=quick.change_ids(1, list_of_ids=1), blind=ALWAYS)
def setgroups(call: Call) -> Outcome:
    """setgroups(2): EPERM without CAP_SETGID, then EINVAL above NGROUPS_MAX, EFAULT, EINVAL for what is no id."""
    creds = call.creds
    if not creds.may_set_groups():
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
    call.creds = creds.setgroups([creds.namespace.gids.down(gid) for gid in gids])
    return DONE
