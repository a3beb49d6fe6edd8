# SPDX-License-Identifier: GPL-2.0-or-later
"""File systems that are bound instead of being made, and binds that come with all below them."""


from __future__ import annotations

import os


class Context:
    """What fsopen(2) and fsconfig(2) have been told of one that is to be bound.

    The kind; whether it is to be read-only, or refused; the copy (a descriptor), when it is made and not mounted.
    """

    __slots__ = ("kind", "made", "named", "refused", "tree", "unwritable")

    def __init__(self, kind: bytes) -> None:
        self.kind = kind
        self.named = False
        self.refused = False
        self.unwritable = False
        self.made = False
        self.tree = -1


class WholeBind:
    """What holds it until it is attached (a descriptor, or -1), and what of it seems to be gone.

    That is, where it was asked for `with_parts` (MS_REC), those of them that were unmounted, by `tracee.mountinfo_id`.
    """

    __slots__ = ("tree", "unmounted")

    def __init__(self, tree: int = -1, *, with_parts: bool = False) -> None:
        self.tree = tree
        self.unmounted: set[int] | None = set() if with_parts else None

    def let_go(self) -> None:
        """It is attached, or is not to be any more."""
        if self.tree >= 0:
            os.close(self.tree)
            self.tree = -1
