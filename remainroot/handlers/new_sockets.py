# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose a socket is: its maker's, be it by socket(2), socketpair(2) or accept(2). See `remainroot.handlers.pipes`."""

from __future__ import annotations

import os
from struct import Struct

from remainroot import quick
from remainroot.dispatch import CONTINUE, Attend, handles
from remainroot.kernel import read_memory
from remainroot.store.base import Owner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from remainroot.dispatch import Call, Outcome
    from remainroot.outcomes import Have

_ENDS: Final = Struct("=ii")


@handles("socket", "accept", "accept4", lax=False, quick=quick.MAKE)
def new_socket(call: Call) -> Outcome:
    """socket(2), accept(2): it is the caller's, by its file-system ids."""
    return _attended(call, lambda result: (result,))


def new_pair(call: Call, address: int) -> Outcome:
    """socketpair(2), which puts the numbers of both at `address`: the same."""
    tid = call.tid
    return _attended(call, lambda _: _ENDS.unpack(read_memory(tid, address, _ENDS.size)))


def _attended(call: Call, made: Callable[[int], tuple[int, ...]]) -> Outcome:
    """Let the call run, and note whose the sockets are that it has `made`: by its result, the caller's descriptors."""
    creds = call.creds
    if creds.fsuid == 0 and creds.fsgid == 0:
        return CONTINUE
    tid, files, unnamed, owner = call.tid, call.world.files, call.world.unnamed, Owner(creds.fsuid, creds.fsgid)

    def finish(_: Have, result: int) -> int:
        try:
            for number in made(result):
                fd = files.descriptor(tid, number)
                unnamed.made(fd, owner)
                os.close(fd)
        except OSError:
            unnamed.miss()  # another thread has closed it, or taken the memory away
        return result

    return Attend(call.abi.numbers[call.name], call.args[0], 0, call.args[0], finish, unnamed.miss)
