# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls that the dynamic loader makes at every exec, and that the filter lets through when it is the loader's.

glibc's ld.so(8) asks access("/etc/ld.so.preload", R_OK), and of each library, by fstat(3), for its size, device and
inode. No owner is in what it wants to know (only of a library that is preloaded into a set-id program it also wants the
set-uid bit, which it now sees on disk), and these are three of the four calls of a small program that would come to
the supervisor. What tells them from the program's own: a filter sees where the call is made from, and the loader's
strings lie at a fixed distance from there, wherever both are loaded. That distance, 32 bits of it, and the call's
position in its page are those of nobody else.

What is looked for is machine code, so there may be nothing found, in another C library, another version (a glibc whose
fstat(3) is the call of that name passes no string), on another machine: then nothing is let through. The program is
assembled with numbers that never match in their place (`SPARED`); `fill` puts in what holds where CMD runs.
`remainroot.engines.prepared` remembers what is found, as long as the loader is the same.
"""

from __future__ import annotations

from struct import error as struct_error
from struct import pack, unpack_from

from remainroot.engines.filter import Spared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

_STAT = Spared("newfstatat", string=1, flags=(3, 0x1000), site=0xFACE_F001, distance=0xFACE_F002)
"""AT_EMPTY_PATH and "", which is how glibc 2.33 to 2.38 make an fstat(3)."""
_PRELOAD = Spared("access", string=0, flags=(1, 4), site=0xFACE_F003, distance=0xFACE_F004)

SPARED: Final = {0xC000_003E: (_STAT, _PRELOAD)}
"""By audit architecture."""

_SYSCALL: Final = b"\x0f\x05"
_PRELOAD_NAME: Final = b"/etc/ld.so.preload\0"
_STAT_NUMBER: Final = b"\xb8\x06\x01\x00\x00"  # mov $262, %eax
_ACCESS_NUMBER: Final = b"\xb8\x15\x00\x00\x00"  # mov $21, %eax
_EMPTY_PATH_FLAG: Final = b"\xb9\x00\x10\x00\x00"  # mov $0x1000, %ecx: the fourth argument in C's convention
_ADDRESS_TO_RSI: Final = b"\x48\x8d\x35"  # lea X(%rip), %rsi
_ADDRESS_TO_RDI: Final = b"\x48\x8d\x3d"  # lea X(%rip), %rdi
_ADDRESS_SIZE: Final = 7

_HEADERS, _HEADER_COUNT, _HEADER_SIZE = 0x20, 0x38, 56
_LOAD: Final = 1


class _Image:
    """A shared object as it lies in memory, from its base."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.segments: list[tuple[int, int, int]] = []
        (start,) = unpack_from("=Q", content, _HEADERS)
        (count,) = unpack_from("=H", content, _HEADER_COUNT)
        for position in range(start, start + count * _HEADER_SIZE, _HEADER_SIZE):
            kind, _, offset, address, _, size = unpack_from("=IIQQQQ", content, position)
            if kind == _LOAD:
                self.segments.append((offset, size, address - offset))

    def address(self, offset: int) -> int | None:
        """Where the file's byte at `offset` is loaded."""
        for start, size, shift in self.segments:
            if start <= offset < start + size:
                return offset + shift
        return None

    def offset(self, address: int) -> int | None:
        """The other way round."""
        for start, size, shift in self.segments:
            if start <= address - shift < start + size:
                return address - shift
        return None

    def find(self, pattern: bytes) -> Iterator[int]:
        """Offsets of `pattern`."""
        position = self.content.find(pattern)
        while position >= 0:
            yield position
            position = self.content.find(pattern, position + 1)

    def loaded(self, instruction: int) -> int | None:
        """The address that the `lea` at this offset makes; None if there is no such instruction."""
        if self.content[instruction : instruction + 3] not in (_ADDRESS_TO_RSI, _ADDRESS_TO_RDI):
            return None
        here = self.address(instruction)
        (distance,) = unpack_from("=i", self.content, instruction + 3)
        return None if here is None else here + _ADDRESS_SIZE + distance

    def after(self, number: bytes) -> set[int]:
        """What the instruction pointer is in a call that is made by this `mov` and the instruction after it."""
        code = number + _SYSCALL
        return {here + len(code) for at in self.find(code) if (here := self.address(at)) is not None}

    def string(self, address: int, wanted: bytes) -> bool:
        """Whether this string lies there."""
        offset = self.offset(address)
        return offset is not None and self.content.startswith(wanted + b"\0", offset)


def _stat_of(image: _Image) -> set[tuple[int, int]]:
    """Pairs of an instruction pointer and the string's address, for `_STAT`."""
    strings = set()
    for at in image.find(_EMPTY_PATH_FLAG):
        for beside in (at - _ADDRESS_SIZE, at + len(_EMPTY_PATH_FLAG)):
            address = image.loaded(beside)
            if address is not None and image.string(address, b""):
                strings.add(address)
    return {(pointer, string) for pointer in image.after(_STAT_NUMBER) for string in strings}


def _preload_of(image: _Image) -> set[tuple[int, int]]:
    """The same for `_PRELOAD`. It is made by a function; an access(2) inlined after its own string is another."""
    strings = {address for at in image.find(_PRELOAD_NAME) if (address := image.address(at)) is not None}
    pointers = set()
    for pointer in image.after(_ACCESS_NUMBER):
        call = image.offset(pointer)
        if call is not None and image.loaded(call - len(_ACCESS_NUMBER + _SYSCALL) - _ADDRESS_SIZE) is None:
            pointers.add(pointer)
    return {(pointer, string) for pointer in pointers for string in strings}


def sites(content: bytes) -> dict[Spared, tuple[int, int]]:
    """Of the loader with this content: for each spared call the last 12 bits of the instruction pointer, the distance.

    Only what is found once is certain. ValueError if it is no such file.
    """
    if not content.startswith(b"\x7fELF\x02\x01"):
        raise ValueError("not a 64-bit ELF file")
    image = _Image(content)
    found = {}
    for spared, pairs in ((_STAT, _stat_of(image)), (_PRELOAD, _preload_of(image))):
        if len(pairs) == 1:
            ((pointer, string),) = pairs
            found[spared] = pointer & 0xFFF, string - pointer & 0xFFFF_FFFF
    return found


def fill(code: bytes, content: bytes) -> bytes:
    """The program with the numbers of the loader with this content; as it is where they are not found."""
    try:
        found = sites(content)
    except (ValueError, struct_error):
        return code
    for spared, (site, distance) in found.items():
        code = code.replace(pack("=I", spared.site), pack("=I", site))
        code = code.replace(pack("=I", spared.distance), pack("=I", distance))
    return code
