# SPDX-License-Identifier: GPL-2.0-or-later
"""Files in memory that tasks were given to write a number to, in place of one of procfs; it is read later."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_MOST: Final = 64
_SIZE: Final = 4096
_LARGEST: Final = 0xFFFF_FFFF


class Written:
    """The files that were handed out, by number; of the oldest only what is in them is kept."""

    def __init__(self) -> None:
        self._open: dict[int, int] = {}
        self._before: dict[int, bytes] = {}

    def add(self, fd: int, before: bytes) -> int:
        """Keep `fd` (from now on ours), in place of a file that holds `before`; its number."""
        if len(self._open) >= _MOST:
            oldest = next(iter(self._open))
            self._before[oldest] = self.text(oldest)
            os.close(self._open.pop(oldest))
        number = len(self._before)
        self._before[number] = before
        self._open[number] = fd
        return number

    def text(self, number: int) -> bytes:
        """The last 32-bit number that was written; what was there before, if none was."""
        if number in self._open:
            for word in reversed(os.pread(self._open[number], _SIZE, 0).replace(b"\0", b" ").split()):
                if word.isdigit() and int(word) <= _LARGEST:
                    return word
        return self._before[number]
