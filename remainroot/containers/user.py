# SPDX-License-Identifier: GPL-2.0-or-later
"""Users by the root's own /etc/passwd and /etc/group, whatever the host's say: passwd(5), group(5)."""

from __future__ import annotations

import os

from remainroot.errors import RemainrootError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class User:
    """Whom a command runs as, and where that one is at home."""

    __slots__ = ("gid", "groups", "home", "uid")

    def __init__(self, uid: int, gid: int, groups: list[int], home: str) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home

    def become(self) -> None:
        """Take these ids, as a login would. The shim answers, or the kernel."""
        if self.uid or self.gid or self.groups:
            os.setgroups(self.groups)
            os.setresgid(self.gid, self.gid, self.gid)
            os.setresuid(self.uid, self.uid, self.uid)


def _lines(path: str, fields: int) -> Iterator[list[str]]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                words = line.rstrip("\n").split(":")
                if len(words) >= fields:
                    yield words
    except OSError:
        return


def _number(text: str, what: str) -> int:
    value = int(text)
    if value >= 0xFFFF_FFFF:
        raise RemainrootError(f"option --user: {text} is no {what} (0 to 4294967294)")
    return value


def find_user(text: str) -> User:
    """Who `UID[:GID]` or `NAME[:GROUP]` is, by the files of our root. RemainrootError if there is none of that name."""
    name, colon, group = text.partition(":")
    if not name or (colon and not group):
        raise RemainrootError(f"option --user is UID[:GID] or NAME[:GROUP], not {text!r}")
    uid, gid, home, login = -1, 0, "/", ""
    if name.isdecimal():
        uid = _number(name, "uid")
    for words in _lines("/etc/passwd", 7):
        if words[2].isdecimal() and words[3].isdecimal() and (words[0] == name or int(words[2]) == uid):
            uid, gid, home, login = int(words[2]), int(words[3]), words[5] or "/", words[0]
            break
    if uid < 0:
        raise RemainrootError(f"option --user: there is no user {name!r} in this root's /etc/passwd")
    if not uid and not login:
        home = "/root"
    if group:
        gid = _number(group, "gid") if group.isdecimal() else _group(group)
    members = [words for words in _lines("/etc/group", 4) if words[2].isdecimal()] if login and not group else []
    groups = {int(words[2]) for words in members if login in words[3].split(",")}
    if uid:
        groups.add(gid)
    return User(uid, gid, sorted(groups), home)


def _group(name: str) -> int:
    for words in _lines("/etc/group", 3):
        if words[0] == name and words[2].isdecimal():
            return int(words[2])
    raise RemainrootError(f"option --user: there is no group {name!r} in this root's /etc/group")
