# SPDX-License-Identifier: GPL-2.0-or-later
"""What changes the shape of the tree: new tasks, other roots and namespaces, self-confinement."""

from __future__ import annotations

import os
from errno import EPERM

from remainroot import beforehand, quick
from remainroot.credentials import CAP_SETFCAP, CAP_SYS_ADMIN, CAP_SYS_PTRACE
from remainroot.dispatch import CONTINUE, DONE, Fail, handles, has_bits
from remainroot.elsewhere import namespace as namespace_of
from remainroot.handlers.paths import Unresolved, find_path
from remainroot.handlers.peers import ours
from remainroot.handlers.signals import behind
from remainroot.kernel import AT_FDCWD
from remainroot.namespaces import Namespace
from remainroot.pids import everyone
from remainroot.tasks import user_namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call, Outcome

_CLONE_NEWNS: Final = 0x0002_0000
_CLONE_THREAD: Final = 0x0001_0000
_CLONE_NEWUSER: Final = 0x1000_0000
_NEW: Final = _CLONE_NEWNS | _CLONE_NEWUSER


def _namespaces(call: Call, flags: int) -> Outcome:
    """What else a call with these CLONE_ flags does: another root, another user namespace.

    EPERM where the caller's effective ids are not in its own user namespace (user_namespaces(7)).
    """
    if flags & _CLONE_NEWNS:
        call.world.files.roots_differ = True
    if flags & _CLONE_NEWUSER:
        creds = call.creds
        if not creds.namespace.maps(creds.euid, creds.egid):
            return Fail(EPERM)
        made = Namespace(creds.namespace, creds.euid, may_map_root=creds.capable_inside(CAP_SETFCAP))
        call.world.tasks.depart(call.tid, made)
    return CONTINUE


@handles("clone", when=has_bits(0, _CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_THREAD), quick=quick.fork(0, _NEW))
def clone(call: Call) -> Outcome:
    """clone(2) of a thread, or into another mount or user namespace.

    A plain fork is not caught: programs do not expect it to be interrupted by a signal, as a call that waits for an
    answer can be; and a child needs nothing of us (see remainroot.tasks).
    """
    call.world.tasks.cloning(call.tid)
    return _namespaces(call, call.ptr(0))


@handles("clone3", quick=quick.fork(0, _NEW, indirect=True))
def clone3(call: Call) -> Outcome:
    """clone3: as clone, its flags in memory."""
    try:
        flags = int.from_bytes(call.read(call.ptr(0), 8), "little")
    except OSError:
        return CONTINUE
    call.world.tasks.cloning(call.tid)
    return _namespaces(call, flags)


@handles("chroot", "pivot_root")
def new_root(call: Call) -> Outcome:
    """chroot(2), pivot_root(2): a task's root may be another than ours from now on, with device nodes of its own."""
    world = call.world
    world.files.roots_differ = True
    if call.name == "pivot_root":
        beforehand.read(call.tid)
    try:
        root, _ = find_path(call, AT_FDCWD, 0)
    except Unresolved:
        return CONTINUE
    try:
        world.look_for_nodes(root)
    finally:
        os.close(root)
    return CONTINUE


@handles("unshare", when=has_bits(0, _CLONE_NEWNS, _CLONE_NEWUSER))
def unshare(call: Call) -> Outcome:
    """unshare(2) of the mount or the user namespace."""
    return _namespaces(call, call.ptr(0))


_PLAIN: Final = {
    1 << 7: "time", 1 << 25: "cgroup", 1 << 26: "uts", 1 << 27: "ipc", 1 << 29: "pid", 1 << 30: "net",
}  # fmt: skip
"""Kinds of namespaces, by their CLONE_ flags, to join one of which again changes nothing."""


@handles("setns")
def setns(call: Call) -> Outcome:
    """setns(2): of a user namespace it takes CAP_SYS_ADMIN in there (EPERM); with another one's root it is another.

    To join one's own again, which may be the host's, root needs nobody.
    """
    if call.creds.capable(CAP_SYS_ADMIN) and _stays(call):
        return DONE
    call.world.files.roots_differ = True
    namespace = _joined(call)
    if namespace is None or namespace is call.creds.namespace:
        return CONTINUE  # EINVAL for one's own
    if not call.creds.capable_in(CAP_SYS_ADMIN, namespace):
        return Fail(EPERM)
    call.world.tasks.depart(call.tid, namespace)
    return CONTINUE


def _stays(call: Call) -> bool:
    """Whether the caller, and its children to be, are where the descriptor leads already."""
    kinds, path = call.unsigned(1), f"/proc/{call.tid}/fd/{call.signed(0)}"
    try:
        name = os.readlink(path).partition(":[")[0]
        if name in _PLAIN.values():
            return (not kinds or _PLAIN.get(kinds) == name) and _is_own(call, name, os.stat(path).st_ino)
        pid = behind(call)
        if not pid or not kinds or kinds & ~sum(_PLAIN) or not call.creds.capable(CAP_SYS_PTRACE):
            return False
        return all(_is_own(call, _PLAIN[kind], namespace_of(pid, _PLAIN[kind])) for kind in _PLAIN if kinds & kind)
    except OSError:
        return False


def _is_own(call: Call, name: str, number: int) -> bool:
    lasting = (name, f"{name}_for_children") if name in ("pid", "time") else (name,)
    return all(namespace_of(call.tid, one) == number for one in lasting)


def _joined(call: Call) -> Namespace | None:
    """The user namespace that the descriptor in the first argument is of, or of the process behind it; None: no one's.

    An inode number is given to the next namespace when one is gone: who is in one knows best.
    """
    tasks, kinds = call.world.tasks, call.unsigned(1)
    path = f"/proc/{call.tid}/fd/{call.signed(0)}"
    try:
        is_namespace, number = os.readlink(path).startswith("user:"), os.stat(path).st_ino
    except OSError:
        return None  # EBADF
    if not is_namespace:
        pid = behind(call) if kinds & _CLONE_NEWUSER else 0
        return tasks.state(pid).creds.namespace if pid and tasks.supervises(pid) else None
    if kinds not in (0, _CLONE_NEWUSER):
        return None  # EINVAL
    for tid in ours(call, everyone()):
        if user_namespace(tid) == number:
            return tasks.state(tid).creds.namespace
    return tasks.spaces.get(number)


@handles("landlock_restrict_self")
def landlock_restrict_self(call: Call) -> Outcome:
    """landlock_restrict_self(2): EPERM without CAP_SYS_ADMIN or no_new_privs, before anything is looked at.

    This task makes its files itself from now on (the call may fail; then we are only more careful).
    """
    if not (call.creds.no_new_privs or call.creds.capable_inside(CAP_SYS_ADMIN)):
        return Fail(EPERM)
    call.state = call.state.replace(confined=True)
    return CONTINUE
