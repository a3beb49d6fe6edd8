# SPDX-License-Identifier: GPL-2.0-or-later
"""Keyrings: keyctl(2). They are the kernel's, and the user's; only the persistent ones are told apart here.

To the kernel all tasks are one user, and it knows no other. So the persistent keyring of any other id is an ordinary
keyring of ours, with the name that the kernel would give it. It lasts for the run. Everybody in the tree may do with it
what the kernel lets one do who possesses it, and the task that asks for it links it into its own keyring itself.
"""

from __future__ import annotations

from errno import EPERM

from remainroot.credentials import CAP_SETUID
from remainroot.dispatch import CONTINUE, Fail, Instead, Return, equals, handles
from remainroot.kernel import (
    KEYCTL_DESCRIBE,
    KEYCTL_GET_PERSISTENT,
    KEYCTL_LINK,
    KEYCTL_READ,
    KEYCTL_SET_TIMEOUT,
    KEYCTL_SETPERM,
    keyctl,
    make_keyring,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call, Outcome

_OWN: Final = 0xFFFF_FFFF
_NO_GROUP: Final = 65534
_PERMISSIONS: Final = 0x1F030000
"""The kernel's of a persistent keyring: all for who possesses it, but to set these; to view and read for the owner."""
_OURS: Final = 0x1F3F0000
_EXPIRY: Final = "/proc/sys/kernel/keys/persistent_keyring_expiry"


def _is_usable(serial: int) -> bool:
    """Whether nobody has revoked it, and it is not too old: otherwise there is a new one, as in the kernel."""
    try:
        keyctl(KEYCTL_READ, serial, None, 0)
    except OSError:
        return False
    return True


def _persistent(call: Call, uid: int) -> int:
    """The serial number of the persistent keyring of `uid`; from now on it lasts as long as a new one."""
    rings = call.world.persistent_keyrings
    serial = rings.get(uid, 0)
    if not serial or not _is_usable(serial):
        serial = make_keyring(b"_persistent.%d" % uid)
        keyctl(KEYCTL_SETPERM, serial, _OURS)
        rings[uid] = serial
    with open(_EXPIRY, encoding="ascii") as file:
        keyctl(KEYCTL_SET_TIMEOUT, serial, int(file.read()))
    return serial


def _get_persistent(call: Call) -> Outcome:
    """keyctl_get_persistent(3): EPERM for the keyring of a user that is not the caller, without CAP_SETUID."""
    creds = call.creds
    uid = creds.namespace.uids.named(call.unsigned(1))
    if uid == _OWN:
        uid = creds.uid
    elif uid not in (creds.uid, creds.euid) and not creds.capable_inside(CAP_SETUID):
        return Fail(EPERM)
    if uid == 0 and not call.world.settings.whole_identity:
        return CONTINUE
    call.check()
    serial = _persistent(call, uid)
    return Instead(call.abi.numbers["keyctl"], (KEYCTL_LINK, serial, call.unsigned(2)), serial)


def _describe(call: Call) -> Outcome:
    """keyctl_describe(3): whose a persistent keyring is, and who may do what with it."""
    serial = call.unsigned(1)
    for uid, ring in call.world.persistent_keyrings.items():
        if ring == serial:
            keyctl(KEYCTL_DESCRIBE, serial, None, 0)  # an error, if it is revoked
            whose = uid - (1 << 32) if uid >> 31 else uid  # as the kernel shows it
            text = b"keyring;%d;%d;%08x;_persistent.%d\0" % (whose, _NO_GROUP, _PERMISSIONS, uid)
            if call.ptr(2) and call.ptr(3) >= len(text):
                call.write(call.ptr(2), text)
            return Return(len(text))
    return CONTINUE


@handles("keyctl", when=equals(0, KEYCTL_GET_PERSISTENT, KEYCTL_DESCRIBE))
def keyctl_(call: Call) -> Outcome:
    """keyctl(2) of persistent keyrings: to get one, and to describe it."""
    return _describe(call) if call.unsigned(0) == KEYCTL_DESCRIBE else _get_persistent(call)
