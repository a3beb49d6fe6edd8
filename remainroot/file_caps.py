# SPDX-License-Identifier: GPL-2.0-or-later
"""Capabilities of a program file, and the extended attribute security.capability that holds them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class FileCaps(tuple[int, int, bool, int]):
    """Capabilities of a program file: (permitted, inheritable, effective, rootid): masks, flag, uid."""

    __slots__ = ()

    def __new__(cls, permitted: int, inheritable: int = 0, effective: bool = False, rootid: int = 0) -> Self:
        """Make one; by default for the root of this namespace."""
        return super().__new__(cls, (permitted, inheritable, effective, rootid))

    @property
    def permitted(self) -> int:
        """What the program gets, within the bounding set."""
        return self[0]

    @property
    def inheritable(self) -> int:
        """What it gets if the task has it inheritable."""
        return self[1]

    @property
    def effective(self) -> bool:
        """Whether all it gets is effective from the start; then the execve fails if it cannot get all."""
        return self[2]

    @property
    def rootid(self) -> int:
        """The uid that is root in the user namespace these are for."""
        return self[3]

    def with_root(self, rootid: int) -> Self:
        """The same for another."""
        return type(self)(self.permitted, self.inheritable, self.effective, rootid)


_REVISION_2, _REVISION_3 = 0x0200_0000, 0x0300_0000
_EFFECTIVE = 1


def for_root(raw: bytes, rootid: int) -> bytes:
    """The same capabilities for another root: of revision 2 where that is 0, else of 3."""
    flags = raw[0] & _EFFECTIVE
    if not rootid:
        return (_REVISION_2 | flags).to_bytes(4, "little") + raw[4:20]
    return (_REVISION_3 | flags).to_bytes(4, "little") + raw[4:20] + rootid.to_bytes(4, "little")


def parse_file_caps(raw: bytes) -> FileCaps | None:
    """Decode the extended attribute security.capability of capabilities(7): revisions 1, 2 and 3.

    None when it is not one; the kernel refuses to store that, and to execute a file with it (EINVAL).
    """
    words = [int.from_bytes(raw[at : at + 4], "little") for at in range(0, len(raw), 4)]
    revision = words[0] >> 24 if words else 0
    if len(raw) != {1: 12, 2: 20, 3: 24}.get(revision):
        return None
    permitted, inheritable = words[1], words[2]
    if revision > 1:
        permitted |= words[3] << 32
        inheritable |= words[4] << 32
    rootid = words[5] if revision == 3 else 0
    return FileCaps(permitted, inheritable, bool(words[0] & 1), rootid)
