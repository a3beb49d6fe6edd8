# SPDX-License-Identifier: GPL-2.0-or-later
"""What the user asked for, as the rest of the program reads it."""

from __future__ import annotations

from remainroot.errors import RemainrootError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

PRETENCES: Final = ("flags", "hostname", "ioprio", "mlock", "nice", "oom", "realtime", "rlimit", "syslog")
"""Privileged calls that only seem to succeed, as `--refuse` names them; doc/PRIVILEGED.md says what each is."""


def parse_refused(text: str) -> frozenset[str]:
    """The pretences that `NAME[,NAME]...` means; RemainrootError for anything else."""
    names = text.split(",")
    for name in names:
        if name not in PRETENCES:
            raise RemainrootError(f"option --refuse takes some of {', '.join(PRETENCES)}, with commas; not {name!r}")
    return frozenset(names)


class Settings:
    """One run's settings.

    `whole_identity`: no user namespace was made, so the user's own ids are to be shown as root's. `log` is a logger as
    `remainroot.log.make` makes it, or None. `load` and `save` are files as fakeroot has them, or "". `outer` are the
    user's ids outside of the user namespace that was made, None where we were in one before. `unknown_is_real`: what
    nobody gave an owner belongs to `outer`. `strict`: who lacks a capability is refused what it would allow.
    `root`: where CMD's root lies when it is started; the dynamic loader is looked for there.
    `refused`: privileged calls (`PRETENCES`) that are not to seem to succeed where the kernel refuses them.
    """

    __slots__ = (
        "engine",
        "fake_time",
        "gid",
        "groups",
        "load",
        "log",
        "outer",
        "refused",
        "root",
        "save",
        "stats",
        "store",
        "strict",
        "trace_calls",
        "uid",
        "unknown_is_real",
        "whole_identity",
    )

    def __init__(self) -> None:
        self.engine = "auto"
        self.fake_time = False
        self.uid = 0
        self.gid = 0
        self.groups: tuple[int, ...] = ()
        self.store = ""
        self.load = ""
        self.save = ""
        self.outer: tuple[int, int] | None = None
        self.unknown_is_real = False
        self.root = ""
        self.refused: frozenset[str] = frozenset()
        self.log: Any = None
        self.trace_calls = False
        self.stats = False
        self.strict = False
        self.whole_identity = False
