# SPDX-License-Identifier: GPL-2.0-or-later
"""Owners kept in memory, for one run."""

from __future__ import annotations

from remainroot.store.base import Owner, Store, identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os


class MemoryStore(Store):
    """A dict by device and inode number.

    An entry is for the file that had the number when it was recorded, and no later one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._owners: dict[tuple[int, int], tuple[Owner, bytes]] = {}
        self._same: dict[Owner, Owner] = {}

    def get(self, fd: int, st: os.stat_result) -> Owner | None:
        """The override, if it was recorded for this very file."""
        key = (st.st_dev, st.st_ino)
        entry = self._owners.get(key)
        if entry is None:
            return None
        owner, known = entry
        if known != identity(fd):
            del self._owners[key]
            return None
        return owner

    def put(self, fd: int, st: os.stat_result, owner: Owner) -> None:
        """Record the override; equal owners are kept once."""
        owner = self._same.setdefault(owner, owner)
        self.note(st, owner)
        self._owners[st.st_dev, st.st_ino] = (owner, identity(fd))

    def forget(self, fd: int, st: os.stat_result) -> None:
        """Remove the override."""
        del fd
        self._owners.pop((st.st_dev, st.st_ino), None)
