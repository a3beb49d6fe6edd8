# SPDX-License-Identifier: GPL-2.0-or-later
"""The notify engine's conversation with the kernel where the compiled loop does not hold it."""

from __future__ import annotations

from fcntl import ioctl

from remainroot.engines.listener import NOTIF, RECV, RESP, SEND, ask
from remainroot.libc import may_be_read


class Conversation:
    """What `remainroot.loop.Loop` does, but for the answers of its own."""

    def __init__(self, listener: int) -> None:
        self._listener = listener
        self._response = bytearray(RESP.size)
        self._notification = bytearray(NOTIF.size)
        self._empty = bytes(NOTIF.size)

    def exchange(
        self, current: int, value: int, error: int, flags: int, patience: int
    ) -> tuple[int, int, int, int, tuple[int, ...]] | None:
        """Send an answer (to `current`; 0: none) and receive: (id, tid, arch, nr, args).

        None if no call came for `patience` ms (-1: wait for ever), or before a signal. OSError if there is nothing to
        be received.
        """
        listener, notification = self._listener, self._notification
        if current:
            RESP.pack_into(self._response, 0, current, value, error, flags)
            ask(listener, SEND, self._response)  # if not, the task died, or was interrupted, while it waited
        if patience >= 0 and not may_be_read(listener, patience):
            return None
        notification[:] = self._empty
        ioctl(listener, RECV, notification)
        current, tid, _, nr, arch, _, *args = NOTIF.unpack(notification)
        return current, tid, arch, nr, tuple(args)
