# SPDX-License-Identifier: GPL-2.0-or-later
"""User namespaces that tasks make inside: user_namespaces(7), as values and rules; no process needed.

Ids are kept, everywhere else, as the first namespace has them, in which CMD began (`INITIAL`): the kernel's way, whose
kuid_t this is. What a task names is translated by the map of its namespace on the way in, what it is shown on the way
out. To the kernel the namespace is a real one, whose root may do there what a namespace's root may; but it maps the one
id there is, so what it is told of ids is said here.
"""

from __future__ import annotations

from errno import EINVAL, EPERM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final, NoReturn

    Extent = tuple[int, int, int]

NO_ID: Final = 0xFFFF_FFFF
"""-1 as uid_t or gid_t: no id, in any namespace."""
OVERFLOW: Final = 65534
"""What is shown for an id that a namespace does not map: proc(5), /proc/sys/kernel/overflowuid."""
MOST_EXTENTS: Final = 340
_MOST_TEXT: Final = 4096


def _invalid() -> NoReturn:
    raise OSError(EINVAL, "Invalid argument")


class IdMap:
    """Which ids a namespace has, and what they are outside: extents (first inside, first outside, how many)."""

    __slots__ = ("extents",)

    def __init__(self, extents: Sequence[Extent] = ()) -> None:
        self.extents = tuple(extents)

    def down(self, number: int, count: int = 1) -> int:
        """What the id `number` (and `count` of them from there) is outside; NO_ID if that is not mapped as a whole."""
        for first, outside, size in self.extents:
            if first <= number and number + count <= first + size:
                return outside + number - first
        return NO_ID

    def up(self, number: int) -> int:
        """What the id `number` of outside is called inside; NO_ID if it is not mapped."""
        for first, outside, size in self.extents:
            if outside <= number < outside + size:
                return first + number - outside
        return NO_ID

    def shown(self, number: int) -> int:
        """As `up`, for one who has to be told something."""
        found = self.up(number)
        return OVERFLOW if found == NO_ID else found

    def named(self, number: int) -> int:
        """As `down`, of an argument: OSError(EINVAL) if there is no such id; NO_ID, which is none, stays what it is."""
        found = self.down(number) if number != NO_ID else NO_ID
        if found == NO_ID != number:
            _invalid()
        return found


class _EveryId(IdMap):
    """The first namespace's, which is asked most: every id, as it is."""

    __slots__ = ()

    def down(self, number: int, count: int = 1) -> int:
        """Itself."""
        return number if number + count <= NO_ID else NO_ID

    def up(self, number: int) -> int:
        """Itself."""
        return number

    shown = named = up


def parse_map(text: bytes) -> list[Extent]:
    """The lines of an id map as they are written: proc_pid_uid_map(5). OSError(EINVAL) if the kernel took none such."""
    if len(text) >= _MOST_TEXT:
        _invalid()
    lines = text.split(b"\0", 1)[0].split(b"\n")
    if not lines[-1]:
        lines.pop()
    extents: list[Extent] = []
    for line in lines:
        words = line.split()
        if len(words) != 3 or not all(word.isdigit() for word in words):
            _invalid()
        # The kernel lets what is above 32 bits fall.
        first, outside, count = (int(word) & NO_ID for word in words)
        past = max(first, outside) + count
        if not count or past > NO_ID or any(_overlap(extent, (first, outside, count)) for extent in extents):
            _invalid()
        extents.append((first, outside, count))
    if not 0 < len(extents) <= MOST_EXTENTS:
        _invalid()
    return extents


def _overlap(one: Extent, other: Extent) -> bool:
    return any(one[side] < other[side] + other[2] and other[side] < one[side] + one[2] for side in (0, 1))


class Namespace:
    """One user namespace: who made it, and which ids are in it. It is itself and no other, as the kernel's is.

    `owner` is the effective user id of who made it, as the first namespace has it; None, like `parent`, of the first.
    `may_map_root`: its owner had CAP_SETFCAP, so that it may itself map the parent's root.
    """

    __slots__ = ("gids", "may_map_root", "owner", "parent", "setgroups", "uids")

    def __init__(self, parent: Namespace | None, owner: int | None, *, may_map_root: bool = True) -> None:
        self.parent = parent
        self.owner = owner
        self.may_map_root = may_map_root
        self.uids = IdMap()
        self.gids = IdMap()
        self.setgroups: bool = parent is None or parent.setgroups
        """Whether setgroups(2) is allowed, as soon as there are groups."""

    def __reduce__(self) -> str | tuple[object, ...]:
        if self.parent is None:
            return "INITIAL"
        return _copy, (self.parent, self.owner, self.may_map_root, self.uids, self.gids, self.setgroups)

    @property
    def root(self) -> int:
        """The id of its root; NO_ID while it has none."""
        return self.uids.down(0)

    def maps(self, uid: int, gid: int) -> bool:
        """Whether both ids are in it."""
        return self.uids.up(uid) != NO_ID and self.gids.up(gid) != NO_ID

    def owns(self, uid: int) -> bool:
        """Whether `uid` is root here, or in a namespace around it: whose file capabilities count (capabilities(7))."""
        space: Namespace | None = self
        while space is not None:
            if space.uids.up(uid) == 0:
                return True
            space = space.parent
        return False

    def is_within(self, other: Namespace) -> bool:
        """Whether it is `other`, or was made in it."""
        space: Namespace | None = self
        while space is not None and space is not other:
            space = space.parent
        return space is not None

    def put_map(self, kind: str, extents: Sequence[Extent]) -> None:
        """Set the map of `kind` ("uids", "gids"), whose outside ids are those of the parent.

        OSError(EPERM) if there is one already, or where the parent has no such ids.
        """
        assert self.parent is not None
        if getattr(self, kind).extents:
            raise OSError(EPERM, "Operation not permitted")
        around: IdMap = getattr(self.parent, kind)
        known = [(first, around.down(outside, count), count) for first, outside, count in extents]
        if any(outside == NO_ID for _, outside, _ in known):
            raise OSError(EPERM, "Operation not permitted")
        setattr(self, kind, IdMap(known))


def _copy(
    parent: Namespace, owner: int, may_map_root: bool, uids: IdMap, gids: IdMap, setgroups: bool
) -> Namespace:
    """What a copy is made with."""
    made = Namespace(parent, owner, may_map_root=may_map_root)
    made.uids, made.gids, made.setgroups = uids, gids, setgroups
    return made


INITIAL: Final = Namespace(None, None)
"""The one in which CMD began, with every id."""
INITIAL.uids = INITIAL.gids = _EveryId([(0, 0, NO_ID)])
