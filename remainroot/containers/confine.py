# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls that a box refuses (`--deny-syscalls`): a seccomp filter of CMD's own, over the shim's, which it overrules.

It keeps a program from what a container has no business with. It does not make the box a sandbox.
"""

from __future__ import annotations

import errno

from remainroot import abi as abis
from remainroot.containers import namespaces
from remainroot.dispatch import equals, has_bits
from remainroot.engines.filter import RET_ERRNO, assemble
from remainroot.errors import RemainrootError
from remainroot.kernel import load_filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import When

_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_NEW_USER: Final = has_bits(0, namespaces.NEWUSER)

DANGEROUS: Final[dict[str, tuple[When, ...]]] = {
    "unshare": _NEW_USER,
    "clone": _NEW_USER,
    "ioctl": equals(1, _TIOCSTI, _TIOCLINUX),
    **dict.fromkeys(
        (
            "keyctl", "add_key", "request_key", "mbind", "migrate_pages", "move_pages", "set_mempolicy", "userfaultfd",
            "perf_event_open", "kexec_load", "kexec_file_load", "bpf",
        ),
        (),
    ),
}  # fmt: skip
"""The default list: new user namespaces, typing into a terminal, keys, placing memory, and doors into the kernel.

Set-id bits are not among them: the shim answers for those.
"""


def rules_of(text: str) -> dict[str, tuple[When, ...]]:
    """What `--deny-syscalls=NAME,...` means; "" is the default list, and "default" in a list stands for it."""
    rules: dict[str, tuple[When, ...]] = {}
    for name in text.split(",") if text else ["default"]:
        if name == "default":
            rules |= DANGEROUS
        elif abis.known(name):
            rules[name] = ()
        else:
            raise RemainrootError(f"option --deny-syscalls: no call {name!r} is known here")
    return rules


def deny(rules: dict[str, tuple[When, ...]]) -> None:
    """Have these calls fail with EPERM, in this process and all it starts."""
    native = abis.native()

    def by_number(wanted: dict[str, tuple[When, ...]]) -> dict[int, dict[int, tuple[When, ...]]]:
        table: dict[int, dict[int, tuple[When, ...]]] = {}
        for abi in native:
            rows = {abi.numbers[name]: when for name, when in wanted.items() if name in abi.numbers}
            table.setdefault(abi.audit_arch, {}).update(rows)
        return table

    try:
        load_filter(assemble(by_number(rules), RET_ERRNO | errno.EPERM))
        if rules.get("clone"):
            # Its flags lie in memory, where no filter sees them; whoever calls it makes do with clone.
            load_filter(assemble(by_number({"clone3": ()}), RET_ERRNO | errno.ENOSYS))
    except OSError as error:
        raise RemainrootError(f"option --deny-syscalls: the filter is refused ({error.strerror})") from None
