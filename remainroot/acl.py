# SPDX-License-Identifier: GPL-2.0-or-later
"""POSIX access control lists as the extended attributes system.posix_acl_access and _default hold them (acl(5)).

A list is a version and entries of tag, permissions and id. One without named users and groups and without mask says
what the mode bits say. One that names ids which the user namespace does not map is refused by the kernel: it is split
here into the part the kernel can take (`skeleton`), which keeps mode bits, umask and inheritance in step, and the
names, which are put back when the list is read (`merged`).
"""

from __future__ import annotations

from _struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

ACCESS: Final = "system.posix_acl_access"
DEFAULT: Final = "system.posix_acl_default"
NAMES: Final = (ACCESS, DEFAULT)

_VERSION: Final = 2
_HEADER: Final = Struct("<I")
_ENTRY: Final = Struct("<HHI")
USER_OBJ: Final = 0x01
USER: Final = 0x02
GROUP_OBJ: Final = 0x04
GROUP: Final = 0x08
MASK: Final = 0x10
OTHER: Final = 0x20
_ORDER: Final = (USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER)

Entry = tuple[int, int, int]
"""Tag, permissions, id."""


def parse(raw: bytes) -> list[Entry] | None:
    """The entries, or None for what does not even look like a list (the kernel says which errno that is)."""
    if len(raw) < _HEADER.size or (len(raw) - _HEADER.size) % _ENTRY.size or _HEADER.unpack_from(raw)[0] != _VERSION:
        return None
    entries = list(_ENTRY.iter_unpack(raw[_HEADER.size :]))
    return entries if all(tag in _ORDER for tag, _, _ in entries) else None


def is_valid(entries: list[Entry]) -> bool:
    """acl_valid(3), and in the order the kernel wants: by tag, one of each but for names, a mask if there are names.

    Unlike the library, the kernel lets two entries name the same id.
    """
    tags = [tag for tag, _, _ in entries]
    if any(perm & ~7 for _, perm, _ in entries):
        return False
    if [_ORDER.index(tag) for tag in tags] != sorted(_ORDER.index(tag) for tag in tags):
        return False
    if any(tags.count(tag) != 1 for tag in (USER_OBJ, GROUP_OBJ, OTHER)) or tags.count(MASK) > 1:
        return False
    return MASK in tags or not (USER in tags or GROUP in tags)


def pack(entries: list[Entry]) -> bytes:
    """The bytes of a list."""
    return _HEADER.pack(_VERSION) + b"".join(_ENTRY.pack(*entry) for entry in entries)


def named(entries: list[Entry]) -> list[Entry]:
    """The entries that name a user or group."""
    return [entry for entry in entries if entry[0] in (USER, GROUP)]


def translated(entries: list[Entry], uids: Callable[[int], int], gids: Callable[[int], int]) -> list[Entry]:
    """The entries with the ids of who is named as another user namespace has them."""
    of = {USER: uids, GROUP: gids}
    return [(tag, perm, of[tag](number) if tag in of else number) for tag, perm, number in entries]


def skeleton(entries: list[Entry]) -> list[Entry]:
    """The entries that name nobody."""
    return [entry for entry in entries if entry[0] not in (USER, GROUP)]


def merged(kept: list[Entry], current: list[Entry]) -> list[Entry]:
    """`kept` with the permissions of `current` (its skeleton as it is now) where that has the entry."""
    now = {tag: perm for tag, perm, _ in current}
    return [(tag, perm if tag in (USER, GROUP) else now.get(tag, perm), number) for tag, perm, number in kept]


def mode_of(entries: list[Entry]) -> int:
    """The nine permission bits that go with an access list: the group's are the mask's where there is one."""
    perms = {tag: perm for tag, perm, _ in entries}
    return perms[USER_OBJ] << 6 | perms.get(MASK, perms[GROUP_OBJ]) << 3 | perms[OTHER]


def of_mode(entries: list[Entry], mode: int) -> list[Entry]:
    """`entries` after a chmod to `mode`."""
    group = MASK if any(tag == MASK for tag, _, _ in entries) else GROUP_OBJ
    now = {USER_OBJ: mode >> 6 & 7, group: mode >> 3 & 7, OTHER: mode & 7}
    return [(tag, now.get(tag, perm), number) for tag, perm, number in entries]
