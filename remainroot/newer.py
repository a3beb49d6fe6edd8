# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls that this kernel is too old for: they are left to it, and it says ENOSYS, so that a program does without them.

The kernel is asked when such a call is first made, and not told by its version. Not before: a container's profile may
end who makes a call that it does not know, but then CMD's call never comes here either.
"""

from __future__ import annotations

from errno import ENOSYS

from remainroot.abi import X32_BIT
from remainroot.kernel import syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_FIRST: Final = 440
"""The first number after Linux 5.9. From 424 on they are the same on every ABI."""
_OTHERS: Final = 512
"""From here on x32 has numbers of its own."""

_missing: Final[dict[int, bool]] = {}


def is_newer(nr: int) -> bool:
    """Whether the call of this number is newer than Linux 5.9."""
    return _FIRST <= nr & ~X32_BIT < _OTHERS


def is_missing(nr: int) -> bool:
    """Whether the kernel has no call of this number, which is newer than Linux 5.9."""
    number = nr & ~X32_BIT
    if number not in _missing:
        _missing[number] = False
        try:
            syscall(number, -1, -1, -1, -1, -1, -1)  # no descriptor, no memory, no flags: nothing that could be done
        except OSError as error:
            _missing[number] = error.errno == ENOSYS
    return _missing[number]
