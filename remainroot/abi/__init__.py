# SPDX-License-Identifier: GPL-2.0-or-later
"""What differs between the ABIs a kernel serves: syscall numbers, word size, width of ids, layout of struct stat.

A kernel serves several at once (x86_64, i386 and x32; aarch64 and arm), and a filter must name all of them.
"""

from __future__ import annotations

import os

from remainroot.abi import aarch64, arm, i386, x32, x86_64
from remainroot.abi.stat import ARM_LAYOUTS, GENERIC_LAYOUTS, I386_LAYOUTS, X86_64_LAYOUTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.abi.stat import Layout

X32_BIT: Final = 0x4000_0000

_SHORT_ID_CALLS: Final = frozenset(
    (
        "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid", "setgroups",
        "getgroups", "getuid", "getgid", "geteuid", "getegid", "getresuid", "getresgid", "chown", "lchown", "fchown",
    )
)  # fmt: skip


class Abi:
    """One ABI: how its tasks number their calls and lay out their data.

    `audit_arch` is the AUDIT_ARCH_* value that seccomp and ptrace report, `bits` the width of its pointers,
    `short_ids` the calls that pass 16-bit ids, `stat_layouts` the struct each stat call fills.
    """

    __slots__ = ("audit_arch", "bits", "name", "numbers", "seccomp_arch", "short_ids", "stat_layouts", "word_mask")

    def __init__(
        self,
        name: str,
        audit_arch: int,
        seccomp_arch: str,
        bits: int,
        numbers: dict[str, int],
        short_ids: frozenset[str],
        stat_layouts: dict[str, Layout],
    ) -> None:
        self.name = name
        self.audit_arch = audit_arch
        self.seccomp_arch = seccomp_arch
        self.bits = bits
        self.word_mask = 0xFFFF_FFFF if bits == 32 else 0xFFFF_FFFF_FFFF_FFFF
        self.numbers = numbers
        self.short_ids = short_ids
        self.stat_layouts = stat_layouts


X86_64: Final = Abi("x86_64", 0xC000003E, "X86_64", 64, x86_64.NUMBERS, frozenset(), X86_64_LAYOUTS)
X32: Final = Abi(
    "x32", 0xC000003E, "X32", 64, {name: nr | X32_BIT for name, nr in x32.NUMBERS.items()}, frozenset(), X86_64_LAYOUTS
)
I386: Final = Abi("i386", 0x40000003, "X86", 32, i386.NUMBERS, _SHORT_ID_CALLS, I386_LAYOUTS)
AARCH64: Final = Abi("aarch64", 0xC00000B7, "AARCH64", 64, aarch64.NUMBERS, frozenset(), GENERIC_LAYOUTS)
ARM: Final = Abi("arm", 0x40000028, "ARM", 32, arm.NUMBERS, _SHORT_ID_CALLS, ARM_LAYOUTS)

ALL: Final = (X86_64, X32, I386, AARCH64, ARM)
_BY_MACHINE: Final = {"x86_64": (X86_64, X32, I386), "aarch64": (AARCH64, ARM)}


def native() -> tuple[Abi, ...]:
    """The ABIs this machine's kernel serves, its own first."""
    machine = os.uname().machine
    if machine not in _BY_MACHINE:
        return (I386,) if machine in ("i386", "i486", "i586", "i686") else (X86_64, X32, I386)
    return _BY_MACHINE[machine]


def known(name: str) -> bool:
    """Whether any ABI has a syscall of this name."""
    return any(name in abi.numbers for abi in ALL)
