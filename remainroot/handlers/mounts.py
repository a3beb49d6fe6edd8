# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose the root of a file system in memory is, that a task mounts: mount(2), tmpfs(5). And binds of one mount alone.

Who mounts one owns its root, unless the options name another (uid=, gid=); a fake user may do it in a user namespace of
its own. To the kernel all are one user, and it takes no id that the namespace does not map: those in the task's options
are exchanged for 0 for as long as the call takes. What is mounted, and whether it may be, is the kernel's business, and
with `--strict` that of `remainroot.handlers.strict_mounts`.

Mounts that were there before the user namespace are one unit to the kernel (mount_namespaces(7)): a bind without MS_REC
of one that others lie below is refused (EINVAL), for it would show what they cover. Real root has none such. Here these
come along, as the kernel allows with MS_REC. They are noted: to unmount the bind takes them away again, and to unmount
one of them alone does nothing.
"""

from __future__ import annotations

import os
from errno import EBUSY, EINVAL, ENOTDIR
from stat import S_ISDIR, S_ISLNK

from remainroot.credentials import KEEP
from remainroot.dispatch import CONTINUE, DONE, Fail, InstallFd, Lend, handles, has_bits
from remainroot.elsewhere import MOUNT, Elsewhere, inside
from remainroot.kernel import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    AT_SYMLINK_NOFOLLOW,
    MNT_DETACH,
    attach_mount,
    copy_mount,
    mount_id,
    unmount,
)
from remainroot.namespaces import INITIAL
from remainroot.store.base import Owner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call, Outcome

_IN_MEMORY: Final = (b"tmpfs", b"ramfs", b"mqueue")
_REMOUNT, _BIND, _MOVE, _REC = 0x20, 0x1000, 0x2000, 0x4000
_NOT_NEW: Final = _BIND | _MOVE | 1 << 17 | 1 << 18 | 1 << 19 | 1 << 20
"""MS_BIND, MS_MOVE, and the kinds of propagation; MS_REMOUNT has options, too."""
_WITH_IDS: Final = (b"tmpfs", b"devpts")
"""Of these the options may name whose they are: the root of a tmpfs, the terminals of a devpts."""
_ID: Final = rb"(?:^|,)([ug])id=(0[xX][0-9a-fA-F]+|[0-9]+)(?=,|$)"
_UMOUNT_EXPIRE, _UMOUNT_NOFOLLOW = 4, 8


@handles("fsmount")
def fsmount(call: Call) -> Outcome:
    """fsmount(2) of a new file system: as with mount, if it is one in memory."""
    call.world.mounted()
    creds = call.creds
    if creds.fsuid or creds.fsgid:
        call.world.births.expect_root(call.tid, Owner(creds.fsuid, creds.fsgid))
    return CONTINUE


@handles("mount")
def mount(call: Call) -> Outcome:
    """mount(2): a new file system in memory is the caller's, or another's by its options; of binds see `_bind`."""
    creds = call.creds
    flags = call.ptr(3)
    if flags & (_BIND | _REC | _REMOUNT) == _BIND:
        return _bind(call)
    if flags & _NOT_NEW or not call.ptr(2):
        return CONTINUE
    call.world.mounted()
    if creds.fsuid == 0 and creds.fsgid == 0 and not call.ptr(4):
        return CONTINUE
    try:
        kind = call.path(2)
        options = call.path(4) if kind in _WITH_IDS and call.ptr(4) else b""
    except OSError:
        return CONTINUE  # the kernel will say so
    uid, gid, zeros = creds.fsuid, creds.fsgid, options
    if b"id=" in options:
        uid, gid, zeros = _named(options, uid, gid)
    outcome: Outcome = CONTINUE
    if zeros != options and creds.namespace is INITIAL and KEEP not in (uid, gid):
        outcome = _exchange(call, options, zeros)
    if kind == b"devpts" and not flags & _REMOUNT and creds.namespace is INITIAL:
        _note_terminals(call, options)
    if kind in _IN_MEMORY and not flags & _REMOUNT and (uid or gid):
        try:
            directory, name = call.world.files.parent(call.tid, AT_FDCWD, call.path(1).rstrip(b"/"))
            call.world.births.expect(call.tid, directory, name, Owner(uid, gid), mounted=True)
        except OSError:
            pass  # the same
    return outcome


def _note_terminals(call: Call, options: bytes) -> None:
    """Whose new terminals on this devpts will be, for `remainroot.handlers.terminals`, once it is there."""
    world = call.world
    uid, gid, _ = _named(options, KEEP, KEEP) if b"id=" in options else (KEEP, KEEP, b"")
    if (uid, gid) == (KEEP, KEEP) and not world.devpts:
        return

    def note(st: os.stat_result) -> None:
        world.devpts[st.st_dev] = uid, gid

    try:
        directory, name = world.files.parent(call.tid, AT_FDCWD, call.path(1).rstrip(b"/"))
        world.births.expect(call.tid, directory, name, Owner(0, 0), mounted=True, then=note)
    except OSError:
        pass  # the kernel will say so


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


def _exchange(call: Call, options: bytes, zeros: bytes) -> Outcome:
    """Have the kernel find each id to be 0; not where the task may not write to its options itself."""
    try:
        call.write(call.ptr(4), zeros)
    except OSError:
        return CONTINUE
    return Lend({call.ptr(4): options}, waits=False)


def _copy_whole(call: Call, source: int) -> int:
    """A detached copy of this mount with all below it, where the kernel gives none of it alone; otherwise -1."""
    if call.creds.namespace is not INITIAL:
        return -1

    def copy() -> int:
        try:
            os.close(copy_mount(source))
        except OSError as error:
            return copy_mount(source, AT_RECURSIVE) if error.errno == EINVAL else -1
        return -1

    try:
        return inside(call.tid, MOUNT, copy)
    except (OSError, Elsewhere):
        return -1


def _bind(call: Call) -> Outcome:
    """MS_BIND: where the kernel refuses it for what lies below, that is bound, too."""
    files = call.world.files
    opened = []
    try:
        opened += [files.resolve(call.tid, AT_FDCWD, call.path(0))]
        opened += [files.resolve(call.tid, AT_FDCWD, call.path(1))]
        source, target = opened
        tree = _copy_whole(call, source)
        if tree < 0:
            return CONTINUE
        opened += [tree]
        if S_ISDIR(os.stat(source).st_mode) != S_ISDIR(os.stat(target).st_mode):
            return Fail(ENOTDIR)
        call.check()
        inside(call.tid, MOUNT, lambda: attach_mount(tree, target))
        call.world.whole_binds[mount_id(tree)] = -1
    except (OSError, Elsewhere):
        return CONTINUE
    else:
        return DONE
    finally:
        for fd in opened:
            os.close(fd)


_CLONE: Final = 1
_FLAGS: Final = _CLONE | os.O_CLOEXEC | AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | 0x800
"""All but AT_RECURSIVE; 0x800: AT_NO_AUTOMOUNT."""
_MOST_HELD: Final = 64


@handles("open_tree", when=has_bits(2, _CLONE))
def open_tree(call: Call) -> Outcome:
    """open_tree(2) with OPEN_TREE_CLONE: as MS_BIND, for who calls move_mount(2) next.

    What the kernel gives is a descriptor with O_PATH, which cannot be handed over; an ordinary one of the copy's root
    can. It does not keep the copy, so ours is kept until it is unmounted again, or there are too many.
    """
    flags = call.unsigned(2)
    if flags & ~_FLAGS:
        return CONTINUE
    source = tree = -1
    try:
        path = call.path(1)
        files = call.world.files
        if path:
            follow = not flags & AT_SYMLINK_NOFOLLOW
            source = files.resolve(call.tid, call.signed(0), path, follow=follow)
        elif flags & AT_EMPTY_PATH:
            source = files.base(call.tid, call.signed(0))
        tree = _copy_whole(call, source) if source >= 0 else -1
        if tree < 0:
            return CONTINUE
        given = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)
        _hold(call.world.whole_binds, tree)
        tree = -1
    except OSError:
        return CONTINUE
    else:
        return InstallFd(given, cloexec=bool(flags & os.O_CLOEXEC))
    finally:
        for fd in (source, tree):
            if fd >= 0:
                os.close(fd)


def _hold(binds: dict[int, int], tree: int) -> None:
    """Note a copy that is not attached yet, and keep it."""
    held = [number for number, fd in binds.items() if fd >= 0]
    if len(held) >= _MOST_HELD:
        _let_go(binds, held[0])
    binds[mount_id(tree)] = tree


def _let_go(binds: dict[int, int], number: int) -> None:
    if binds.get(number, -1) >= 0:
        os.close(binds[number])
        binds[number] = -1


def _is_below_one(call: Call, directory: int) -> bool:
    """Whether a directory lies in a mount that came with others, or in one of those."""
    here = os.dup(directory)
    try:
        while True:
            mount, st = mount_id(here), os.fstat(here)
            if mount in call.world.whole_binds:
                return True
            above = os.open("..", os.O_PATH | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = above
            if (mount_id(here), os.fstat(here).st_ino) == (mount, st.st_ino):
                return False
    finally:
        os.close(here)


def _unmount(call: Call, flags: int) -> Outcome:
    """Unmount what came with others below it with them, and one of these not at all."""
    if not call.world.whole_binds or flags & _UMOUNT_EXPIRE:
        return CONTINUE
    directory = -1
    try:
        directory, name = call.world.files.parent(call.tid, AT_FDCWD, call.path(0).rstrip(b"/"))
        return _unmount_at(call, directory, name, flags | _UMOUNT_NOFOLLOW)
    except (OSError, Elsewhere):
        return CONTINUE
    finally:
        if directory >= 0:
            os.close(directory)


def _unmount_at(call: Call, directory: int, name: bytes, flags: int) -> Outcome:
    place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        number, link = mount_id(place), S_ISLNK(os.fstat(place).st_mode)
    finally:
        os.close(place)  # while it is open the mount is busy
    whole = number in call.world.whole_binds
    if link or number == mount_id(directory) or not (whole or _is_below_one(call, directory)):
        return CONTINUE

    def act() -> None:
        os.fchdir(directory)
        try:
            unmount(name, flags)
        except OSError as error:
            if error.errno == EBUSY and whole:
                unmount(name, flags | MNT_DETACH)
            elif error.errno != EINVAL:
                raise

    call.check()
    _let_go(call.world.whole_binds, number)
    try:
        inside(call.tid, MOUNT, act)
    except OSError as error:
        return Fail(error.errno or EINVAL)
    call.world.whole_binds.pop(number, None)
    return DONE


@handles("umount2")
def umount2(call: Call) -> Outcome:
    """umount2(2) of a bind that came with the mounts below it, or of one of those."""
    return _unmount(call, call.unsigned(1))


@handles("umount")
def umount(call: Call) -> Outcome:
    """As `umount2`, with no flags."""
    return _unmount(call, 0)
