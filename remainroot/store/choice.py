# SPDX-License-Identifier: GPL-2.0-or-later
"""From what `--store` says to a store."""

from __future__ import annotations

from remainroot.errors import RemainrootError
from remainroot.store.memory import memory_store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.store.base import Store

KINDS: Final = "memory, durable[:FILE], xattr, sqlite:FILE, or durable+override_stat[:FILE] and xattr+override_stat"
_SPELLINGS: Final = {"": "rootlesscontainers", "override_stat": "containers"}


def import_store(text: str, *, lasting: bool) -> None:
    """Import what `open_store` will open, as far as it is the default's."""
    if (not text and lasting) or text.startswith("durable"):
        import remainroot.store.durable  # noqa: F401


def open_store(text: str, *, lasting: bool = False, whole_identity: bool = False) -> Store:
    """The store that `text` names; "" is the default: durable where owners should be `lasting`, else memory.

    RemainrootError for a text that names none, and for a database that cannot be one.
    """
    if not text and lasting:
        try:
            return open_store("durable", whole_identity=whole_identity)
        except RemainrootError:
            # No place here outlasts this run: files carry their owners, the rest lasts as long as we do.
            from remainroot.store.durable import DurableStore

            return DurableStore("", always_both=whole_identity)
    scheme, colon, path = text.partition(":")
    kind, _, how = scheme.partition("+")
    spelling = _SPELLINGS.get(how)
    if kind in ("", "memory") and not how and not colon:
        return memory_store()
    if spelling is not None and not (colon and not path):
        if kind == "xattr" and not colon:
            from remainroot.store.xattr import XattrStore

            return XattrStore(spelling)
        if kind == "durable":
            from remainroot.store.durable import DurableStore, default_database

            return DurableStore(path or default_database(), spelling, always_both=whole_identity)
        if kind == "sqlite" and path and not how:
            from remainroot.store.sqlite import SqliteStore

            return SqliteStore(path)
    raise RemainrootError(f"option --store: {text!r} names no store: give {KINDS}")
