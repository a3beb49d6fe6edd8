# SPDX-License-Identifier: GPL-2.0-or-later
"""What tasks write to /proc/PID/{uid_map,gid_map,setgroups} (user_namespaces(7)), taken from files in memory.

The kernel takes no id that its own namespace does not map. So who may write such a file is given one in memory. The
write that follows is judged as the kernel would (`remainroot.handlers.judging`). Where it is not seen, for another has
the descriptor by then, or traces the task, what is in the file counts from the next call on that anybody makes; what
the kernel would have refused is ignored then, for it is too late to say so.
"""

from __future__ import annotations

import os
from errno import EINVAL, EPERM

from remainroot.credentials import CAP_SETFCAP, CAP_SETGID, CAP_SETUID
from remainroot.namespaces import parse_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.credentials import Credentials
    from remainroot.namespaces import Extent, Namespace

KINDS: Final = {b"uid_map": "uids", b"gid_map": "gids"}
SETGROUPS: Final = b"setgroups"
_MOST_FILES: Final = 64
_SIZE: Final = 4096
_SETGROUPS_SIZE: Final = 8
"""So much is too much for setgroups, whatever it is."""


def may_map_any(creds: Credentials, namespace: Namespace, kind: str) -> bool:
    """Whether who has opened the file as `creds` may write any map: with CAP_SETUID, or CAP_SETGID, in the parent.

    user_namespaces(7), "Defining user and group ID mappings: writing to uid_map and gid_map".
    """
    capability = CAP_SETUID if kind == "uids" else CAP_SETGID
    return namespace.parent is not None and creds.capable_in(capability, namespace.parent)


def may_map_itself(creds: Credentials, namespace: Namespace, kind: str) -> bool:
    """Whether it may map its own id and no other: who made the namespace, and groups only without setgroups(2)."""
    return namespace.owner == creds.euid and (kind == "uids" or not namespace.setgroups)


def may_map(creds: Credentials, namespace: Namespace, kind: str, extents: list[Extent]) -> bool:
    """Whether it may write this map. One with the parent's root, whose file capabilities count, takes CAP_SETFCAP."""
    if kind == "uids" and any(outside == 0 for _, outside, _ in extents):
        within = creds.namespace is namespace
        if not (namespace.may_map_root if within else creds.capable_inside(CAP_SETFCAP)):
            return False
    if may_map_any(creds, namespace, kind):
        return True
    if namespace.parent is None or not may_map_itself(creds, namespace, kind):
        return False
    around, own = (namespace.parent.uids, creds.euid) if kind == "uids" else (namespace.parent.gids, creds.egid)
    return [(around.down(outside), count) for _, outside, count in extents] == [(own, 1)]


class IdMapFiles:
    """The files that were handed out and that nothing is in yet."""

    def __init__(self) -> None:
        self._files: list[tuple[int, Namespace, bytes, Credentials]] = []

    def add(self, flags: int, namespace: Namespace, name: bytes, creds: Credentials) -> int:
        """A file for a task that opens `name` of the namespace as `creds`; a descriptor, the caller's to close."""
        memory = os.memfd_create(name.decode(), os.MFD_CLOEXEC)
        try:
            given = os.open(f"/proc/self/fd/{memory}", flags & os.O_ACCMODE | os.O_CLOEXEC)
        except OSError:
            os.close(memory)
            raise
        if len(self._files) >= _MOST_FILES:
            os.close(self._files.pop(0)[0])
        self._files.append((memory, namespace, name, creds))
        return given

    def settle(self) -> None:
        """Take in what was written."""
        waiting = []
        for file in self._files:
            text = os.pread(file[0], _SIZE, 0)
            if not text:
                waiting.append(file)
                continue
            os.close(file[0])
            try:
                _take(text, *file[1:])
            except OSError:
                pass  # EINVAL, EPERM
        self._files = waiting

    def close(self) -> None:
        """Nothing that is still to be written counts any more."""
        while self._files:
            os.close(self._files.pop()[0])


def refusal(text: bytes, offset: int, namespace: Namespace, name: bytes, creds: Credentials) -> int:
    """The errno of such a write by who has opened the file as `creds`; 0: it counts from now on."""
    try:
        if offset or (name == SETGROUPS and len(text) >= _SETGROUPS_SIZE):
            return EINVAL
        _take(text, namespace, name, creds)
    except OSError as error:
        return error.errno or EINVAL
    return 0


def _take(text: bytes, namespace: Namespace, name: bytes, creds: Credentials) -> None:
    if name == SETGROUPS:
        _take_setgroups(text, namespace)
        return
    kind = KINDS[name]
    if getattr(namespace, kind).extents:
        raise _error(EPERM)
    extents = parse_map(text)
    if not may_map(creds, namespace, kind, extents):
        raise _error(EPERM)
    namespace.put_map(kind, extents)


def _take_setgroups(text: bytes, namespace: Namespace) -> None:
    word = text.partition(b"\0")[0].rstrip()
    if word not in (b"allow", b"deny"):
        raise _error(EINVAL)
    if word == b"allow":
        if not namespace.setgroups:
            raise _error(EPERM)
    elif namespace.setgroups:
        if namespace.gids.extents:
            raise _error(EPERM)
        namespace.setgroups = False


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
