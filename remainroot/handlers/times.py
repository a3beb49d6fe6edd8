# SPDX-License-Identifier: GPL-2.0-or-later
"""Change of a file's times: utimensat(2) and its older kin, of files that really are another's, and of device nodes.

Of what is ours the kernel changes them, so these calls are caught only where that costs the programs nothing that set
the times of many files: without times, as touch(1) makes them, or of descriptor 0, which touch has the file as; of
programs that `remainroot.readers` knows; and all with `--strict`. Another's times are remembered (`remainroot.dates`).
"""

from __future__ import annotations

import os
from errno import EACCES, EBADF, EPERM
from struct import Struct
from time import time_ns

from remainroot import quick, readers
from remainroot.dispatch import CONTINUE, DONE, Fail, equals, handles
from remainroot.handlers.attributes import is_anothers
from remainroot.handlers.paths import Unresolved, find_fd, find_path
from remainroot.kernel import AT_FDCWD, UTIME_NOW, UTIME_OMIT, set_times
from remainroot.store.base import IMMUTABLE, is_placeholder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call, Outcome
    from remainroot.world import World

    Time = tuple[int, int]

_NANOSECONDS: Final = 1_000_000_000
_MICROSECONDS: Final = 1_000_000
_NOW: Final = 0, UTIME_NOW


class Wanted:
    """The times of access and of modification that a call asks for, each of seconds and nanoseconds.

    The latter may be UTIME_NOW or UTIME_OMIT. ValueError: they are no times (EINVAL).
    """

    __slots__ = ("both",)

    def __init__(self, *both: Time) -> None:
        self.both = both
        for _, nanoseconds in both:
            if not 0 <= nanoseconds < _NANOSECONDS and nanoseconds not in (UTIME_NOW, UTIME_OMIT):
                raise ValueError

    @property
    def given(self) -> bool:
        """Whether that takes the file's owner: something else than the present time for both."""
        return any(nanoseconds != UTIME_NOW for _, nanoseconds in self.both)

    @property
    def empty(self) -> bool:
        """Whether nothing is to change, whatever the file."""
        return all(nanoseconds == UTIME_OMIT for _, nanoseconds in self.both)


def times_of(call: Call, index: int) -> Wanted:
    """Those whose address is argument `index`, as each of these calls has them; ValueError: EINVAL, OSError: EFAULT."""
    address = call.ptr(index)
    if not address:
        return Wanted(_NOW, _NOW)
    wide = call.abi.bits == 64
    if call.name == "utime":
        size = 16 if wide else 8
        first, second = Struct("=qq" if wide else "=ii").unpack(call.read(address, size))
        return Wanted((first, 0), (second, 0))
    if call.name.endswith("64"):
        wide = True
    size = 32 if wide else 16
    if call.name.startswith("utimensat"):
        values = Struct("=qIIqII" if wide else "=iIiI").unpack(call.read(address, size))
        return Wanted(values[:2], values[3:5] if wide else values[2:])
    values = Struct("=4q" if wide else "=4i").unpack(call.read(address, size))
    if not (0 <= values[1] < _MICROSECONDS and 0 <= values[3] < _MICROSECONDS):
        raise ValueError
    return Wanted((values[0], values[1] * 1000), (values[2], values[3] * 1000))


@handles("utime", "utimes", when=equals(1, 0), strictly=quick.times(path=0), readers=readers.MARKED)
def utimes(call: Call) -> Outcome:
    """utime(2), utimes(2): of another's file the times are remembered."""
    return _by_path(call, AT_FDCWD, 0, 0, 1)


@handles("futimesat", when=equals(2, 0), strictly=quick.times(path=1, dirfd=0), readers=readers.MARKED)
def futimesat(call: Call) -> Outcome:
    """futimesat(2), as utimes."""
    return _by_path(call, call.signed(0), 1, 0, 2) if call.ptr(1) else _by_descriptor(call, 2)


@handles(
    "utimensat", "utimensat_time64", when=equals(2, 0) + equals(0, 0),
    strictly=quick.times(path=1, dirfd=0, flags=3), readers=readers.MARKED,
)  # fmt: skip
def utimensat(call: Call) -> Outcome:
    """utimensat(2): of another's file the times are remembered; by its descriptor a device node's are the node's."""
    if call.ptr(1):
        return _by_path(call, call.signed(0), 1, call.unsigned(3), 2)
    return CONTINUE if call.unsigned(3) else _by_descriptor(call, 2)


def _by_path(call: Call, dirfd: int, index: int, flags: int, times: int) -> Outcome:
    try:
        wanted = times_of(call, times)
        fd, st = find_path(call, dirfd, index, flags)
    except (Unresolved, ValueError):
        return CONTINUE
    try:
        return _change(call, fd, st, wanted) if is_anothers(call.world, fd, st) else CONTINUE
    finally:
        os.close(fd)


def _by_descriptor(call: Call, times: int) -> Outcome:
    try:
        wanted = times_of(call, times)
        fd, st = find_fd(call, 0)
    except (Unresolved, ValueError):
        return CONTINUE
    try:
        if not (is_anothers(call.world, fd, st) or _is_node(call.world, fd, st)):
            return CONTINUE
        if call.world.files.is_path_only(call.tid, call.signed(0)):
            return Fail(EBADF)
        return _change(call, fd, st, wanted)
    finally:
        os.close(fd)


def _is_node(world: World, fd: int, st: os.stat_result) -> bool:
    override = world.override(fd, st)
    return override is not None and is_placeholder(override, st)


def _change(call: Call, fd: int, st: os.stat_result, times: Wanted) -> Outcome:
    """utimensat(2): EPERM for given times unless owner or CAP_FOWNER, EACCES for the present unless writable."""
    world = call.world
    flags = world.store.flags(fd, st)
    if times.empty or os.fstatvfs(fd).f_flag & os.ST_RDONLY:
        return CONTINUE
    if flags if times.given else flags & IMMUTABLE:
        return Fail(EPERM)
    if not call.creds.owns(world.owner(fd, st).uid) and (times.given or not _may_write(call, fd)):
        return Fail(EPERM if times.given else EACCES)
    call.check()
    try:
        set_times(fd, *times.both)
    except PermissionError:
        world.set_times(fd, st, *map(_nanoseconds, times.both))
    return DONE


def _nanoseconds(time: Time) -> int | None:
    seconds, rest = time
    if rest == UTIME_OMIT:
        return None
    return time_ns() if rest == UTIME_NOW else seconds * _NANOSECONDS + rest


def _may_write(call: Call, fd: int) -> bool:
    from remainroot.handlers.searching import File, Searcher  # rarely needed
    from remainroot.permissions import WRITE

    return Searcher(call).permits(File(fd), WRITE)
