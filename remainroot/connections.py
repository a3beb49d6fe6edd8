# SPDX-License-Identifier: GPL-2.0-or-later
"""Who was who when sockets were made: what the kernel keeps of a unix socket's peer (unix(7), SO_PEERCRED).

The kernel notes the peer's process and its ids at the moment of connect(2), listen(2) or socketpair(2), and its ids are
all the same to us. So those calls of tasks that are not plain root are noted here, by process, and found again by the
process that the kernel names. What is not noted was done by plain root; of a process that something is noted of, what
it does as plain root is, too.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.credentials import Credentials
    from remainroot.tasks import State

    Key = int | str | bytes | None
    Sender = tuple[int, int, int]
    """Whom a message names as its sender: the process, by its number here, its user id and its group id."""

LISTEN: Final = "listen"
"""Keyed by the address that the socket is bound to."""
CONNECT: Final = "connect"
"""Keyed by the inode number of the socket that connects."""
PAIR: Final = "socketpair"
"""Has no key: of several, the last one counts."""

_MOST: Final = 4096
_MOST_CLAIMS: Final = 64


def is_plain(creds: Credentials) -> bool:
    """Whether the other side of a socket sees root as it starts: what such a task does is not noted."""
    return creds.uid == creds.euid == creds.gid == creds.egid == 0 and not creds.groups


def start_time(pid: int) -> int:
    """When the process was started, in clock ticks since boot; -1 if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return -1
    return int(text[text.rindex(b")") + 2 :].split()[19])


class _Process:
    """What one process did: its start time (pids are used again), and state by (kind, key)."""

    __slots__ = ("claims", "done", "last", "last_claim", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.done: dict[tuple[str, Key], State] = {}
        self.last: State | None = None
        self.claims: list[tuple[bytes, Sender]] = []
        self.last_claim: Sender | None = None


class Connections:
    """What was done by tasks that are not plain root, the oldest forgotten first."""

    def __init__(self) -> None:
        self.passing = False
        """Some socket of the tree wants its senders' credentials (SO_PASSCRED)."""
        self.processes: dict[int, _Process] = {}
        """Of whom something is noted."""

    def _process(self, pid: int) -> _Process:
        start = start_time(pid)
        found = self.processes.pop(pid, None)
        if found is None or found.start != start:
            found = _Process(start)
            if len(self.processes) >= _MOST:
                del self.processes[next(iter(self.processes))]
        self.processes[pid] = found
        return found

    def note(self, pid: int, kind: str, key: Key, state: State) -> None:
        """Process `pid`, in `state`, does this."""
        process = self._process(pid)
        if len(process.done) >= _MOST:
            del process.done[next(iter(process.done))]
        process.done[kind, key] = process.last = state

    def claim(self, pid: int, sender: Sender, text: bytes) -> None:
        """The kernel names process `pid` as what sends a message that begins with `text`, which names `sender`."""
        process = self._process(pid)
        process.last_claim = sender
        claims = process.claims
        if len(claims) >= _MOST_CLAIMS:
            del claims[0]
        claims.append((text, sender))

    def _known(self, pid: int) -> _Process | None:
        found = self.processes.get(pid)
        if found is None or (found.start != start_time(pid) and os.path.exists(f"/proc/{pid}")):
            return None
        return found

    def has(self, pid: int) -> bool:
        """Whether anything is known of this process."""
        return pid in self.processes and self._known(pid) is not None

    def find(self, pid: int, kind: str, key: Key) -> State | None:
        """What `pid` was when it did this; None: plain root, as far as is known."""
        process = self._known(pid)
        return None if process is None else process.done.get((kind, key))

    def last(self, pid: int) -> State | None:
        """What `pid` was when it last did anything of the kind."""
        process = self._known(pid)
        return None if process is None else process.last

    def claimed(self, pid: int, text: bytes = b"", *, take: bool = False, whole: bool = False) -> Sender | None:
        """Whom `pid` named with the message that begins with `text`.

        If there is no such message, whom it named last; None if `text` is the `whole` of it, which was then sent
        without naming anybody. `take`: the message will not be seen again.
        """
        process = self._known(pid)
        if process is None:
            return None
        for index, (sent, sender) in enumerate(process.claims):
            if sent == text:
                if take:
                    del process.claims[index]
                return sender
        return None if whole else process.last_claim
