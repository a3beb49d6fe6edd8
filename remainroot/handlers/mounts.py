# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose the root of a file system in memory is, that a task mounts: mount(2), tmpfs(5).

Who mounts one owns its root, unless the options name another (uid=, gid=); a fake user may do it in a user namespace of
its own. To the kernel all are one user, and it takes no id that the namespace does not map: those in the task's options
are exchanged for 0 for as long as the call takes. What is mounted, and whether it may be, is the kernel's business, and
with `--strict` that of `remainroot.handlers.strict_mounts`.
"""

from __future__ import annotations

from remainroot import beforehand
from remainroot.credentials import KEEP
from remainroot.dispatch import CONTINUE, Lend, handles
from remainroot.handlers.binds import bind
from remainroot.kernel import AT_FDCWD, overwrite
from remainroot.namespaces import INITIAL
from remainroot.store.base import Owner

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from typing import Final

    from remainroot.dispatch import Call, Outcome

_IN_MEMORY: Final = (b"tmpfs", b"ramfs", b"mqueue")
_REMOUNT, _BIND, _MOVE, _REC = 0x20, 0x1000, 0x2000, 0x4000
_NOT_NEW: Final = _BIND | _MOVE | 1 << 17 | 1 << 18 | 1 << 19 | 1 << 20
"""MS_BIND, MS_MOVE, and the kinds of propagation; MS_REMOUNT has options, too."""
_WITH_IDS: Final = (b"tmpfs", b"devpts")
"""Of these the options may name whose they are: the root of a tmpfs, the terminals of a devpts."""
_ID: Final = rb"(?:^|,)([ug])id=(0[xX][0-9a-fA-F]+|[0-9]+)(?=,|$)"


@handles("fsopen")
def fsopen(call: Call) -> Outcome:
    """fsopen(2): as with mount; of a file system of the kernel's own, which is bound instead, a file stands for it."""
    kind = call.path(0)
    if kind in _WITH_IDS:
        contexts = call.world.named_ids
        if len(contexts) >= _MOST_CONTEXTS:
            contexts.clear()
        contexts[call.tid] = kind, KEEP, KEEP
        return CONTINUE
    from remainroot.handlers.kernel_mounts import open_context  # rarely needed

    return open_context(call, kind)


_SET_STRING: Final = 1
_MOST_CONTEXTS: Final = 64


@handles("fsconfig")
def fsconfig(call: Call) -> Outcome:
    """fsconfig(2): of such a file; ids (uid=, gid=) as with mount, of what the task itself has opened last."""
    world = call.world
    if world.mount_contexts:
        from remainroot.handlers.kernel_mounts import configure

        outcome = configure(call)
        if outcome is not CONTINUE:
            return outcome
    named = world.named_ids.get(call.tid)
    if named is None or call.unsigned(1) != _SET_STRING or call.creds.namespace is not INITIAL:
        return CONTINUE
    key, value = call.path(2), call.path(3)
    if key not in (b"uid", b"gid") or b"," in value:
        return CONTINUE
    uid, gid, zeros = _named(key + b"=" + value, KEEP, KEEP)
    number = uid if key == b"uid" else gid
    if number == KEEP:
        return CONTINUE  # the kernel will say so
    kind, *ids = named
    ids[key == b"gid"] = number
    world.named_ids[call.tid] = kind, ids[0], ids[1]
    zero = zeros.partition(b"=")[2]
    return CONTINUE if zero == value else _exchange(call, call.ptr(3), value, zero)


@handles("fsmount")
def fsmount(call: Call) -> Outcome:
    """fsmount(2) of a new file system: as with mount, if it is one in memory."""
    world, creds = call.world, call.creds
    world.mounted()
    if world.mount_contexts:
        from remainroot.handlers.kernel_mounts import mount_context

        found = mount_context(call)
        if found is not None:
            return found
    kind, uid, gid = world.named_ids.get(call.tid, (b"", KEEP, KEEP))
    if kind == b"devpts":
        if (uid, gid) != (KEEP, KEEP) or world.devpts:
            world.births.expect_root(call.tid, Owner(0, 0), _noting(call, uid, gid))
        return CONTINUE
    uid = creds.fsuid if uid == KEEP else uid
    gid = creds.fsgid if gid == KEEP else gid
    if uid or gid:
        world.births.expect_root(call.tid, Owner(uid, gid))
    return CONTINUE


@handles("move_mount")
def move_mount(call: Call) -> Outcome:
    """move_mount(2): the last call before the descriptor of a new file system is closed, by which its root is known."""
    beforehand.read(call.tid)
    return CONTINUE


@handles("mount")
def mount(call: Call) -> Outcome:
    """mount(2): a new file system in memory is the caller's, or another's by its options; of binds see `bind`."""
    beforehand.read(call.tid)
    creds = call.creds
    flags = call.ptr(3)
    if flags & (_BIND | _REMOUNT) == _BIND:
        return bind(call, alone=not flags & _REC)
    if flags & _NOT_NEW or not call.ptr(2):
        return CONTINUE
    call.world.mounted()
    try:
        kind = call.path(2)
        options = call.path(4) if call.ptr(4) else b""
    except OSError:
        return CONTINUE  # the kernel will say so
    if kind not in _WITH_IDS:
        instead = CONTINUE if flags & _REMOUNT else _of_the_kernel(call, kind, options)
        if instead is not CONTINUE:
            return instead
        options = b""
    if creds.fsuid == 0 and creds.fsgid == 0 and not options:
        return CONTINUE
    uid, gid, zeros = creds.fsuid, creds.fsgid, options
    if b"id=" in options:
        uid, gid, zeros = _named(options, uid, gid)
    outcome: Outcome = CONTINUE
    if zeros != options and creds.namespace is INITIAL and KEEP not in (uid, gid):
        outcome = _exchange(call, call.ptr(4), options, zeros)
    if kind == b"devpts" and not flags & _REMOUNT and creds.namespace is INITIAL:
        _note_terminals(call, options)
    if kind in _IN_MEMORY and not flags & _REMOUNT and (uid or gid):
        try:
            directory, name = call.world.files.parent(call.tid, AT_FDCWD, call.path(1).rstrip(b"/"))
            call.world.births.expect(call.tid, directory, name, Owner(uid, gid), mounted=True)
        except OSError:
            pass  # the same
    return outcome


def _of_the_kernel(call: Call, kind: bytes, options: bytes) -> Outcome:
    from remainroot.handlers.kernel_mounts import bind_instead  # rarely needed

    return bind_instead(call, kind, options)


def _note_terminals(call: Call, options: bytes) -> None:
    """Whose new terminals on this devpts will be, for `remainroot.handlers.terminals`, once it is there."""
    world = call.world
    uid, gid, _ = _named(options, KEEP, KEEP) if b"id=" in options else (KEEP, KEEP, b"")
    if (uid, gid) == (KEEP, KEEP) and not world.devpts:
        return

    try:
        directory, name = world.files.parent(call.tid, AT_FDCWD, call.path(1).rstrip(b"/"))
        world.births.expect(call.tid, directory, name, Owner(0, 0), mounted=True, then=_noting(call, uid, gid))
    except OSError:
        pass  # the kernel will say so


def _noting(call: Call, uid: int, gid: int) -> Callable[[os.stat_result], None]:
    """Notes a devpts that is told by its status as one whose new terminals are theirs."""
    devpts = call.world.devpts

    def note(st: os.stat_result) -> None:
        devpts[st.st_dev] = uid, gid

    return note


def _named(options: bytes, uid: int, gid: int) -> tuple[int, int, bytes]:
    """The ids that the options name last, or else these; and the options with each of them 0."""
    import re

    ids = {b"u": uid, b"g": gid}

    def replace(match: re.Match[bytes]) -> bytes:
        ids[match[1]] = _number(match[2])
        return match[0][: match.start(2) - match.start()] + b"0" * len(match[2])

    zeros = re.sub(_ID, replace, options)
    return ids[b"u"], ids[b"g"], zeros


def _number(text: bytes) -> int:
    """An id as the kernel reads it: octal, if it begins with 0; `KEEP` for what is none."""
    try:
        number = int(text, 16 if text[:2] in (b"0x", b"0X") else 8 if text[:1] == b"0" else 10)
    except ValueError:
        return KEEP
    return min(number, KEEP)


def _exchange(call: Call, address: int, options: bytes, zeros: bytes) -> Outcome:
    """Have the kernel find each id to be 0; not in memory that is others', too, and that the task may not write to."""
    try:
        overwrite(call.tid, address, zeros)
    except OSError:
        return CONTINUE
    return Lend({address: options}, waits=False)
