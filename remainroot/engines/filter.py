# SPDX-License-Identifier: GPL-2.0-or-later
"""The seccomp filter, assembled from the declarations: classic BPF over struct seccomp_data (seccomp(2)).

One block for each audit architecture, in it a binary search by syscall number, at each number the argument tests of its
declaration. Assembled here rather than by libseccomp because it takes 1 ms and no cache (the binding's import takes
25), and because released libseccomps do not know the newest calls of foreign ABIs (fchmodat2 on i386), which would
then slip past. tests/engines/test_filter.py holds the numbers against libseccomp's.
"""

from __future__ import annotations

from struct import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from remainroot.dispatch import When

    Rules = Mapping[int, Mapping[int, tuple[When, ...]]]
    Instruction = tuple[int, int, int, int]

RET_USER_NOTIF: Final = 0x7FC00000
RET_TRACE: Final = 0x7FF00000
RET_ALLOW: Final = 0x7FFF0000
RET_ERRNO: Final = 0x00050000

_LOAD, _AND, _JUMP, _JEQ, _JGE, _RET = 0x20, 0x54, 0x05, 0x15, 0x35, 0x06
_NR, _ARCH, _ARGS = 0, 4, 16
_LEAF: Final = 3


def _tests(when: tuple[When, ...], action: int) -> list[Instruction]:
    """The code of one syscall: `action` if one of the argument tests passes (or there are none), else allow."""
    code: list[Instruction] = []
    for test in when:
        # Arguments are tested as 32-bit ints: the low half, on a little-endian machine.
        code.append((_LOAD, 0, 0, _ARGS + 8 * test.arg))
        if test.mask != 0xFFFF_FFFF:
            code.append((_AND, 0, 0, test.mask))
        code.append((_JEQ, 0, 1, test.value) if test.op == "eq" else (_JEQ, 1, 0, test.value))
        code.append((_RET, 0, 0, action))
    code.append((_RET, 0, 0, RET_ALLOW if when else action))
    return code


def _search(rows: list[tuple[int, tuple[When, ...]]], action: int) -> list[Instruction]:
    """The code that finds the loaded number among `rows` (sorted)."""
    if len(rows) <= _LEAF:
        code: list[Instruction] = []
        for nr, when in rows:
            body = _tests(when, action)
            code += [(_JEQ, 0, len(body), nr), *body]
        return [*code, (_RET, 0, 0, RET_ALLOW)]
    middle = len(rows) // 2
    low, high = _search(rows[:middle], action), _search(rows[middle:], action)
    # A conditional jump reaches 255 instructions; an unconditional one any distance.
    return [(_JGE, 0, 1, rows[middle][0]), (_JUMP, 0, 0, len(low)), *low, *high]


def assemble(rules: Rules, action: int) -> bytes:
    """The program that gives `action` to the calls in `rules` (by architecture, by number) and allows all others."""
    code: list[Instruction] = [(_LOAD, 0, 0, _ARCH)]
    for arch, rows in rules.items():
        body = [(_LOAD, 0, 0, _NR), *_search(sorted(rows.items()), action)]
        code += [(_JEQ, 1, 0, arch), (_JUMP, 0, 0, len(body)), *body]
    code.append((_RET, 0, 0, RET_ALLOW))
    return pack("=" + "HBBI" * len(code), *[field for instruction in code for field in instruction])


def program(action: int, *, strict: bool = False) -> bytes:
    """The program for everything that is declared; with `strict`, for everything that is guarded too."""
    from remainroot.dispatch import build_table

    rules = {arch: {nr: row.when for nr, row in rows.items()} for arch, rows in build_table(strict=strict).items()}
    return assemble(rules, action)
