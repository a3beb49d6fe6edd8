# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that read what procfs says of tasks without a call that we see, and how their opens come to be seen.

ps, pgrep and their kin (whoever uses procps' library) open /proc/PID/status and read it; so does a program that is
told to on its command line (`mawk ... /proc/1/status`). To catch each open to read would cost every program too much.
So the filter catches those that are made from a certain part of the address space, in which nobody's code lies but
theirs: the kernel leaves below the stack the room that it may grow by (RLIMIT_STACK), and puts libraries below that.
While such a program is executed its limit is one that no stack will ever reach, and is itself again before the program
runs. So the mark lies in the program's memory: forks keep it, an exec ends it, nothing shows it, nobody has to follow.

That works where a 64-bit program of x86-64 makes its calls from a library, or is position-independent itself. Who makes
calls without a library (Go's programs, container tools among them, and static ones) makes them from where the program
itself lies. Nobody else's come from there, and so they are seen too.
"""

from __future__ import annotations

import os
from _struct import Struct
from stat import S_ISREG

from remainroot.kernel import MACHINE, O_CLOEXEC, RLIM_INFINITY, prlimit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from struct import error
    from typing import Final
else:
    from _struct import error

ARCH: Final = 0xC000003E
"""AUDIT_ARCH_X86_64, whose calls may be a reader's."""
LOW: Final = 0x3F00
HIGH: Final = 0x5000
"""The upper halves of the addresses where a marked program's libraries lie: LOW <= half < HIGH.

They begin below 0x5000_0000_0000 (`_ROOM` below the top), at random up to 2^32 pages further down. Nothing else is
there: libraries lie above 0x6fff_0000_0000 otherwise, below 0x3aab_0000_0000 where the stack has no limit or the layout
is the old one (personality(2), ADDR_COMPAT_LAYOUT), programs from 0x5555_5555_4000 upwards.
"""
TOP: Final = 0x6F00
"""Those of a program itself, which makes its calls without a library: HIGH <= half < TOP, and 0 at a fixed address.

Position-independent ones begin at 0x5555_5555_4000, at random up to 2^32 pages further up.
"""
_ROOM: Final = 0x3000_0000_0000
_RLIMIT_STACK: Final = 3

LIBRARIES: Final = (b"libproc2.so.", b"libprocps.so.", b"libproc-")
"""What the names of procps' library begin with: version 4, version 3.3, and before."""
PROC: Final = b"/proc/"
FILES: Final = (b"/status", b"/limits", b"/uid_map", b"/gid_map", b"/setgroups", b"/oom_score_adj", b"/sysvipc/")
"""An argument that has PROC in it, and from its last slash on one of these, is the path of a file that we may tell
otherwise."""
MOST_ARGUMENTS: Final = 32
ARGUMENT: Final = 128
"""So many arguments are looked at, and so many bytes of each."""

MARKED, ANY = 1, 2
"""Which readers' calls are seen: of programs that are marked; of those that make calls without a library, too."""

UNMARKABLE, OTHER, READER = range(3)
"""Kinds of programs: one that has no mark, one that is a reader only by its arguments, one that always is."""

_PT_LOAD: Final = 1
_PT_DYNAMIC: Final = 2
_PT_INTERP: Final = 3
_ET_EXEC: Final = 2
_DT_NEEDED: Final = 1
_DT_STRTAB: Final = 5
_MOST_HEADERS: Final = 64
_MOST_DYNAMIC: Final = 256
_IDENT: Final = b"\x7fELF\x02\x01"
_EM_X86_64: Final = 62
_HEADER: Final = Struct("<16xHH4x8xQ8x4x2xHH")
"""Elf64_Ehdr: e_type, e_machine, e_phoff, e_phentsize, e_phnum."""
_SEGMENT: Final = Struct("<I4xQQ8xQ16x")
"""Elf64_Phdr: p_type, p_offset, p_vaddr, p_filesz."""
_ENTRY: Final = Struct("<QQ")
"""Elf64_Dyn: d_tag, d_val."""


def known(machine: str = MACHINE) -> bool:
    """Whether this machine's programs can be marked."""
    return machine == "x86_64"


# ---------------------------------------------------------------- which programs

_kinds: dict[tuple[int, int, int], int] = {}
_MOST_KINDS: Final = 4096


def kind_of(fd: int, st: os.stat_result) -> int:
    """UNMARKABLE, OTHER or READER: the program in the file `fd` (O_PATH will do), whose status is `st`."""
    key = st.st_dev, st.st_ino, st.st_ctime_ns
    kind = _kinds.get(key)
    if kind is None:
        if len(_kinds) >= _MOST_KINDS:
            _kinds.clear()
        kind = _kinds[key] = _kind(fd) if S_ISREG(st.st_mode) else UNMARKABLE
    return kind


def _kind(path_fd: int) -> int:
    try:
        fd = os.open(f"/proc/self/fd/{path_fd}", os.O_RDONLY | O_CLOEXEC)
    except OSError:
        return OTHER
    try:
        return _kind_of_content(fd)
    except (OSError, OverflowError, error):
        return OTHER
    finally:
        os.close(fd)


def _kind_of_content(fd: int) -> int:
    head = os.pread(fd, 16 + _HEADER.size, 0)
    if not head.startswith(b"\x7fELF"):
        return OTHER  # a script: what runs is another file
    kind, machine, at, size, count = _HEADER.unpack_from(head)
    if not head.startswith(_IDENT) or machine != _EM_X86_64:
        return UNMARKABLE
    if size != _SEGMENT.size or count > _MOST_HEADERS:
        return OTHER
    segments = list(_SEGMENT.iter_unpack(os.pread(fd, count * _SEGMENT.size, at)))
    if kind == _ET_EXEC and not any(segment[0] == _PT_INTERP for segment in segments):
        return UNMARKABLE
    return READER if any(name.startswith(LIBRARIES) for name in _needed(fd, segments)) else OTHER


def _needed(fd: int, segments: list[tuple[int, ...]]) -> list[bytes]:
    """The beginnings of the names of the libraries that the ELF file with these program headers needs."""
    names: list[int] = []
    table = 0
    for kind, offset, _, length in segments:
        if kind == _PT_DYNAMIC:
            size = min(length // _ENTRY.size, _MOST_DYNAMIC) * _ENTRY.size
            for tag, value in _ENTRY.iter_unpack(os.pread(fd, size, offset)):
                if tag == _DT_NEEDED:
                    names.append(value)
                elif tag == _DT_STRTAB:
                    table = value
    for kind, offset, address, length in segments:
        if kind == _PT_LOAD and address <= table < address + length:
            return [os.pread(fd, 16, offset + table - address + name) for name in names]
    return []


def is_told_to_read(argument: bytes) -> bool:
    """Whether the argument names a file of procfs whose text is ours to tell."""
    start = argument.find(PROC)
    return start >= 0 and any(argument.find(name, start + len(PROC) - 1) >= 0 for name in FILES)


# ---------------------------------------------------------------- the mark


def mark(tid: int) -> tuple[int, int] | None:
    """Have the program that `tid` is about to execute lie where its opens are seen.

    The limit (soft, hard) to be given back to `unmark`, whatever becomes of the exec; None if it cannot be marked.
    """
    try:
        soft, hard = prlimit(tid, _RLIMIT_STACK)
        if soft == _ROOM or (hard != RLIM_INFINITY and hard < _ROOM):
            return None
        prlimit(tid, _RLIMIT_STACK, (_ROOM, hard))
    except OSError:
        return None  # gone, or not ours to change: the exec is to happen all the same
    return soft, hard


def unmark(tid: int, stack: tuple[int, int]) -> None:
    """The stack of `tid` may grow as before."""
    try:
        prlimit(tid, _RLIMIT_STACK, stack)
    except OSError:
        pass  # killed meanwhile
