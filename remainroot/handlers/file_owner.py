# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is told by a signal that a file is ready (SIGIO, SIGURG), and on whose behalf: fcntl(2), "Managing signals".

With the recipient the kernel keeps the ids of who chose it; by these the recipient may be signalled or not, as by
kill(2), when there is something to tell. To the kernel all ids are one. So they are kept here, by the file's device and
inode number, and where they may not signal the recipient the kernel is given none: that is decided once, when it is
chosen. Of a group that is so where one of its members may be signalled, or none.
"""

from __future__ import annotations

import os
from fcntl import F_SETOWN, fcntl
from stat import S_ISSOCK
from struct import Struct

from remainroot.dispatch import CONTINUE, DONE, Return, equals, handles
from remainroot.handlers.peers import group_members, supervisors_pid
from remainroot.kernel import duplicate_fd
from remainroot.namespaces import INITIAL
from remainroot.recipients import Chooser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.credentials import Credentials
    from remainroot.dispatch import Call, Outcome
    from remainroot.world import World

_SETOWN, _GETOWN, _SETOWN_EX, _GETOWN_EX, _GETOWNER_UIDS = 8, 9, 15, 16, 17
_OWNER_EX: Final = Struct("=ii")
"""struct f_owner_ex: type, pid."""
_IDS: Final = Struct("=II")
_THREAD, _PROCESS, _GROUP = range(3)
_MOST: Final = 1024
_BY_IOCTL: Final = (0x8901, 0x8902, 0x8903, 0x8904)
"""FIOSETOWN, SIOCSPGRP, FIOGETOWN, SIOCGPGRP."""


@handles("fcntl", "fcntl64", when=equals(1, _SETOWN, _GETOWN, _SETOWN_EX, _GETOWN_EX, _GETOWNER_UIDS))
def file_owner(call: Call) -> Outcome:
    """fcntl(2): F_SETOWN, F_GETOWN, F_SETOWN_EX, F_GETOWN_EX, F_GETOWNER_UIDS."""
    st = _status(call)
    if st is None:
        return CONTINUE
    key, command = (st.st_dev, st.st_ino), call.unsigned(1)
    if command in (_SETOWN, _SETOWN_EX):
        return _choose(call, key, *_recipient(call, command))
    chooser = _owners(call.world).get(key)
    return CONTINUE if chooser is None else _tell(call, command, chooser)


def _status(call: Call) -> os.stat_result | None:
    """Of the file that the call is about; None where the kernel knows as much as we do."""
    world = call.world
    if world.tasks.untouched and world.file_owners is None:
        return None
    try:
        st = os.stat(f"/proc/{call.tid}/fd/{call.signed(0)}")
        return None if world.files.is_path_only(call.tid, call.signed(0)) else st  # EBADF
    except OSError:
        return None


def owner_of_socket(call: Call) -> Outcome:
    """ioctl(2): FIOSETOWN, SIOCSPGRP as F_SETOWN, FIOGETOWN, SIOCGPGRP as F_GETOWN, of a socket."""
    st = _status(call)
    if st is None or not S_ISSOCK(st.st_mode):
        return CONTINUE
    key = st.st_dev, st.st_ino
    if call.unsigned(1) in _BY_IOCTL[:2]:
        number = int.from_bytes(call.read(call.ptr(2), 4), "little", signed=True)
        return _choose(call, key, *((_GROUP, -number) if number < 0 else (_PROCESS, number)))
    chooser = _owners(call.world).get(key)
    if chooser is None or not chooser.withheld:
        return CONTINUE
    number = -chooser.pid if chooser.kind == _GROUP else chooser.pid
    call.write(call.ptr(2), number.to_bytes(4, "little", signed=True))
    return DONE


def _tell(call: Call, command: int, chooser: Chooser) -> Outcome:
    if command == _GETOWNER_UIDS:
        shown = call.creds.namespace.uids.shown
        call.write(call.ptr(2), _IDS.pack(shown(chooser.uid), shown(chooser.euid)))
        return DONE
    if not chooser.withheld:
        return CONTINUE
    if command == _GETOWN:
        return Return(-chooser.pid if chooser.kind == _GROUP else chooser.pid)
    call.write(call.ptr(2), _OWNER_EX.pack(chooser.kind, chooser.pid))
    return DONE


def _recipient(call: Call, command: int) -> tuple[int, int]:
    """The kind of recipient, and its number as the caller has it."""
    if command == _SETOWN_EX:
        kind, pid = _OWNER_EX.unpack(call.read(call.ptr(2), _OWNER_EX.size))
        return kind, pid
    number = call.signed(2)
    return (_GROUP, -number) if number < 0 else (_PROCESS, number)


def _choose(call: Call, key: tuple[int, int], kind: int, pid: int) -> Outcome:
    """The kernel takes the recipient; or, in vain, we do."""
    owners = _owners(call.world)
    if not pid and key in owners:
        owners[key].withheld = False  # there is no recipient; who chose the last one stays known
    if pid <= 0 or not _THREAD <= kind <= _GROUP:
        return CONTINUE
    creds = call.creds
    plain = creds.uid == creds.euid == 0 and creds.namespace is INITIAL
    known = key in owners or not plain
    tid = supervisors_pid(call, pid) if known else 0
    if known and not tid and not (kind == _GROUP and group_members(call, pid)):
        return CONTINUE  # ESRCH, and who chose before stays known
    withheld, told = False, 0
    if kind == _GROUP and not plain:
        withheld, told = _of_group(call, pid)
    elif not plain:
        tasks = call.world.tasks
        withheld = tasks.supervises(tid) and not _may_tell(creds, tasks.state(tid).creds)
    owners.pop(key, None)
    if plain and not call.world.real_uid:
        return CONTINUE
    if len(owners) >= _MOST:
        del owners[next(iter(owners))]
    owners[key] = Chooser(creds, kind, pid, withheld=withheld)
    if not withheld:
        return CONTINUE
    call.check()
    own = duplicate_fd(call.tid, call.signed(0))
    try:
        fcntl(own, F_SETOWN, told)  # of the task's open file, which this is a descriptor of, too
    finally:
        os.close(own)
    return DONE


def _of_group(call: Call, pid: int) -> tuple[bool, int]:
    """Whether the kernel is not to be given the group, but this one of it, the only one that may be told; 0: none.

    Where several may, and others not, it is given all.
    """
    creds, tasks = call.creds, call.world.tasks
    ours = [tid for tid in group_members(call, pid) if tasks.supervises(tid)]
    told = [tid for tid in ours if _may_tell(creds, tasks.state(tid).creds)]
    if len(told) > 1 or len(told) == len(ours):
        return False, 0
    return True, told[0] if told else 0


def _may_tell(creds: Credentials, recipient: Credentials) -> bool:
    """As for kill(2), but that no capability counts: the effective id of root does."""
    known = (recipient.suid, recipient.uid)
    return creds.euid == 0 or creds.euid in known or creds.uid in known


def _owners(world: World) -> dict[tuple[int, int], Chooser]:
    if world.file_owners is None:
        world.file_owners = {}
    return world.file_owners
