# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes that the kernel would refuse for what they say, to a file in memory that stands for one of procfs.

Writes are not caught: nobody could afford that. But who opens such a file writes to it at once, or starts a program
that does. For so long the engine has its calls shown to us, and those of the tasks that it makes. Under the notify
engine they are traced meanwhile, for so many calls at most, and until one of them takes a second.
"""

from __future__ import annotations

import os
from copy import copy
from errno import ESPIPE

from remainroot.kernel import read_memory
from remainroot.outcomes import Judge
from remainroot.tracee import descriptor_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    Rule = Callable[[bytes, int], int]
    """The errno of a write of these bytes at that offset; 0: it is in order, and done."""

_WRITE, _PWRITE, _WRITEV, _CLOSE, _DUP2 = range(5)
_X86_64: Final = {1: _WRITE, 18: _PWRITE, 20: _WRITEV, 3: _CLOSE, 33: _DUP2, 292: _DUP2}
_X32: Final = {0x4000_0000 | (516 if kind == _WRITEV else nr): kind for nr, kind in _X86_64.items()}
_OLD: Final = {4: _WRITE, 181: _PWRITE, 146: _WRITEV, 6: _CLOSE, 63: _DUP2}
_CALLS: Final[dict[int, dict[int, int]]] = {
    0xC000003E: _X86_64 | _X32,
    0x40000003: _OLD | {330: _DUP2},
    0xC00000B7: {64: _WRITE, 68: _PWRITE, 66: _WRITEV, 57: _CLOSE, 24: _DUP2},
    0x40000028: _OLD | {358: _DUP2},
}
"""By audit architecture and number; others write to no such file."""
_MOST_CALLS: Final = 256
_MOST: Final = 1 << 16
_WIDE: Final = 0x8000_0000


class WriteJudge(Judge):
    """Has writes to the file `memory` judged by a rule, until it is closed, or too much else has been done.

    Not `seekable`: pwrite(2) is refused (ESPIPE).
    """

    def __init__(self, memory: int, rule: Rule, *, seekable: bool = False) -> None:
        self._seekable = seekable
        self._key = _key(memory)
        self._rule = rule
        self._left = _MOST_CALLS

    def child(self) -> WriteJudge:
        """See `Judge`."""
        judge = copy(self)
        judge.over = False
        return judge

    def enters(self, tid: int, arch: int, nr: int, args: tuple[int, ...]) -> int:
        """See `Judge`. What cannot be read is the kernel's to refuse."""
        self._left -= 1
        self.over = self._left <= 0
        kind = _CALLS.get(arch, {}).get(nr)
        if kind is None:
            return 0
        fd = args[kind == _DUP2] & 0xFFFF_FFFF
        try:
            if _key(f"/proc/{tid}/fd/{fd}") != self._key:
                return 0
            if kind in (_CLOSE, _DUP2):
                self.over = not any(_key(f"/proc/{tid}/fd/{one}") == self._key for one in _others(tid, fd))
                return 0
            if kind == _PWRITE and not self._seekable:
                return ESPIPE
            return self._rule(_text(tid, kind, nr, arch, args), int(descriptor_field(tid, fd, b"pos")))
        except OSError:
            return 0


def _key(file: int | str) -> tuple[int, int]:
    st = os.stat(file)
    return st.st_dev, st.st_ino


def _others(tid: int, fd: int) -> list[str]:
    return [name for name in os.listdir(f"/proc/{tid}/fd") if name != str(fd)]


def _text(tid: int, kind: int, nr: int, arch: int, args: tuple[int, ...]) -> bytes:
    """What is written. The kernel hands a file of procfs the parts of a writev(2) one by one: the first counts."""
    address, size = args[1], args[2]
    if kind == _WRITEV:
        word = 8 if arch & _WIDE and not nr & 0x4000_0000 else 4
        raw = read_memory(tid, address, 2 * word)
        address, size = int.from_bytes(raw[:word], "little"), int.from_bytes(raw[word:], "little")
    return read_memory(tid, address, min(size, _MOST))
