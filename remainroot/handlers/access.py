# SPDX-License-Identifier: GPL-2.0-or-later
"""What a task may do with a file, asked rather than tried: access(2) and its kin.

To the kernel every task is one user, for whom it would answer. Here the fake ids count, by the rules that `--strict`
holds all other calls to. What those allow, the kernel may still refuse (a read-only mount, a file that is not ours),
but for a device node that was made here: a device is written to wherever its node lies.
"""

from __future__ import annotations

import os
from stat import S_IFBLK, S_IFCHR, S_IFMT

from remainroot import quick
from remainroot.dispatch import CONTINUE, DONE, Fail, Refused, handles
from remainroot.kernel import AT_EACCESS, AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, EXHAUSTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call, Outcome

_DEVICES: Final = (S_IFCHR, S_IFBLK)
_FLAGS: Final = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_EACCESS


@handles("access", quick=quick.reach(1, path=0))
def access(call: Call) -> Outcome:
    """access(2): for the real ids."""
    return _answer(call, AT_FDCWD, 0, call.unsigned(1), 0)


@handles("faccessat", quick=quick.reach(2, path=1, dirfd=0))
def faccessat(call: Call) -> Outcome:
    """faccessat(2); the system call has no flags."""
    return _answer(call, call.signed(0), 1, call.unsigned(2), 0)


@handles("faccessat2", quick=quick.reach(2, path=1, dirfd=0, flags=3))
def faccessat2(call: Call) -> Outcome:
    """faccessat(2) with flags; AT_EACCESS asks for the effective ids. Linux 5.8."""
    return _answer(call, call.signed(0), 1, call.unsigned(2), call.unsigned(3))


def _answer(call: Call, dirfd: int, index: int, want: int, flags: int) -> Outcome:
    world = call.world
    nodes = world.readable_nodes and want & os.W_OK
    if (world.tasks.untouched and not nodes) or want & ~7 or flags & ~_FLAGS:
        return CONTINUE
    from remainroot.permissions import is_powerful, of_real_ids  # not needed before somebody drops root

    creds = call.creds
    if is_powerful(creds) and not nodes:
        return CONTINUE
    from remainroot.handlers.searching import Searcher

    searcher = Searcher(call, creds if flags & AT_EACCESS else of_real_ids(creds))
    try:
        file = searcher.find_at(dirfd, index, flags)
        if want and not (want & os.W_OK and searcher.is_frozen(file)):
            searcher.demand(file, want)
            if nodes and file.is_read_only and S_IFMT(searcher.owner(file).mode) in _DEVICES:
                return DONE  # to the kernel it is what stands for it
    except Refused as refusal:
        return Fail(refusal.errno)
    except OSError as error:
        if error.errno in EXHAUSTED:
            raise
    finally:
        searcher.close()
    return CONTINUE
