# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a stopped task finds an instruction that makes a call, wherever it was stopped: in its vDSO (vdso(7))."""

from __future__ import annotations

from remainroot.engines import ptracing as pt
from remainroot.kernel import read_memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_INSTRUCTION: Final = {pt.X86_64: b"\x0f\x05", pt.I386: b"\xcd\x80"}
CS: Final = 17
"""Among the words of `ptracing.peek_user`, the code segment."""
MODES: Final = {0x33: pt.X86_64, 0x23: pt.I386}
"""By the code segment of user mode."""

_gates: Final[dict[int, int]] = {}
"""Where the instruction is in the vDSO, by architecture."""


class NoWayError(Exception):
    """The task cannot be made to make calls."""


def mode(tid: int) -> int:
    """The architecture whose calls the stopped task makes; NoWayError for one we do not know."""
    if pt.MACHINE != "x86_64":
        raise NoWayError
    arch = MODES.get(pt.peek_user(tid, CS), 0)
    if not arch:
        raise NoWayError
    return arch


def gate(tid: int, arch: int) -> int:
    """The address of an instruction of the task's vDSO that makes a call; NoWayError: it has none."""
    with open(f"/proc/{tid}/maps", "rb") as file:
        for line in file:
            if line.endswith(b"[vdso]\n"):
                break
        else:
            raise NoWayError
    start, end = (int(word, 16) for word in line.split(b" ", 1)[0].split(b"-"))
    instruction = _INSTRUCTION[arch]
    offset = _gates.get(arch, -1)
    if offset < 0 or read_memory(tid, start + offset, 2) != instruction:
        offset = read_memory(tid, start, end - start).find(instruction)
        if offset < 0:
            raise NoWayError
        _gates[arch] = offset
    return start + offset
