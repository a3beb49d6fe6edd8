# SPDX-License-Identifier: GPL-2.0-or-later
"""What changes the shape of the tree: new tasks, other roots and namespaces, self-confinement."""

from __future__ import annotations

from errno import EPERM

from remainroot import quick
from remainroot.credentials import CAP_SYS_ADMIN
from remainroot.dispatch import CONTINUE, Fail, handles, has_bits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remainroot.dispatch import Call, Outcome

_CLONE_NEWNS = 0x0002_0000
_CLONE_THREAD = 0x0001_0000


@handles("clone", when=has_bits(0, _CLONE_NEWNS, _CLONE_THREAD), quick=quick.fork(0, _CLONE_NEWNS))
def clone(call: Call) -> Outcome:
    """clone(2) of a thread, or into another mount namespace.

    A plain fork is not caught: programs do not expect it to be interrupted by a signal, as a call that waits for an
    answer can be; and a child needs nothing of us (see remainroot.tasks).
    """
    if call.ptr(0) & _CLONE_NEWNS:
        call.world.files.roots_differ = True
    call.world.tasks.cloning(call.tid)
    return CONTINUE


@handles("clone3", quick=quick.fork(0, _CLONE_NEWNS, indirect=True))
def clone3(call: Call) -> Outcome:
    """clone3: as clone, its flags in memory."""
    tasks, files = call.world.tasks, call.world.files
    if not files.roots_differ:
        try:
            flags = int.from_bytes(call.read(call.ptr(0), 8), "little")
        except OSError:
            return CONTINUE
        if flags & _CLONE_NEWNS:
            files.roots_differ = True
    tasks.cloning(call.tid)
    return CONTINUE


@handles("chroot", "pivot_root", "setns")
def new_root(call: Call) -> Outcome:
    """chroot(2), pivot_root(2), setns(2): from now on a task's root may be another than ours."""
    call.world.files.roots_differ = True
    return CONTINUE


@handles("unshare", when=has_bits(0, _CLONE_NEWNS))
def unshare(call: Call) -> Outcome:
    """unshare(2) of the mount namespace."""
    call.world.files.roots_differ = True
    return CONTINUE


@handles("landlock_restrict_self")
def landlock_restrict_self(call: Call) -> Outcome:
    """landlock_restrict_self(2): EPERM without CAP_SYS_ADMIN or no_new_privs, before anything is looked at.

    This task makes its files itself from now on (the call may fail; then we are only more careful).
    """
    if not (call.creds.no_new_privs or call.creds.capable(CAP_SYS_ADMIN)):
        return Fail(EPERM)
    call.state = call.state.replace(confined=True)
    return CONTINUE
