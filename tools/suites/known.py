# SPDX-License-Identifier: GPL-2.0-or-later
"""Why a test of a suite ends otherwise under remainroot: by suite, then by a beginning of the test's name.

What stands here and does not differ is harmless; what differs and does not stand here is shown as unexplained.
"""

from __future__ import annotations

_FLAG = "chattr's flags are remembered, and keep root from changing owners and modes, but from no write or unlink."
_LOOP = "It mounts a disk image, which a user namespace may not; what is mounted must be there."
REASONS: dict[str, dict[str, str]] = {
    "acl": {
        "test/root/permissions line 245": (
            "Opening a device node opens its placeholder, an empty file; the kernel has no such device (ENXIO)."
        ),
    },
    "coreutils": {
        "tests/cp/cross-dev-symlink": _LOOP,
        "tests/df/over-mount-device": _LOOP,
        "tests/df/problematic-chars": _LOOP,
        "tests/rm/read-only": _LOOP,
        "tests/rm/empty-immutable-skip": _FLAG,
        "tests/tail-2/append-only": _FLAG,
    },
}


def reason(suite: str, test: str) -> str:
    """The longest fitting entry's, empty if there is none."""
    fitting = [name for name in REASONS.get(suite, {}) if test.startswith(name)]
    return REASONS[suite][max(fitting, key=len)] if fitting else ""
