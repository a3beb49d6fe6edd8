# SPDX-License-Identifier: GPL-2.0-or-later
"""The seccomp filter, assembled from the declarations: classic BPF over struct seccomp_data (seccomp(2)).

One block for each audit architecture, in it a binary search by syscall number, at each number the argument tests of its
declaration. Before these, where the loader makes such calls (`remainroot.engines.loader`), the test that it does.
Assembled here rather than by libseccomp because it takes 1 ms and no cache (the binding's import takes
25), and because released libseccomps do not know the newest calls of foreign ABIs (fchmodat2 on i386), which would
then slip past. tests/engines/test_filter.py holds the numbers against libseccomp's.
"""

from __future__ import annotations

from struct import pack

from remainroot import readers

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
_TO_X, _MINUS_X, _JEQ_X = 0x07, 0x1C, 0x1D
_NR, _ARCH, _POINTER, _FROM, _ARGS = 0, 4, 8, 12, 16
_LEAF: Final = 3


class Spared:
    """A call that is allowed where it is made from one place, with one string of the program that makes it.

    The argument `string` is its address, the argument `flags` has that value. `site` are the last 12 bits of the
    instruction pointer, `distance` the string's from there; or numbers that cannot be either, to be replaced.
    """

    __slots__ = ("distance", "flags", "name", "site", "string")

    def __init__(self, name: str, string: int, flags: tuple[int, int], site: int, distance: int) -> None:
        self.name = name
        self.string = string
        self.flags = flags
        self.site = site
        self.distance = distance

    def code(self) -> list[Instruction]:
        """Allows it, or falls through."""
        argument, value = self.flags
        string = _ARGS + 8 * self.string
        code = [(_LOAD, 0, 0, _POINTER), (_AND, 0, 0, 0xFFF), (_JEQ, 0, 0, self.site)]
        code += [(_LOAD, 0, 0, _POINTER), (_TO_X, 0, 0, 0), (_LOAD, 0, 0, string), (_MINUS_X, 0, 0, 0)]
        code += [(_JEQ, 0, 0, self.distance)]
        code += [(_LOAD, 0, 0, _FROM), (_TO_X, 0, 0, 0), (_LOAD, 0, 0, string + 4), (_JEQ_X, 0, 0, 0)]
        code += [(_LOAD, 0, 0, _ARGS + 8 * argument), (_JEQ, 0, 0, value), (_RET, 0, 0, RET_ALLOW)]
        # Every test that fails leads behind it all.
        jumps = (_JEQ, _JEQ_X)
        return [(op, 0, len(code) - at - 1 if op in jumps else 0, k) for at, (op, _, _, k) in enumerate(code)]


def _tests(when: tuple[When, ...], action: int, reads: int) -> list[Instruction]:
    """The code of one syscall: `action` if one of the argument tests passes (or there are none), else allow.

    With `reads`, `action` too where such a reader makes it (`remainroot.readers`), which the upper half of the
    instruction pointer tells.
    """
    code: list[Instruction] = []
    for test in when:
        # Arguments are tested as 32-bit ints: the low half, on a little-endian machine.
        code.append((_LOAD, 0, 0, _ARGS + 8 * test.arg))
        if test.mask != 0xFFFF_FFFF:
            code.append((_AND, 0, 0, test.mask))
        rest = [(_RET, 0, 0, action)]
        if test.nonzero >= 0:
            rest = [(_LOAD, 0, 0, _ARGS + 8 * test.nonzero), (_JEQ, 1, 0, 0), *rest]
        code.append((_JEQ, 0, len(rest), test.value) if test.op == "eq" else (_JEQ, len(rest), 0, test.value))
        code += rest
    if when and reads:
        own = reads == readers.ANY
        code += [(_LOAD, 0, 0, _FROM), *([(_JEQ, 2, 0, 0)] if own else [])]
        code += [(_JGE, 0, 2, readers.LOW), (_JGE, 1, 0, readers.TOP if own else readers.HIGH), (_RET, 0, 0, action)]
    code.append((_RET, 0, 0, RET_ALLOW if when else action))
    return code


def _search(rows: list[tuple[int, list[Instruction]]]) -> list[Instruction]:
    """The code that finds the loaded number among `rows` (sorted), each with its code."""
    if len(rows) <= _LEAF:
        code: list[Instruction] = []
        for nr, body in rows:
            code += [(_JEQ, 0, len(body), nr), *body]
        return [*code, (_RET, 0, 0, RET_ALLOW)]
    middle = len(rows) // 2
    low, high = _search(rows[:middle]), _search(rows[middle:])
    # A conditional jump reaches 255 instructions; an unconditional one any distance.
    return [(_JGE, 0, 1, rows[middle][0]), (_JUMP, 0, 0, len(low)), *low, *high]


def assemble(
    rules: Rules,
    action: int,
    reading: Mapping[int, Mapping[int, int]] | None = None,
    spared: Mapping[int, Mapping[int, Spared]] | None = None,
) -> bytes:
    """The program that gives `action` to the calls in `rules` (by architecture, by number) and allows all others.

    It gives it to all calls, too, whose number is in `reading`, of the readers that stand there. `spared` are calls of
    `rules`, by architecture and number, that are allowed from one place.
    """
    code: list[Instruction] = [(_LOAD, 0, 0, _ARCH)]
    for arch, rows in rules.items():
        kinds = (reading or {}).get(arch, {})
        allowed = {nr: call.code() for nr, call in (spared or {}).get(arch, {}).items()}
        bodies = [
            (nr, [*allowed.get(nr, ()), *_tests(when, action, kinds.get(nr, 0))])
            for nr, when in sorted(rows.items())
        ]
        body = [(_LOAD, 0, 0, _NR), *_search(bodies)]
        code += [(_JEQ, 1, 0, arch), (_JUMP, 0, 0, len(body)), *body]
    code.append((_RET, 0, 0, RET_ALLOW))
    return pack("=" + "HBBI" * len(code), *[field for instruction in code for field in instruction])


def program(action: int, *, strict: bool = False) -> bytes:
    """The program for everything that is declared, if calls wait for that `action`; `strict`: that is guarded, too.

    `loader.fill` completes it; without, the loader's calls are caught like all others.
    """
    from remainroot.dispatch import build_table
    from remainroot.engines.loader import SPARED

    table = build_table(strict=strict)
    waits = action == RET_USER_NOTIF
    rules = {
        arch: {nr: row.when for nr, row in rows.items() if waits or not row.waits} for arch, rows in table.items()
    }
    spared = {
        arch: {nr: call for nr, row in table[arch].items() for call in calls if call.name == row.name}
        for arch, calls in SPARED.items()
        if arch in table
    }
    reading = {readers.ARCH: {nr: row.readers for nr, row in table.get(readers.ARCH, {}).items()}}
    return assemble(rules, action, reading, spared)
