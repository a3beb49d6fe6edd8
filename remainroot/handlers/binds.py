# SPDX-License-Identifier: GPL-2.0-or-later
"""Binds of mounts with others below them: mount(2) with MS_BIND, open_tree(2), umount2(2).

Mounts that were there before the user namespace are one unit to the kernel (mount_namespaces(7)): a bind without MS_REC
of one that others lie below is refused (EINVAL), for it would show what they cover. Real root has none such. Here these
come along, as the kernel allows with MS_REC. They are noted: to unmount the bind takes them away again, and to unmount
one of them alone does nothing.

Nor may what a bind with MS_REC brings along be unmounted (EINVAL). Here that succeeds and does nothing, once for each;
when all seem to be, the bind is not busy any more (EBUSY), and goes with them: as `umount --recursive` has it.
"""

from __future__ import annotations

import os
from errno import EBUSY, EINVAL, ENOTDIR
from stat import S_ISDIR, S_ISLNK

from remainroot.dispatch import CONTINUE, DONE, Fail, InstallFd, handles, has_bits
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
from remainroot.mount_contexts import WholeBind
from remainroot.namespaces import INITIAL
from remainroot.tracee import mountinfo_id, mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call, Outcome
    from remainroot.nodes import Nodes

_UMOUNT_EXPIRE, _UMOUNT_NOFOLLOW = 4, 8


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


def bind(call: Call, *, alone: bool) -> Outcome:
    """MS_BIND: where the kernel refuses it for what lies below, that is bound, too. Not `alone`: with MS_REC."""
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
        call.world.whole_binds[mount_id(tree)] = WholeBind(with_parts=not alone)
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
        hold(call.world.whole_binds, tree)
        tree = -1
    except OSError:
        return CONTINUE
    else:
        return InstallFd(given, cloexec=bool(flags & os.O_CLOEXEC))
    finally:
        for fd in (source, tree):
            if fd >= 0:
                os.close(fd)


def hold(binds: dict[int, WholeBind], tree: int) -> None:
    """Note a copy that is not attached yet, and keep it."""
    held = [bind for bind in binds.values() if bind.tree >= 0]
    if len(held) >= _MOST_HELD:
        held[0].let_go()
    binds[mount_id(tree)] = WholeBind(tree)


def _bind_around(call: Call, directory: int) -> int:
    """The bind that came with others and that a directory lies in, or in one of those; 0: none."""
    here = os.dup(directory)
    try:
        while True:
            mount, st = mount_id(here), os.fstat(here)
            if mount in call.world.whole_binds:
                return mount
            above = os.open("..", os.O_PATH | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = above
            if (mount_id(here), os.fstat(here).st_ino) == (mount, st.st_ino):
                return 0
    finally:
        os.close(here)


def _mounts(tid: int) -> dict[int, tuple[int, bytes]]:
    """Each mount's parent and its place, by number."""
    return {mount.number: (mount.parent, mount.place) for mount in mounts(f"/proc/{tid}/mountinfo")}


def _count_below(places: dict[int, tuple[int, bytes]], top: int) -> int:
    """How many lie below the mount `top`, at any depth."""
    found = last = {top}
    while last:
        last = {number for number, (parent, _) in places.items() if parent in last} - found
        found = found | last
    return len(found) - 1


def _next(places: dict[int, tuple[int, bytes]], number: int, unmounted: set[int]) -> int:
    """The mount that shows where `number` lies when the `unmounted` are thought away; 0: none is mounted there."""
    while number in unmounted:
        parent, place = places[number]
        if places.get(parent, (0, b""))[1] != place:
            return 0
        number = parent
    return number


def _unmount(call: Call, flags: int) -> Outcome:
    """Unmount what came with others below it with them, and one of these not at all."""
    if call.world.nodes is not None:
        _leave(call, call.world.nodes, flags)
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


def _leave(call: Call, nodes: Nodes, flags: int) -> None:
    """What is held of nodes on what is to be unmounted keeps it from that no longer."""
    try:
        place = call.world.files.resolve(call.tid, AT_FDCWD, call.path(0), follow=not flags & _UMOUNT_NOFOLLOW)
    except OSError:
        return
    mount = mount_id(place)
    os.close(place)
    nodes.leave(0 if flags & MNT_DETACH else mount)


def _unmount_at(call: Call, directory: int, name: bytes, flags: int) -> Outcome:
    world = call.world
    place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        number, listed, link = mount_id(place), mountinfo_id(place), S_ISLNK(os.fstat(place).st_mode)
    finally:
        os.close(place)  # while it is open the mount is busy
    if link or number == mount_id(directory):
        return CONTINUE
    bind = world.whole_binds.get(number)
    whole = bind is not None
    around = bind or world.whole_binds.get(_bind_around(call, directory))
    unmounted = None if around is None else around.unmounted
    if unmounted is not None:
        places = _mounts(call.tid)
        listed = _next(places, listed, unmounted)
        whole = whole and _count_below(places, listed) == len(unmounted)
    if around is None or not listed:
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
            elif unmounted is not None:
                unmounted.add(listed)

    call.check()
    if bind is not None:
        bind.let_go()
    try:
        inside(call.tid, MOUNT, act)
    except OSError as error:
        return Fail(error.errno or EINVAL)
    world.whole_binds.pop(number, None)
    return DONE


@handles("umount2")
def umount2(call: Call) -> Outcome:
    """umount2(2) of a bind that came with the mounts below it, or of one of those."""
    return _unmount(call, call.unsigned(1))


@handles("umount")
def umount(call: Call) -> Outcome:
    """As `umount2`, with no flags."""
    return _unmount(call, 0)
