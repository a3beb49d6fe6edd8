# SPDX-License-Identifier: GPL-2.0-or-later
"""What tasks wrote to oom_score_adj (proc_pid_oom_score_adj(5)), where they were given a file in memory instead.

Whether a write lowers the value is not known before it is made, and then it is not seen. So the value is taken from
that file: when somebody asks for it, and as soon as the kernel says that the file was written (inotify(7)). As much of
it as is allowed goes to the real file.
"""

from __future__ import annotations

import _thread
import os
from struct import Struct

from remainroot.kernel import inotify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

LEAST: Final = -1000
MOST: Final = 1000
_SIZE: Final = 4096
_MOST_FILES: Final = 64
"""So many may be written at a time; what is written to an older one is ignored."""
_BEFORE: Final = b" " * 16
"""What stands before the value in a file that can be read, too: so a write at its start can be told from the rest."""
_EVENT: Final = Struct("=iIII")
"""struct inotify_event: wd, mask, cookie, the length of a name."""
_IN_MODIFY: Final = 0x2
_IN_CLOSE_WRITE: Final = 0x8


def number_of(word: bytes) -> int | None:
    """An integer as the kernel reads one (kstrtoint, with base 0): decimal, 0x and hexadecimal, 0 and octal."""
    digits = word[1:] if word[:1] in (b"-", b"+") else word
    base = 16 if digits[:2].lower() == b"0x" else 8 if digits[:1] == b"0" else 10
    if not (digits[2:] if base == 16 else digits).isalnum() or (base == 8 and not digits.isdigit()):
        return None
    try:
        value = int(digits, base)
    except ValueError:
        return None
    return -value if word[:1] == b"-" else value


class _File:
    """One that was handed out: our descriptors of it and of the real one, and which values may be written."""

    __slots__ = ("least", "memory", "real", "start")

    def __init__(self, memory: int, real: int, least: int, start: bytes) -> None:
        self.memory = memory
        self.real = real
        self.least = least
        self.start = start

    def written(self) -> int | None:
        """The value that was written last and is one; None if none was."""
        text = os.pread(self.memory, _SIZE, 0)
        words = text.replace(b"\0", b" ").split()
        if self.start and text.startswith(_BEFORE):
            del words[:1]
        elif self.start and text.endswith(self.start[len(_BEFORE) :]):
            del words[-1:]
        for word in reversed(words):
            value = number_of(word)
            if value is not None and self.least <= value <= MOST:
                return value
        return None

    def pass_on(self, value: int) -> None:
        """Have the kernel heed the value, or the least that it lets anybody have."""
        for allowed in (value, max(value, 0)):
            try:
                os.write(self.real, b"%d" % allowed)
            except OSError:
                continue
            return

    def close(self) -> None:
        """Nobody can write to it any more."""
        os.close(self.memory)
        os.close(self.real)


class Adjustments:
    """The values by number, and the files that still may be written."""

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._values: list[int] = []
        self._floors: list[int] = []
        self._files: dict[int, _File] = {}
        self._watched: dict[int, int] = {}
        self._inotify = -1
        try:
            self._inotify = inotify()
        except OSError:
            return  # the user has too many: what was written counts when somebody asks, or opens many more
        _thread.start_new_thread(self._watch, ())

    def add(self, real: int, now: int, least: int, flags: int) -> tuple[int, int]:
        """A file for a task that opens one with `flags`, and the number of the value in it.

        `real` is a descriptor of the file that it stands for (from now on ours), `now` the value, `least` the least
        that the task may write (a later one without the capability, too, from then on: LEAST if it has that).
        """
        start = _BEFORE + b"%d\n" % now if flags & os.O_ACCMODE == os.O_RDWR else b""
        memory = os.memfd_create("oom_score_adj", os.MFD_CLOEXEC)
        os.write(memory, start)
        path = f"/proc/self/fd/{memory}"
        given = os.open(path, flags & (os.O_ACCMODE | os.O_APPEND) | os.O_CLOEXEC)
        with self._lock:
            if len(self._files) >= _MOST_FILES:
                oldest = next(iter(self._files))
                self._settle(oldest)
                self._files.pop(oldest).close()
            number = len(self._values)
            self._values.append(now)
            self._floors.append(least)
            self._files[number] = _File(memory, real, least, start)
            if self._inotify >= 0:
                try:
                    watch = inotify(self._inotify, path.encode(), _IN_MODIFY | _IN_CLOSE_WRITE)
                except OSError:
                    pass
                else:
                    self._watched[watch] = number
        return given, number

    def value(self, number: int) -> int:
        """The value that was written last, or the one before."""
        with self._lock:
            self._settle(number)
            return self._values[number]

    def floor(self, number: int) -> int:
        """The least value that one without CAP_SYS_RESOURCE may write after that: what one with it wrote."""
        with self._lock:
            self._settle(number)
            return self._values[number] if self._floors[number] == LEAST else self._floors[number]

    def _settle(self, number: int) -> None:
        file = self._files.get(number)
        value = None if file is None else file.written()
        if file is not None and value is not None and value != self._values[number]:
            self._values[number] = value
            file.pass_on(value)

    def _watch(self) -> None:
        while True:
            events = os.read(self._inotify, _SIZE)
            with self._lock:
                for watch, mask, _, _ in _EVENT.iter_unpack(events[: len(events) // _EVENT.size * _EVENT.size]):
                    number = self._watched.get(watch)
                    if number is None:
                        continue
                    self._settle(number)
                    if mask & _IN_CLOSE_WRITE:
                        del self._watched[watch]
                        file = self._files.pop(number, None)
                        if file is not None:
                            file.close()
