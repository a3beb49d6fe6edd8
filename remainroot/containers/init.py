# SPDX-License-Identifier: GPL-2.0-or-later
"""PID 1 of a box: reaps orphans, passes signals from inside to CMD, and ends with the supervisor.

It is a fork of the supervisor and runs no program, so a root needs none for it. It is not under the shim. Its death
is the end of every process of the box (pid_namespaces(7)), so nothing has to be tidied up by anybody.
"""

from __future__ import annotations

import os

from remainroot import kernel
from remainroot.containers import namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Final, NoReturn
else:
    import _signal as signal  # what the module of that name wraps, without its 8 ms of enum

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_KEPT_TO_ITSELF: Final = frozenset({signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH})


def die_with(parent: int) -> None:
    """Have the kernel kill this process when `parent`, which started it, ends; at once if it has ended already."""
    kernel.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() not in (parent, 0):  # 0: it is there, in an outer pid namespace
        os.kill(os.getpid(), signal.SIGKILL)


class Init:
    """PID 1, as the supervisor and CMD's process know it."""

    def __init__(self) -> None:
        """Fork it, in a new pid namespace."""
        self._command, self._tell = os.pipe2(os.O_CLOEXEC)
        self._acknowledged, self._acknowledge = os.pipe2(os.O_CLOEXEC)
        supervisor = os.getpid()
        self.pid = namespaces.clone(namespaces.NEWPID)
        if self.pid == 0:
            try:
                self._live(supervisor)
            finally:
                os._exit(125)
        os.close(self._command)
        os.close(self._acknowledge)

    # -- in CMD's process

    def follow(self, flags: int) -> bool:
        """Have PID 1 join this process's namespaces of the kinds in `flags`; False if it could not."""
        os.write(self._tell, b"%d %d" % (os.getpid(), flags))
        return os.read(self._acknowledged, 1) == b"k"

    # -- in PID 1

    def _live(self, supervisor: int) -> NoReturn:
        die_with(supervisor)
        os.setsid()
        os.chdir("/")
        for fd in {int(name) for name in os.listdir("/proc/self/fd")} - {self._command, self._acknowledge}:
            try:
                os.close(fd)
            except OSError:
                pass  # the directory's own
        for _ in range(3):
            os.open("/dev/null", os.O_RDWR)
        kernel.set_name(b"remainroot-init")
        command = self._join()
        # From here on nobody inside may look into this process: it has the host's environment.
        kernel.prctl(_PR_SET_DUMPABLE, 0)
        every = signal.valid_signals()
        while True:
            info = signal.sigwaitinfo(every)
            if info.si_signo == signal.SIGCHLD:
                _reap()
            elif info.si_signo not in _KEPT_TO_ITSELF:
                try:
                    os.kill(command, info.si_signo)
                except ProcessLookupError:
                    pass

    def _join(self) -> int:
        """Wait until CMD has made its namespaces, and join them; CMD's pid, as it is in here."""
        words = os.read(self._command, 64).split()
        if not words:
            os._exit(0)  # the supervisor gave up, and CMD's process with it
        pid, flags = map(int, words)
        pidfd = os.pidfd_open(pid)
        kernel.setns(pidfd, flags)
        os.close(pidfd)
        os.write(self._acknowledge, b"k")
        os.close(self._acknowledge)
        os.close(self._command)
        return pid


def _reap() -> None:
    """Bury every child that has ended: orphans of the box."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
