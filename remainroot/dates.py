# SPDX-License-Identifier: GPL-2.0-or-later
"""Times that were set on files that really are another's, and what ends them: for this run.

A time is shown in the place of the one that is on disk as long as that is the same as when it was set. A write, a read
or whoever sets it anew changes it, and then it is the truth again, as with a time that was really set.
"""

from __future__ import annotations

import os

from remainroot.store.base import identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    Pair = tuple[int | None, int | None]

_MOST: Final = 4096


class Dates:
    """By file; times are nanoseconds since the epoch. The oldest are forgotten when there are many."""

    def __init__(self) -> None:
        self._set: dict[tuple[int, int], tuple[bytes, tuple[int, int], Pair]] = {}

    def put(self, fd: int, st: os.stat_result, times: Pair) -> None:
        """Show these as the times of access and of modification; None: as they are shown now."""
        now = self.get(fd, st)
        shown = times[0] if times[0] is not None else now[0], times[1] if times[1] is not None else now[1]
        if len(self._set) >= _MOST:
            del self._set[next(iter(self._set))]
        self._set[st.st_dev, st.st_ino] = identity(fd), (st.st_atime_ns, st.st_mtime_ns), shown

    def get(self, fd: int, st: os.stat_result) -> Pair:
        """The times to show of this file; None: the one that is on disk."""
        known = self._set.get((st.st_dev, st.st_ino))
        if known is None or known[0] != identity(fd):
            return None, None
        _, disk, (accessed, modified) = known
        return (
            accessed if disk[0] == st.st_atime_ns else None,
            modified if disk[1] == st.st_mtime_ns else None,
        )

    def shown(self, fd: int, st: os.stat_result) -> os.stat_result | None:
        """The status with the times to show; None: they are the ones on disk."""
        accessed, modified = self.get(fd, st)
        if accessed is None and modified is None:
            return None
        reduced: Any = st.__reduce__()
        fields, others = reduced[1]
        if accessed is not None:
            others["st_atime_ns"] = accessed
        if modified is not None:
            others["st_mtime_ns"] = modified
        return os.stat_result(fields, others)
