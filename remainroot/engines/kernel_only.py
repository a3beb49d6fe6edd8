# SPDX-License-Identifier: GPL-2.0-or-later
"""No supervisor at all: a seccomp filter alone says "done" to what would fail, and nobody remembers anything.

For speed where nothing is asked back: every change of ids, capabilities or owner, and every device node, succeeds and
has no effect (getuid, stat and the disk show the truth). The filter is put on this very process, which then becomes
CMD; nothing stays behind.
"""

from __future__ import annotations

from remainroot.engines import prepared
from remainroot.kernel import load_filter


def program() -> bytes:
    """The filter: errno 0 for every call that is declared to be answered blindly."""
    from remainroot.dispatch import SYSCALLS, build_table
    from remainroot.engines.filter import RET_ERRNO, assemble

    rules = {}
    for arch, rows in build_table().items():
        blind = {nr: SYSCALLS[row.name].blind for nr, row in rows.items()}
        rules[arch] = {nr: when for nr, when in blind.items() if when is not None}
    return assemble(rules, RET_ERRNO)


def load() -> None:
    """Put the filter on this process; OSError where seccomp refuses it."""
    load_filter(prepared.get(strict=False).blind)
