# SPDX-License-Identifier: GPL-2.0-or-later
"""Front: the process that the caller started, which stands for CMD while the supervisor and CMD do the work.

It holds all signals blocked and takes them with sigwaitinfo(2), which tells who sent them:

- The terminal: CMD is in the same process group and has it already.
- kill(2) to front: passed on to CMD. (kill(2) to the whole process group: CMD gets it twice, the kernel does
  not tell the two apart. What CMD's own tree sends, as `kill 0` does, is not passed on.)
- The supervisor's pipe, which signals when it is readable: a message, a line each: `pid N`, `ended
  WAITSTATUS`, `error STATUS TEXT`.
"""

from __future__ import annotations

import os
from time import sleep

from remainroot import kernel
from remainroot.errors import EXIT_OURS

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Final, NoReturn
else:
    import _signal as signal  # what the module of that name wraps, without its 8 ms of enum

EVERY_SIGNAL: Final = signal.valid_signals()
MESSAGE: Final = signal.SIGRTMAX
"""Sent by the kernel when the supervisor's pipe is readable."""
_FROM_TERMINAL: Final = frozenset(
    {
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTSTP,
        signal.SIGTTIN,
        signal.SIGTTOU,
        signal.SIGHUP,
        signal.SIGCONT,
        signal.SIGWINCH,
    }
)
"""What the kernel sends to a process group on a terminal's behalf."""
_HARMLESS: Final = frozenset({signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH, MESSAGE})
_HANG_UP: Final = (signal.SIGHUP, signal.SIGCONT)
_SI_KERNEL: Final = 0x80
_PR_SET_DUMPABLE: Final = 4


class Front:
    """The process the caller started, while CMD runs. All its signals are blocked."""

    __slots__ = (
        "buffer",
        "command",
        "command_pid",
        "early",
        "leader",
        "linger",
        "receiver",
        "status",
        "supervisor",
        "survives",
    )

    def __init__(self, supervisor: int, receiver: int, *, linger: bool, survives: bool = True) -> None:
        self.supervisor = supervisor
        self.receiver = receiver
        self.linger = linger
        """Wait for the supervisor's end, too."""
        self.survives = survives
        """CMD can outlive the supervisor."""
        self.command = -1
        """pidfd of CMD once it is known."""
        self.command_pid = 0
        self.early: list[int] = []
        """Signals for CMD that came before that."""
        self.status = -1
        """CMD's wait status once it has ended."""
        self.buffer = b""
        self.leader = os.getsid(0) == os.getpid()

    def wait(self) -> NoReturn:
        """Pass signals to CMD and end as CMD ends."""
        while True:
            info = signal.sigwaitinfo(EVERY_SIGNAL)
            known = self.command >= 0  # when the signal came; it may have come before CMD was there, and be read after
            self.receive()
            signo = info.si_signo
            if signo == signal.SIGCHLD:
                self.reap()
            elif self.status >= 0:
                if signo not in _HARMLESS:
                    leave(self.status)
            elif self.is_for_command(signo, info.si_code, info.si_pid, known=known):
                self.forward(signo)

    # -- the supervisor

    def receive(self) -> None:
        """Take the supervisor's messages."""
        try:
            while data := os.read(self.receiver, 4096):
                self.buffer += data
        except BlockingIOError:
            pass
        *lines, self.buffer = self.buffer.split(b"\n")
        for line in lines:
            word, _, rest = line.decode(errors="surrogateescape").partition(" ")
            if word == "pid":
                self.started(int(rest))
            elif word == "ended":
                self.status = int(rest)
                if not self.linger:
                    leave(self.status)
            else:
                status, _, text = rest.partition(" ")
                complain(text)
                os._exit(int(status))

    def started(self, pid: int) -> None:
        """CMD is process `pid`: hand over the signals that came before."""
        try:
            self.command, self.command_pid = os.pidfd_open(pid), pid
        except ProcessLookupError:  # it has ended already
            return
        for signo in self.early:
            self.forward(signo)

    def reap(self) -> None:
        """Bury children: the supervisor, and as PID 1 all orphans that are not the supervisor's."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.supervisor:
                self.receive()
                if self.status >= 0:
                    leave(self.status)
                code = os.waitstatus_to_exitcode(status)
                reason = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
                fate = "CMD is on its own, unsupervised" if self.survives else "CMD was killed with it"
                complain(f"the supervisor {reason} while CMD was running; {fate}")
                os._exit(EXIT_OURS)

    # -- signals

    def is_for_command(self, signo: int, code: int, sender: int, *, known: bool) -> bool:
        """Whether CMD has not got this signal yet: `code` says how it was sent, `sender` by whom.

        `known`: we knew of CMD when it came.
        """
        if code <= 0:  # by a process
            if self.is_ours(sender):
                return False
            return signo != signal.SIGCONT or self.command < 0 or self.stays_stopped()
        if code != _SI_KERNEL:
            return False  # our own pipe
        # A hang-up of the terminal is told to the session's leader alone, and that would be CMD if we were
        # not here. While CMD is not known it may have been forked after the terminal's signal, or it has the
        # signal pending: twice is once then.
        return signo not in _FROM_TERMINAL or not known or (self.leader and signo in _HANG_UP)

    def is_ours(self, pid: int) -> bool:
        """Whether `pid` is the supervisor or of CMD's tree, all of which descends from it."""
        while pid > 1:
            if pid == self.supervisor:
                return True
            pid = _process(pid)[1]
        return False

    def stays_stopped(self) -> bool:
        """Whether CMD needs a SIGCONT. A shell continues the whole group, CMD with it; a tracer may need a moment."""
        for _ in range(10):
            if _process(self.command_pid)[0] not in "Tt":
                return False
            sleep(0.005)
        return True

    def forward(self, signo: int) -> None:
        """Send CMD `signo`, once CMD is known."""
        if self.command < 0:
            self.early.append(signo)
            return
        if signo == signal.SIGCONT:
            self.give_terminal()
        try:
            signal.pidfd_send_signal(self.command, signo)
        except ProcessLookupError:  # it has ended; the supervisor will say so
            pass

    def give_terminal(self) -> None:
        """Where the terminal was given to our process group, and CMD (a shell) has made one of its own: hand it on."""
        try:
            group = os.getpgid(self.command_pid)
            if group == os.getpgrp():
                return
            terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError:  # CMD has ended, or there is no terminal
            return
        try:
            if os.tcgetpgrp(terminal) == os.getpgrp():
                os.tcsetpgrp(terminal, group)
        except OSError:  # a group in another session, or a terminal that is hung up
            pass
        finally:
            os.close(terminal)


def _process(pid: int) -> tuple[str, int]:
    """State letter and parent of process `pid`, ("", 0) if it is gone: proc_pid_stat(5)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state, parent = file.read().rpartition(b") ")[2].split()[:2]
    except OSError:
        return "", 0
    return state.decode(), int(parent)


def leave(status: int) -> NoReturn:
    """End this process as the wait `status` says: the same status, or the same signal without a second core.

    PID 1 cannot be killed by its own signal: 128 + its number, as shells say it.
    """
    if os.WIFEXITED(status):
        os._exit(os.WEXITSTATUS(status))
    signo = os.WTERMSIG(status)
    kernel.prctl(_PR_SET_DUMPABLE, 0)
    try:
        signal.signal(signo, signal.SIG_DFL)
    except (OSError, ValueError):  # SIGKILL; the C library's own two
        pass
    os.kill(os.getpid(), signo)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signo})
    os._exit(128 + signo)


def complain(text: str) -> None:
    """Say `text` on standard error, in our name."""
    os.write(2, f"remainroot: {text}\n".encode(errors="surrogateescape"))
