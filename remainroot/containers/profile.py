# SPDX-License-Identifier: GPL-2.0-or-later
"""The seccomp profile that sends a container's calls to `remainroot agent`.

A container engine builds the filter with libseccomp, which cannot say all that ours says, as that all values of an
argument but some are meant. There the profile asks for more than is wanted, and the agent lets the kernel answer the
rest.
"""

from __future__ import annotations

import remainroot.handlers  # noqa: F401  # declares every syscall
from remainroot.dispatch import SYSCALLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from remainroot.dispatch import When

_NOTIFY, _ALLOW = "SCMP_ACT_NOTIFY", "SCMP_ACT_ALLOW"
DEFAULTS: Final = ("/etc/containers/seccomp.json", "/usr/share/containers/seccomp.json")
"""Where podman's own profile lies."""

_MULTIPLEXED: Final = frozenset(("socketcall", "ipc"))
"""Calls that i386 has others inside. Where a profile has a rule for one, libseccomp takes no other beside it.

Programs of this decade call what is inside directly, and are served.
"""

_UNANSWERED: Final = frozenset(("rt_sigreturn", "sigreturn"))
"""Calls that the runtime makes itself between loading the filter and handing over its listener: if a signal comes in
that moment, it would wait for an agent that cannot know of it.

So a call of the container that a signal interrupts is not made again where the handler does not ask for it: EINTR.
"""


def _bits(when: tuple[When, ...]) -> tuple[int, list[int]] | None:
    """An argument, and single bits of it one of which is set in every wanted call; None if there are none such."""
    if not when or any(test.op != "eq" or not test.value or test.arg != when[0].arg for test in when):
        return None
    return when[0].arg, sorted({1 << test.value.bit_length() - 1 for test in when})


def _masked(arg: int, mask: int, value: int) -> list[dict[str, Any]]:
    return [{"index": arg, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}]


def rules(without: frozenset[str] = frozenset()) -> list[dict[str, Any]]:
    """What our calls need, `without` some, as the runtime specification writes it (linux.seccomp.syscalls)."""
    always = []
    found: list[dict[str, Any]] = []
    for name, syscall in sorted(SYSCALLS.items()):
        if name in without:
            continue
        known = _bits(syscall.when)
        if known is None:
            always.append(name)
            continue
        arg, bits = known
        whole = 0
        for bit in bits:
            whole |= bit
            found.append({"names": [name], "action": _NOTIFY, "args": _masked(arg, bit, bit)})
        found.append({"names": [name], "action": _ALLOW, "args": _masked(arg, whole, 0)})
    return [{"names": always, "action": _NOTIFY}, *found]


def merge(profile: dict[str, Any], socket: str) -> dict[str, Any]:
    """`profile` with our calls sent to `socket`, whatever it says of them."""
    theirs = {name for entry in profile.get("syscalls", []) for name in entry.get("names", [])}
    left = (_MULTIPLEXED & theirs) | _UNANSWERED
    ours = SYSCALLS.keys() - left
    kept = []
    for entry in profile.get("syscalls", []):
        names = [name for name in entry.get("names", [entry.get("name")]) if name not in ours]
        if names:
            kept.append({**entry, "names": names})
    return {**profile, "listenerPath": socket, "syscalls": kept + rules(left)}
