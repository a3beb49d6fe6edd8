# SPDX-License-Identifier: GPL-2.0-or-later
"""What fsopen(2) and fsconfig(2) have been told of a file system that is to be bound instead of being made."""

from __future__ import annotations


class Context:
    """The kind; whether it is to be read-only, or refused; the copy (a descriptor), when it is made and not mounted."""

    __slots__ = ("kind", "made", "named", "refused", "tree", "unwritable")

    def __init__(self, kind: bytes) -> None:
        self.kind = kind
        self.named = False
        self.refused = False
        self.unwritable = False
        self.made = False
        self.tree = -1
