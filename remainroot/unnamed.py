# SPDX-License-Identifier: GPL-2.0-or-later
"""Pipes and sockets without a name: whose they are is kept for this run alone, for they last no longer (pipe(7)).

Who makes one is seen of pipes with `--strict`, where it decides who may open them anew. Of others it is not known.
"""

from __future__ import annotations

import os
from stat import S_IFIFO, S_IFMT, S_IFSOCK, S_ISFIFO

from remainroot.kernel import PIPEFS_MAGIC, SOCKFS_MAGIC, fs_type
from remainroot.store.memory import MemoryStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.store.base import Owner, Store

_MOST: Final = 1 << 16


def is_unnamed(fd: int, st: os.stat_result) -> bool:
    """Whether the file behind `fd` is one of these."""
    return S_IFMT(st.st_mode) in (S_IFIFO, S_IFSOCK) and fs_type(fd) in (PIPEFS_MAGIC, SOCKFS_MAGIC)


class Unnamed:
    """Whose they are, as far as they are not root's: of those that tasks made the oldest are forgotten first."""

    def __init__(self, store: Store, *, strict: bool) -> None:
        self.store = store if isinstance(store, MemoryStore) else MemoryStore()
        """Where an owner of one is kept."""
        self.socket_makers: set[int] = set()
        """The users, but root, who have made a socket, as far as was seen: with `--strict` all who have not got theirs
        by accept(2) alone."""
        self._strict = self._all_seen = strict
        """There is no pipe whose maker is not known."""
        self._made: dict[tuple[int, int], None] = {}

    def made(self, fd: int, owner: Owner) -> None:
        """The pipe behind `fd` is new, and `owner`'s."""
        st = os.fstat(fd)
        if len(self._made) >= _MOST:
            oldest = next(iter(self._made))
            del self._made[oldest]
            self.store.drop(*oldest)
        self._made[st.st_dev, st.st_ino] = None
        self.store.put(fd, st, owner)

    def miss(self) -> None:
        """A task that is not root may make a pipe, and nobody will see which."""
        self._all_seen = False

    def may_be(self, st: os.stat_result, uid: int) -> bool:
        """Whether one without an owner here may have been made by the user `uid`; else it is root's."""
        if S_ISFIFO(st.st_mode):
            return not self._all_seen
        return not self._strict or uid in self.socket_makers
