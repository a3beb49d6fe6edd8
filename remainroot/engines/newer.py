# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls that this kernel is too old for: they are left to it, and it says ENOSYS, so that a program does without them.

The numbers from 424 on are the same on every ABI, and given out one after the other. So it takes one number: that of
the newest call which the kernel has, of those that are declared. It is asked, not told by its version: a container's
profile may take calls away.
"""

from __future__ import annotations

from _struct import pack
from errno import ENOSYS

from remainroot.kernel import syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

NUMBERS: Final = (469, 468, 467, 466, 465, 464, 463, 452, 451, 446, 443, 442, 440)
"""Those of the declared calls that are newer than Linux 5.9, the newest first."""

_X32_BIT: Final = 0x4000_0000
_OTHERS: Final = 512
"""From here on x32 has numbers of its own."""
_ALLOWED: Final = 0x7FFF_0000


def newest() -> int:
    """The newest of `NUMBERS` that the kernel has; 439 if it has none of them."""
    for number in NUMBERS:
        try:
            syscall(number, -1, -1, -1, -1, -1, -1)  # no descriptor, no memory, no flags: nothing that could be done
        except OSError as error:
            if error.errno == ENOSYS:
                continue
        return number
    return 439


def is_newer(number: int, known: int) -> bool:
    """Whether a call is newer than that of the number `known`."""
    return known < (number & ~_X32_BIT) < _OTHERS


def spared(code: bytes, known: int) -> bytes:
    """The program of a filter, which first lets through calls that are newer than the number `known`."""
    if known == NUMBERS[0]:
        return code
    test = [(0x20, 0, 0, 0), (0x54, 0, 0, ~_X32_BIT & 0xFFFF_FFFF), (0x35, 0, 2, known + 1), (0x35, 1, 0, _OTHERS)]
    test.append((0x06, 0, 0, _ALLOWED))
    return b"".join(pack("=HBBI", *instruction) for instruction in test) + code
