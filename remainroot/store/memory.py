# SPDX-License-Identifier: GPL-2.0-or-later
"""Owners kept in memory, for one run."""

from __future__ import annotations

from remainroot.kernel import compiled
from remainroot.store.base import Owner, Store, identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

    from remainroot._fast import Keys, Owners

    Key = tuple[int, int]


class MemoryStore(Store):
    """A dict by device and inode number.

    An entry is for the file that had the number when it was recorded, and no later one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._owners: dict[Key, tuple[Owner, bytes]] = {}
        self._same: dict[Owner, Owner] = {}
        self._attributes: dict[Key, tuple[dict[str, bytes], bytes]] = {}

    def watched_by(self, keys: Keys) -> bool:
        """As in Store: no other writes here."""
        super().watched_by(keys)
        for dev, ino in (*self._owners, *self._attributes):
            keys.add(dev, ino)
        return True

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
        self.drop(st.st_dev, st.st_ino)

    def drop(self, dev: int, ino: int) -> None:
        """Remove the override of whatever file has, or had, this number."""
        self._owners.pop((dev, ino), None)

    def attributes(self, fd: int, st: os.stat_result) -> dict[str, bytes]:
        """What is kept for this very file."""
        key = (st.st_dev, st.st_ino)
        entry = self._attributes.get(key)
        if entry is None:
            return {}
        kept, known = entry
        if known != identity(fd):
            del self._attributes[key]
            return {}
        return kept

    def put_attribute(self, fd: int, st: os.stat_result, name: str, value: bytes) -> None:
        """Keep one."""
        kept = self.attributes(fd, st)
        self.no_attributes = False
        self.note_key(st)
        self._attributes[st.st_dev, st.st_ino] = (kept | {name: value}, identity(fd))

    def forget_attribute(self, fd: int, st: os.stat_result, name: str) -> None:
        """Remove one."""
        kept = self.attributes(fd, st)
        if name in kept:
            left = {key: value for key, value in kept.items() if key != name}
            if left:
                self._attributes[st.st_dev, st.st_ino] = (left, identity(fd))
            else:
                del self._attributes[st.st_dev, st.st_ino]


class TableStore(MemoryStore):
    """The same in a table of the compiled module, which takes less memory and which its loop reads and writes.

    Only where there is a compiled module.
    """

    def __init__(self) -> None:
        super().__init__()
        self._table: Owners = compiled.Owners()
        self.table = self._table

    def watched_by(self, keys: Keys) -> bool:
        """As in Store: the keys are of files with attributes alone."""
        return super().watched_by(keys)

    def get(self, fd: int, st: os.stat_result) -> Owner | None:
        """The override, if it was recorded for this very file."""
        key = (st.st_dev, st.st_ino)
        found = self._table.get(*key)
        if found is None:
            return None
        if not self._table.is_of(*key, identity(fd)):
            self._table.remove(*key)
            return None
        return Owner(*found)

    def put(self, fd: int, st: os.stat_result, owner: Owner) -> None:
        """Record the override."""
        self.note(st, owner)
        self._table.put(st.st_dev, st.st_ino, identity(fd), owner.uid, owner.gid, owner.mode, owner.rdev)

    def drop(self, dev: int, ino: int) -> None:
        """As in MemoryStore."""
        self._table.remove(dev, ino)


def memory_store() -> Store:
    """The best of the two."""
    return MemoryStore() if compiled is None else TableStore()
