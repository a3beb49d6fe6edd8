# SPDX-License-Identifier: GPL-2.0-or-later
"""The number of a call is read from the code before it, and nothing is taken for a number that may be none."""

from __future__ import annotations

from errno import EFAULT

import pytest

from remainroot.callsites import ACCUMULATOR, FIRST_ARGUMENT, UNKNOWN, constant, number

FUNCTION = bytes.fromhex("4889f84889f74889d64889ca4d89c24d89c84c8b4c24080f05")
STACK, LIBC, PROGRAM, TABLE, SLOT = 0x7000, 0x20_0000, 0x40_0000, 0x41_0000, 0x42_0000
AFTER = LIBC + len(FUNCTION)


def relative(end: int, target: int) -> bytes:
    return (target - end).to_bytes(4, "little", signed=True)


class Memory:
    """Pieces by address; what is around them is 0."""

    def __init__(self, **pieces: tuple[int, bytes]) -> None:
        self._bytes = {at + place: byte for at, data in pieces.values() for place, byte in enumerate(data)}

    def read(self, address: int, size: int) -> bytes:
        if address < 0x1000:
            raise OSError(EFAULT, "")
        return bytes(self._bytes.get(at, 0) for at in range(address, address + size))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("b804000000", 4),
        ("48c7c00f000000", 15),
        ("b801000000b802000000", 2),
        ("b804000000b8b8000000", 0xB8),
        ("b80400000041b802000000", 4),
        ("b8040000004989d089c731d2", 4),
        ("4889f84889f7", UNKNOWN),
        ("b8040000004889f84889f7", UNKNOWN),
        ("b804000000488b442408", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_the_number_is_the_last_constant_moved(code: str, expected: int) -> None:
    assert constant(ACCUMULATOR, bytes.fromhex(code)) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [("bffb00000031c0", 0xFB), ("bffb00000041bf01000000", 0xFB), ("bffb00000089c7", UNKNOWN), ("41bf01000000", -1)],
)
def test_the_first_argument_is_the_last_constant_moved(code: str, expected: int) -> None:
    assert constant(FIRST_ARGUMENT, bytes.fromhex(code)) == expected


@pytest.mark.parametrize("how", ["direct", "marked", "table", "slot", "another", "jumped"])
def test_the_function_is_told_the_number_by_its_caller(how: str) -> None:
    """By whichever kind of call; UNKNOWN if something else was called, which then jumped there."""
    move = bytes.fromhex("bffc000000 31c0")
    slot = LIBC - 4 if how == "marked" else LIBC
    target = {"direct": LIBC, "marked": LIBC - 4, "table": TABLE, "slot": SLOT}.get(how, TABLE + 0x100)
    end = PROGRAM + len(move) + (6 if how == "slot" else 5)
    call = b"\x41\xff\xe3" if how == "jumped" else (b"\xff\x15" if how == "slot" else b"\xe8") + relative(end, target)
    entry = bytes.fromhex("f30f1efaf2ff25")
    memory = Memory(
        libc=(LIBC, FUNCTION),
        program=(PROGRAM, move + call),
        table=(TABLE, entry + relative(TABLE + len(entry) + 4, SLOT)),
        slot=(SLOT, slot.to_bytes(8, "little")),
        stack=(STACK, end.to_bytes(8, "little")),
    )
    assert number(memory.read, AFTER, STACK, 8) == (UNKNOWN if how in ("another", "jumped") else 0xFC)


def test_the_function_of_i386_has_it_on_the_stack() -> None:
    call = bytes.fromhex("8b44241465ff1510000000")
    stack = [0, 0, 0, PROGRAM + len(call), 0, 0, 0, 0, 0, 0x122]
    memory = Memory(
        vdso=(LIBC, bytes.fromhex("cd805d5a59c3")),
        program=(PROGRAM, call),
        stack=(STACK, b"".join(word.to_bytes(4, "little") for word in stack)),
    )
    assert number(memory.read, LIBC + 2, STACK, 4) == 0x122


def test_what_is_no_system_call_has_no_number() -> None:
    assert number(Memory(code=(LIBC, bytes.fromhex("b80400000090"))).read, LIBC + 6, STACK, 8) == UNKNOWN
