# SPDX-License-Identifier: GPL-2.0-or-later
"""System V IPC objects (sysvipc(7)): whose they are, and the calls that ask the kernel about them.

To the kernel every object of the tree is the user's own. What it should say instead is kept here, by IPC namespace,
kind and identifier. An identifier is not used again before its slot has had 32768 objects, so what is left of a removed
object does not matter; it is swept away when there is too much of it.

An object that is kept here always has the owner's permissions in the kernel: root may use it whatever its mode, and a
group may that its owner may not.
"""

from __future__ import annotations

from errno import EIDRM, EINVAL
from struct import Struct

from remainroot import abi as abis
from remainroot import elsewhere
from remainroot.elsewhere import Elsewhere
from remainroot.kernel import syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, TypeVar

    from remainroot.credentials import Credentials
    from remainroot.namespaces import Namespace

    Key = tuple[int, str, int]
    T = TypeVar("T")

__all__ = ["Elsewhere"]
"""What callers find here besides what is defined here."""

MSG, SEM, SHM = "msg", "sem", "shm"
IPC_PRIVATE: Final = 0
IPC_CREAT, IPC_EXCL = 0o1000, 0o2000
IPC_RMID, IPC_SET, IPC_STAT = 0, 1, 2
OWNERS: Final = 0o700
"""What of a mode the kernel always gets to see."""
_MOST: Final = 8192
_PERMISSIONS: Final = Struct("=IIIII")
"""uid, gid, cuid, cgid and mode in struct ipc64_perm of a 64-bit machine; the key comes before them."""
_IDS_AT: Final = 4
_MODE_AT: Final = 20
_QBYTES_AT: Final = 88
_BUFFER: Final = 128


class Permissions:
    """Whose an object is, who made it, what others may do with it. `cpid`: the process that made a segment, or 0."""

    __slots__ = ("cgid", "cpid", "cuid", "gid", "mode", "uid")

    def __init__(self, uid: int, gid: int, cuid: int, cgid: int, mode: int, cpid: int = 0) -> None:
        self.uid = uid
        self.gid = gid
        self.cuid = cuid
        self.cgid = cgid
        self.mode = mode
        self.cpid = cpid

    def seen_in(self, namespace: Namespace) -> Permissions:
        """The same, with the ids as a user namespace calls them."""
        uids, gids = namespace.uids.shown, namespace.gids.shown
        return Permissions(uids(self.uid), gids(self.gid), uids(self.cuid), gids(self.cgid), self.mode, self.cpid)

    def is_owners(self, creds: Credentials) -> bool:
        """Whether the caller owns it or has made it."""
        return creds.euid in (self.uid, self.cuid)

    def allows(self, creds: Credentials, wanted: int) -> bool:
        """Whether the mode grants every permission that is anywhere in the bits `wanted`."""
        granted = self.mode
        if self.is_owners(creds):
            granted >>= 6
        elif creds.in_group(self.cgid) or creds.in_group(self.gid):
            granted >>= 3
        return not (wanted >> 6 | wanted >> 3 | wanted) & ~granted & 7


class Objects:
    """The objects that are not as the kernel says."""

    def __init__(self) -> None:
        self._known: dict[Key, Permissions] = {}

    def get(self, space: int, kind: str, number: int) -> Permissions | None:
        """What is known of the object `number` in the namespace with the inode number `space`."""
        return self._known.get((space, kind, number))

    def put(self, space: int, kind: str, number: int, permissions: Permissions) -> None:
        """It is so from now on."""
        if len(self._known) >= _MOST:
            self._sweep(space)
        self._known[space, kind, number] = permissions

    def forget(self, space: int, kind: str, number: int) -> None:
        """The object is gone, or is as the kernel says."""
        self._known.pop((space, kind, number), None)

    def _sweep(self, space: int) -> None:
        """Forget what does not exist any more, as far as that can be asked from here; if nothing, the oldest."""
        gone = [key for key in self._known if key[0] != space or not _exists(key)]
        for key in gone or [next(iter(self._known))]:
            del self._known[key]


def _exists(key: Key) -> bool:
    try:
        status(key[1], key[2])
    except OSError as error:
        return error.errno not in (EINVAL, EIDRM)
    return True


# ---------------------------------------------------------------- the kernel's objects


def namespace(tid: int) -> int:
    """The inode number of the task's IPC namespace."""
    return elsewhere.namespace(tid, elsewhere.IPC)


def inside(tid: int, body: Callable[[], T]) -> T:
    """What `body` returns, or the OSError it raises, in the IPC namespace of `tid`. Elsewhere: it cannot."""
    return elsewhere.inside(tid, elsewhere.IPC, body)


def _number(name: str) -> int:
    return abis.native()[0].numbers[name]


def look_up(kind: str, key: int, size: int, flags: int) -> int:
    """msgget(2), semget(2), shmget(2): the identifier of the object of `key`, or of a new one."""
    if kind == MSG:
        return syscall(_number("msgget"), key, flags)
    return syscall(_number("semget" if kind == SEM else "shmget"), key, size, flags)


def control(kind: str, number: int, command: int, buffer: bytearray | None) -> int:
    """msgctl(2), semctl(2), shmctl(2)."""
    if kind == SEM:
        return syscall(_number("semctl"), number, 0, command, buffer)
    return syscall(_number("msgctl" if kind == MSG else "shmctl"), number, command, buffer)


class Status:
    """struct msqid_ds, semid_ds or shmid_ds as this machine's kernel fills it in, and the call's result."""

    __slots__ = ("raw", "result")

    def __init__(self, raw: bytearray, result: int = 0) -> None:
        self.raw = raw
        self.result = result

    @property
    def permissions(self) -> Permissions:
        """Those in the struct, with the flags that the kernel puts beside the mode."""
        uid, gid, cuid, cgid, mode = _PERMISSIONS.unpack_from(self.raw, _IDS_AT)
        return Permissions(uid, gid, cuid, cgid, mode)

    def show(self, permissions: Permissions) -> None:
        """Put other permissions into the struct."""
        told = permissions
        _PERMISSIONS.pack_into(self.raw, _IDS_AT, told.uid, told.gid, told.cuid, told.cgid, told.mode)


def status(kind: str, number: int, command: int = IPC_STAT) -> Status:
    """What the kernel says of an object, by its number or (with a STAT of another kind) its index."""
    raw = bytearray(_BUFFER)
    return Status(raw, control(kind, number, command, raw))


def change(kind: str, number: int, mode: int, most_bytes: int) -> None:
    """IPC_SET: another mode, and for a queue how much it may hold; the owner stays the user."""
    raw = status(kind, number).raw
    raw[_MODE_AT : _MODE_AT + 4] = (mode | OWNERS).to_bytes(4, "little")
    if kind == MSG:
        raw[_QBYTES_AT : _QBYTES_AT + 8] = most_bytes.to_bytes(8, "little")
    control(kind, number, IPC_SET, raw)
