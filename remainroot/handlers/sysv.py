# SPDX-License-Identifier: GPL-2.0-or-later
"""System V IPC objects of fake users: made on their behalf, shown, changed and removed as the fake ids allow."""

from __future__ import annotations

from errno import EACCES, EEXIST, EINVAL, ENOENT, EPERM
from struct import Struct

from remainroot import ipc
from remainroot.credentials import CAP_IPC_LOCK, CAP_IPC_OWNER, CAP_SYS_ADMIN, KEEP
from remainroot.dispatch import CONTINUE, DONE, Fail, Return
from remainroot.handlers.peers import owner_of_namespace, pid_for
from remainroot.handlers.resource_limits import soft_limit
from remainroot.ipc import IPC_CREAT, IPC_EXCL, IPC_PRIVATE, IPC_RMID, IPC_SET, MSG, OWNERS, SEM, SHM, Permissions
from remainroot.kernel import RLIMIT_MEMLOCK
from remainroot.namespaces import INITIAL
from remainroot.tasks import thread_group, user_namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call, Outcome
    from remainroot.world import World

_ANY: Final = {MSG: 13, SEM: 20, SHM: 15}
"""The STAT by index that needs no permission."""
_SHM_LOCK, _SHM_UNLOCK = 11, 12
_READ: Final = 0o444
_CPID_AT: Final = 80
_MODE_BITS: Final = 0o777


def objects(world: World) -> ipc.Objects:
    """What is known of the tree's objects."""
    if world.ipc is None:
        world.ipc = ipc.Objects()
    return world.ipc


def shown(world: World, space: int, kind: str, number: int, real: Permissions) -> Permissions:
    """What an object's permissions are, that are `real` to the kernel; with its flags beside the mode."""
    found = None if world.ipc is None else world.ipc.get(space, kind, number)
    if found is not None:
        mode = real.mode & ~_MODE_BITS | found.mode
        return Permissions(found.uid, found.gid, found.cuid, found.cgid, mode, found.cpid)
    user, group = world.hidden_ids
    hide_all = world.settings.whole_identity

    def visible(number: int, hidden: int) -> int:
        return 0 if hide_all or number == hidden else number

    uid, gid, cuid, cgid = real.uid, real.gid, real.cuid, real.cgid
    return Permissions(visible(uid, user), visible(gid, group), visible(cuid, user), visible(cgid, group), real.mode)


def _capable(call: Call, capability: int) -> bool:
    """Whether the caller has this capability over the objects of its IPC namespace."""
    creds = call.creds
    if creds.namespace is INITIAL or not creds.capable_inside(capability):
        return creds.capable(capability)
    return owner_of_namespace(call.tid, "ipc") == user_namespace(call.tid)


# ---------------------------------------------------------------- msgget, semget, shmget


def get(call: Call, kind: str, key: int, size: int, flags: int) -> Outcome:
    """Look an object up, or make one that belongs to the caller's effective ids."""
    try:
        return ipc.inside(call.tid, lambda: _get(call, kind, key, size, flags))
    except ipc.Elsewhere:
        return CONTINUE


def _get(call: Call, kind: str, key: int, size: int, flags: int) -> Outcome:
    if key != IPC_PRIVATE:
        try:
            number = ipc.look_up(kind, key, size, 0)
        except OSError as error:
            if error.errno != ENOENT or not flags & IPC_CREAT:
                # What is there comes first: EEXIST before a size that is too small.
                return CONTINUE if flags & IPC_EXCL else Fail(error.errno or EINVAL)
        else:
            return CONTINUE if flags & IPC_CREAT and flags & IPC_EXCL else _found(call, kind, number, flags)
    call.check()
    creds = call.creds
    own = IPC_EXCL if key != IPC_PRIVATE else 0
    try:
        number = ipc.look_up(kind, key, size, flags | own | OWNERS)
    except OSError as error:
        if error.errno == EEXIST:
            return CONTINUE  # somebody was faster
        raise
    mode = flags & _MODE_BITS
    permissions = Permissions(creds.euid, creds.egid, creds.euid, creds.egid, mode, thread_group(call.tid))
    objects(call.world).put(ipc.namespace(call.tid), kind, number, permissions)
    return Return(number)


def _found(call: Call, kind: str, number: int, flags: int) -> Outcome:
    """The object is there: EACCES unless all that is asked for is allowed."""
    try:
        real = ipc.status(kind, number).permissions
    except OSError:
        return CONTINUE
    permissions = shown(call.world, ipc.namespace(call.tid), kind, number, real)
    if not permissions.allows(call.creds, flags) and not _capable(call, CAP_IPC_OWNER):
        return Fail(EACCES)
    return Return(number) if call.world.real_uid in (real.uid, real.cuid) else CONTINUE


# ---------------------------------------------------------------- msgctl, semctl, shmctl


def control(call: Call, kind: str, number: int, command: int, buffer: int) -> Outcome:
    """One command of an object (in `_COMMANDS` of the declarations); `number` is its identifier, or its index."""
    try:
        return ipc.inside(call.tid, lambda: _control(call, kind, number, command, buffer))
    except ipc.Elsewhere:
        return CONTINUE


def _control(call: Call, kind: str, number: int, command: int, buffer: int) -> Outcome:
    if command == IPC_SET:
        return _set(call, kind, number, buffer)
    if command == IPC_RMID or (kind == SHM and command in (_SHM_LOCK, _SHM_UNLOCK)):
        return _use_up(call, kind, number, command)
    status = ipc.status(kind, number, command)
    permissions = shown(call.world, ipc.namespace(call.tid), kind, status.result or number, status.permissions)
    creds = call.creds
    if command != _ANY[kind] and not permissions.allows(creds, _READ) and not _capable(call, CAP_IPC_OWNER):
        return Fail(EACCES)
    status.show(permissions.seen_in(creds.namespace))
    if permissions.cpid and kind == SHM:
        status.raw[_CPID_AT : _CPID_AT + 4] = pid_for(call, permissions.cpid).to_bytes(4, "little")
    call.write(buffer, _struct(call, kind, status.raw))
    return Return(status.result)


def _permissions(call: Call, kind: str, number: int) -> Permissions:
    """Those of an existing object; those it has in the kernel if we may not ask."""
    try:
        real = ipc.status(kind, number).permissions
    except OSError as error:
        if error.errno != EACCES:
            raise
        return Permissions(KEEP, KEEP, KEEP, KEEP, 0)  # somebody's outside
    return shown(call.world, ipc.namespace(call.tid), kind, number, real)


def _use_up(call: Call, kind: str, number: int, command: int) -> Outcome:
    """IPC_RMID: EPERM unless owner, creator or CAP_SYS_ADMIN; SHM_LOCK and SHM_UNLOCK with CAP_IPC_LOCK."""
    creds = call.creds
    permissions = _permissions(call, kind, number)
    capability = CAP_SYS_ADMIN if command == IPC_RMID else CAP_IPC_LOCK
    if not _capable(call, capability):
        locks = command == _SHM_LOCK and kind == SHM
        if not permissions.is_owners(creds) or (locks and not soft_limit(call, call.tid, RLIMIT_MEMLOCK)):
            return Fail(EPERM)
    if command == IPC_RMID and kind != SHM:  # a segment is there until nobody is attached to it
        objects(call.world).forget(ipc.namespace(call.tid), kind, number)
    return CONTINUE


def _set(call: Call, kind: str, number: int, buffer: int) -> Outcome:
    """IPC_SET: EPERM unless owner, creator or CAP_SYS_ADMIN, then EINVAL for an id that is none."""
    uid, gid, mode, most_bytes = _wanted(call, kind, buffer)
    creds, world = call.creds, call.world
    before = _permissions(call, kind, number)
    if not before.is_owners(creds) and not _capable(call, CAP_SYS_ADMIN):
        return Fail(EPERM)
    uid, gid = creds.namespace.uids.down(uid), creds.namespace.gids.down(gid)
    if uid == KEEP or gid == KEEP:
        return Fail(EINVAL)
    call.check()
    ipc.change(kind, number, mode, most_bytes)
    permissions = Permissions(uid, gid, before.cuid, before.cgid, mode & _MODE_BITS, before.cpid)
    objects(world).put(ipc.namespace(call.tid), kind, number, permissions)
    return DONE


# ---------------------------------------------------------------- /proc/sysvipc

_COLUMNS: Final = {MSG: (7, 0), SEM: (4, 0), SHM: (7, 4)}
"""Where a line has the owner's user id, and the maker's pid (0: nowhere); key, identifier and mode come first."""


def table(call: Call, kind: str, text: bytes) -> bytes:
    """The lines of /proc/sysvipc/{msg,sem,shm}: sysvipc(7). Columns keep their width."""
    import re

    space = ipc.namespace(call.tid)
    lines = text.split(b"\n")
    ids_at, maker_at = _COLUMNS[kind]
    for index, line in enumerate(lines[1:], 1):
        columns = re.findall(rb"\s*\S+", line)
        if not columns:
            continue
        uid, gid, cuid, cgid = map(int, columns[ids_at : ids_at + 4])
        real = Permissions(uid, gid, cuid, cgid, int(columns[2], 8))
        told = shown(call.world, space, kind, int(columns[1]), real).seen_in(call.creds.namespace)
        for at, value in enumerate((told.uid, told.gid, told.cuid, told.cgid), ids_at):
            columns[at] = b" %5d" % value
        columns[2] = b"  %4o" % told.mode
        if maker_at and told.cpid:
            columns[maker_at] = b" %5d" % pid_for(call, told.cpid)
        lines[index] = b"".join(columns)
    return b"\n".join(lines)


# ---------------------------------------------------------------- structs

_WIDE_SIZES: Final = {MSG: 120, SEM: 104, SHM: 112}
_NARROW: Final = Struct("=iIIIIHxxHxxII")
"""struct compat_ipc64_perm: key, uid, gid, cuid, cgid, mode, seq, and two unused."""
_WIDE: Final = Struct("=iIIIIIHxxxxxxQQ")
_WIDE_REST: Final = {MSG: Struct("=QQQQQQii"), SEM: Struct("=QQQQQ"), SHM: Struct("=QQQQiiQ")}
_NARROW_REST: Final = {MSG: Struct("=IIIIIIIIIiiII"), SEM: Struct("=IIIIIII"), SHM: Struct("=IIIIIIIiiIII")}


def _struct(call: Call, kind: str, raw: bytearray) -> bytes:
    """The struct of a 64-bit kernel as the task's ABI has it."""
    if call.abi.bits == 64:
        return bytes(raw[: _WIDE_SIZES[kind]])
    key, uid, gid, cuid, cgid, mode, seq, *unused = _WIDE.unpack_from(raw)
    perm = _NARROW.pack(key, uid, gid, cuid, cgid, mode & 0xFFFF, seq, *unused)
    rest = _WIDE_REST[kind].unpack_from(raw, _WIDE.size)

    def halves(*values: int) -> list[int]:
        return [half for value in values for half in (value & 0xFFFF_FFFF, value >> 32)]

    if kind == MSG:
        sent, received, changed, *sizes, last, lasts = rest
        return perm + _NARROW_REST[kind].pack(*halves(sent, received, changed), *map(_long, sizes), last, lasts, 0, 0)
    if kind == SEM:
        used, _, changed, _, count = rest
        return perm + _NARROW_REST[kind].pack(*halves(used, changed), count, 0, 0)
    size, attached, detached, changed, maker, last, users = rest
    times = halves(attached, detached, changed)
    return perm + _NARROW_REST[kind].pack(_long(size), *times, maker, last, users, 0, 0)


def _long(value: int) -> int:
    return value & 0xFFFF_FFFF


def _wanted(call: Call, kind: str, buffer: int) -> tuple[int, int, int, int]:
    """What IPC_SET asks for: user id, group id, mode, and how many bytes a queue may hold."""
    wide = call.abi.bits == 64
    size = _WIDE_SIZES[kind] if wide else _NARROW.size + _NARROW_REST[kind].size
    raw = call.read(buffer, size)
    _, uid, gid, _, _, mode, *_ = (_WIDE if wide else _NARROW).unpack_from(raw)
    most = 0
    if kind == MSG:
        most = int.from_bytes(raw[88:96] if wide else raw[68:72], "little")
    return uid, gid, mode & _MODE_BITS, most
