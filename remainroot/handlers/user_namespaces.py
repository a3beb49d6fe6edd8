# SPDX-License-Identifier: GPL-2.0-or-later
"""/proc/PID/{uid_map,gid_map,setgroups} of the user namespaces that tasks make: user_namespaces(7)."""

from __future__ import annotations

import os
from errno import EACCES
from fcntl import ioctl

from remainroot.credentials import CAP_SYS_ADMIN
from remainroot.handlers.judging import WriteJudge
from remainroot.id_maps import KINDS, SETGROUPS, IdMapFiles, may_map_any, may_map_itself, refusal
from remainroot.kernel import O_CLOEXEC, setns
from remainroot.namespaces import INITIAL
from remainroot.outcomes import CONTINUE, DONE, Fail, InstallFd
from remainroot.tasks import user_namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.credentials import Credentials
    from remainroot.dispatch import Call
    from remainroot.namespaces import IdMap, Namespace
    from remainroot.outcomes import Outcome
    from remainroot.tasks import Tasks

_CLONE_NEWUSER: Final = 0x1000_0000
_NS_GET_PARENT: Final = 0xB702


def map_text(call: Call, tid: int, name: bytes) -> bytes:
    """What the caller reads in the id map `name` of `tid`: proc_pid_uid_map(5), its own seen from the parent."""
    kind = KINDS[name]
    namespace, reader = call.world.tasks.state(tid).creds.namespace, call.creds.namespace
    if reader is namespace and reader.parent is not None:
        reader = reader.parent
    ids, around = _ids(namespace, kind), _ids(reader, kind)
    lines = [b"%10d %10d %10d\n" % (first, around.up(outside), count) for first, outside, count in ids.extents]
    return b"".join(lines)


def _ids(namespace: Namespace, kind: str) -> IdMap:
    return namespace.uids if kind == "uids" else namespace.gids


def setgroups_text(call: Call, tid: int) -> bytes:
    """What is read in /proc/PID/setgroups of `tid`."""
    return b"allow\n" if call.world.tasks.state(tid).creds.namespace.setgroups else b"deny\n"


def _may_write(creds: Credentials, namespace: Namespace, kind: str) -> bool:
    """Whether there is a map that the kernel would take from this caller."""
    if creds.namespace not in (namespace, namespace.parent) or _ids(namespace, kind).extents:
        return False
    return may_map_any(creds, namespace, kind) or may_map_itself(creds, namespace, kind)


def open_to_write(call: Call, tid: int, name: bytes, flags: int) -> Outcome | None:
    """An open, to write, of the file `name` of `tid`; None if the kernel is to open it: it is not of one made inside.

    EACCES for setgroups without CAP_SYS_ADMIN in there. Whose write would be refused whatever it says (EPERM) is given
    a file that is `unwritable`.
    """
    world = call.world
    namespace, creds = world.tasks.state(tid).creds.namespace, call.creds
    admin = creds.capable_in(CAP_SYS_ADMIN, namespace)
    if name == SETGROUPS and not admin:
        return Fail(EACCES)
    if namespace is INITIAL:
        return None
    call.check()
    # Where there are groups setgroups(2) cannot be denied any more, nor allowed where it was.
    if name == SETGROUPS:
        may = namespace.setgroups or not namespace.gids.extents
    else:
        may = admin and _may_write(creds, namespace, KINDS[name])
    if not may:
        return unwritable(flags)
    if name != SETGROUPS:
        _map_really(call, tid, name)
    if world.id_maps is None:
        world.id_maps = IdMapFiles()
    given = world.id_maps.add(flags, namespace, name, creds)
    judge = WriteJudge(given, lambda text, offset: refusal(text, offset, namespace, name, creds))
    return InstallFd(given, cloexec=bool(flags & O_CLOEXEC), judge=judge)


def unwritable(flags: int) -> Outcome:
    """A descriptor to which the kernel refuses each write (EPERM): of our own map, which can be written once."""
    given = os.open("/proc/self/uid_map", flags & os.O_ACCMODE | O_CLOEXEC)
    return InstallFd(given, cloexec=bool(flags & O_CLOEXEC))


def _map_really(call: Call, tid: int, name: bytes) -> None:
    """Give the kernel's namespace the one id there is, as its root's, so that its root keeps its power at exec.

    Only who is in the namespace around it may do that: where that is not ours, a process of ours goes there.
    """
    try:
        around = _parent(tid)
    except OSError:
        return  # gone
    if os.fstat(around).st_ino == user_namespace(os.getpid()):
        _map_from_here(tid, name, call.world.real_uid if name == b"uid_map" else call.world.real_gid)
    else:
        pid = os.fork()
        if pid == 0:
            try:
                setns(around, _CLONE_NEWUSER)
                _map_from_here(tid, name, 0)
            finally:
                os._exit(0)
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass  # the engine, which waits for all, has seen it end
    os.close(around)


def _parent(tid: int) -> int:
    """A descriptor of the user namespace around that of `tid`."""
    fd = os.open(f"/proc/{tid}/ns/user", os.O_RDONLY | O_CLOEXEC)
    try:
        return ioctl(fd, _NS_GET_PARENT)
    finally:
        os.close(fd)


def _map_from_here(tid: int, name: bytes, real: int) -> None:
    path = f"/proc/{tid}/{name.decode()}"
    try:
        _write(path, b"0 %d 1" % real)
    except OSError:
        try:
            _write(f"/proc/{tid}/setgroups", b"deny")
            _write(path, b"0 %d 1" % real)
        except OSError:
            pass


def _write(path: str, text: bytes) -> None:
    with open(path, "wb", buffering=0) as file:
        file.write(text)


def tell_owner(call: Call) -> Outcome:
    """NS_GET_OWNER_UID of ioctl_nsfs(2): who made a user namespace, where that was here."""
    tasks = call.world.tasks
    if not tasks.nested:
        return CONTINUE
    number = os.stat(f"/proc/{call.tid}/fd/{call.signed(0)}").st_ino
    if number not in tasks.spaces:
        _look_into(tasks, number)
    namespace = tasks.spaces.get(number)
    if namespace is None or namespace.owner is None:
        return CONTINUE
    call.write(call.ptr(2), call.creds.namespace.uids.shown(namespace.owner).to_bytes(4, "little"))
    return DONE


def _look_into(tasks: Tasks, number: int) -> None:
    """Have a task that has come to a user namespace, and made no call since, be seen there."""
    for name in os.listdir("/proc"):
        if name.isdigit() and user_namespace(int(name)) == number and tasks.supervises(int(name)):
            tasks.state(int(name))
            return
