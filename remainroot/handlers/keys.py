# SPDX-License-Identifier: GPL-2.0-or-later
"""Keyrings: keyctl(2). They are the kernel's; what a user may not have of another user's is refused here."""

from __future__ import annotations

from errno import EPERM

from remainroot.credentials import CAP_SETUID
from remainroot.dispatch import CONTINUE, Fail, equals, handles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call, Outcome

_GET_PERSISTENT: Final = 22
_OWN: Final = 0xFFFF_FFFF


@handles("keyctl", when=equals(0, _GET_PERSISTENT))
def get_persistent(call: Call) -> Outcome:
    """keyctl_get_persistent(3): EPERM for the keyring of a user that is not the caller, without CAP_SETUID."""
    uid, creds = call.unsigned(1), call.creds
    if uid in (_OWN, creds.uid, creds.euid) or creds.capable(CAP_SETUID):
        return CONTINUE
    return Fail(EPERM)
