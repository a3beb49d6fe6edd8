# SPDX-License-Identifier: GPL-2.0-or-later
"""Capabilities that a box goes without (`--cap-drop`, `--cap-add`): capabilities(7).

There are two sets of them. The fake one is what CMD is told; the shim answers for it. The real one is what the kernel
lets CMD do in the box's user namespace: its bounding set is cut before the shim is there, and CMD's exec gives a root
no more than that. Up to the exec CMD's process has all, which making a root takes. The supervisor and PID 1 keep them.
"""

from __future__ import annotations

import os
from errno import EINVAL
from struct import Struct

from remainroot import credentials, kernel
from remainroot.credentials import ALL_CAPS, CAP_LAST
from remainroot.errors import RemainrootError
from remainroot.libc import syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

NUMBERS: Final[dict[str, int]] = {
    name.removeprefix("CAP_"): value
    for name, value in vars(credentials).items()
    if name.startswith("CAP_") and name != "CAP_LAST"
}
"""The number of each capability, by its name without CAP_."""
_ALL: Final = "ALL"

_PR_CAPBSET_DROP: Final = 24
_SYS_CAPSET: Final = 91 if os.uname().machine == "aarch64" else 126
_VERSION_3: Final = 0x20080522
_header: Final = Struct("=Ii")
_sets: Final = Struct("=6I")


def _names(option: str, words: list[str]) -> set[str]:
    """The capabilities' names without CAP_, in capitals; ALL is one of them."""
    names = {word.upper().removeprefix("CAP_") for word in words}
    for word in words:
        if word.upper().removeprefix("CAP_") not in {*NUMBERS, _ALL}:
            raise RemainrootError(f"option {option}: there is no capability {word!r} (as CAP_CHOWN or chown, or ALL)")
    return names


def kept(dropped: list[str], added: list[str]) -> int:
    """The set, as a mask, that is left of all when these are dropped, and then these are added.

    ALL stands for every one: what is named alone on the other side is the exception. RemainrootError where both sides
    name the same.
    """
    drop, add = _names("--cap-drop", dropped), _names("--cap-add", added)
    for name in sorted(drop & add):
        what = "all capabilities" if name == _ALL else f"CAP_{name}"
        raise RemainrootError(f"options --cap-drop and --cap-add: {what} cannot be both dropped and added")
    if _ALL in drop:
        return sum(1 << NUMBERS[name] for name in add)
    return ALL_CAPS & ~sum(1 << NUMBERS[name] for name in drop - {_ALL})


def bound(mask: int) -> None:
    """Cut this process's bounding set down to `mask`: the real one, or the one that the shim answers for."""
    for number in range(CAP_LAST + 1):
        if not mask >> number & 1:
            try:
                kernel.prctl(_PR_CAPBSET_DROP, number)
            except OSError as error:
                if error.errno != EINVAL:  # a capability that this kernel has not
                    raise


def hold(mask: int) -> None:
    """Have no more than `mask` permitted and effective, and nothing inheritable: capset(2)."""
    low, high = mask & 0xFFFF_FFFF, mask >> 32
    syscall(_SYS_CAPSET, _header.pack(_VERSION_3, 0), _sets.pack(low, low, 0, high, high, 0))
