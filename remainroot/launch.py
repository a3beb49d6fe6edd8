# SPDX-License-Identifier: GPL-2.0-or-later
"""Three processes that look like one command: exit status, signals, terminal, descriptors.

- front: the process the caller started. Stands for CMD towards the caller, and waits.
- supervisor: front's child. Answers the calls of the tree, in a session of its own where no terminal signals
  it.
- CMD: the supervisor's child, with the caller's session, process group, descriptors, signal mask and so on.

CMD is the supervisor's child because only an ancestor may look into a task where ptrace is restricted. Front
is apart from the supervisor because the caller wants CMD's end at once, while a daemon that CMD left behind
needs answers for longer.

Front holds all signals blocked and takes them with sigwaitinfo(2), which tells who sent them:

- The terminal: CMD is in the same process group and has it already.
- kill(2) to front: passed on to CMD. (kill(2) to the whole process group: CMD gets it twice, the kernel does
  not tell the two apart. What CMD's own tree sends, as `kill 0` does, is not passed on.)
- The supervisor's pipe, which signals when it is readable: a message, a line each: `pid N`, `ended
  WAITSTATUS`, `error STATUS TEXT`.

The supervisor stops front when CMD stops and continues it when CMD goes on, so that the caller's shell sees
both. Nobody can catch SIGKILL or SIGSTOP: such a signal to front leaves CMD running, supervised as before.
"""

from __future__ import annotations

import errno
import fcntl
import os

from remainroot import kernel
from remainroot.errors import EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, EXIT_OURS, RemainrootError
from remainroot.supervisor import joined, supervise

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Iterable
    from typing import Final, NoReturn

    from remainroot.settings import Settings
else:
    import _signal as signal  # what the module of that name wraps, without its 8 ms of enum

_EVERY: Final = signal.valid_signals()
_MESSAGE: Final = signal.SIGRTMAX
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
_HARMLESS: Final = frozenset({signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH, _MESSAGE})
_SI_KERNEL: Final = 0x80
_STANDARD_FDS: Final = 3

_PR_SET_DUMPABLE: Final = 4
_CLONE_NEWUSER: Final = 0x1000_0000


def launch(settings: Settings, command: list[str], *, anyway: bool, keep_stderr: bool) -> NoReturn:
    """Run `command` as `settings` say and end as it ends.

    `anyway` lifts the refusal to run as real root; `keep_stderr` lets the supervisor write to standard error
    after CMD's end, too, which keeps a reader of it waiting for daemons. Raises RemainrootError, with nothing
    started, where it cannot be done.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _EVERY)
    if joined():
        # An outer remainroot answers for us: there is nothing to set up, and it answers these three as well.
        if settings.uid or settings.gid:
            _switch_user(settings)
        become(command, mask)
    enter_namespace(anyway=anyway)
    occupy_standard_fds()
    inherited = inherited_fds()
    receiver, sender = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    fcntl.fcntl(receiver, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(receiver, fcntl.F_SETSIG, _MESSAGE)
    fcntl.fcntl(receiver, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
    front = os.pidfd_open(os.getpid())
    try:
        pid = os.fork()
    except OSError as error:
        raise RemainrootError(f"cannot start the supervisor: fork: {error.strerror}") from None
    if pid == 0:
        os.close(receiver)
        _supervisor(settings, command, mask, _Caller(front, sender, inherited, keep_stderr=keep_stderr))
    os.close(sender)
    os.close(front)
    _Front(pid, receiver, linger=settings.stats).wait()


# ---------------------------------------------------------------- where and who we are


def _switch_user(settings: Settings) -> None:
    try:
        os.setgroups(settings.groups)
        os.setresgid(settings.gid, settings.gid, settings.gid)
        os.setresuid(settings.uid, settings.uid, settings.uid)
    except OSError as error:
        raise RemainrootError(f"cannot become {settings.uid}:{settings.gid}: {error.strerror}") from None


def enter_namespace(*, anyway: bool) -> None:
    """See to it that this process is root where one uid and one gid are mapped.

    Root of a user namespace already is. Real root is refused (RemainrootError) unless `anyway`: there is
    nothing to mend for it, and a faked answer could only mislead a real system. Any other user gets a
    namespace with the mapping 0 -> own ids.
    """
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        if not anyway and _everything_is_mapped():
            raise RemainrootError(
                "refused: this is real root with every id mapped, which needs no faking; "
                "run it as a plain user or inside a rootless container (--anyway insists)"
            )
        return
    try:
        kernel.unshare(_CLONE_NEWUSER)
    except OSError as error:
        # The place where faking the whole identity (settings.whole_identity) would begin.
        raise RemainrootError(f"cannot make a user namespace: {error.strerror}; {_NO_NAMESPACE}") from None
    try:
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"0 {uid} 1")
        _write("/proc/self/gid_map", f"0 {gid} 1")
    except OSError as error:
        raise RemainrootError(
            f"cannot map {uid}:{gid} to root in a user namespace: {error}; {_NO_NAMESPACE}"
        ) from None


_NO_NAMESPACE: Final = (
    "this kernel or container does not allow it to users (see user.max_user_namespaces, "
    "kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns in sysctl, "
    "or run remainroot as root of a container)"
)


def _everything_is_mapped() -> bool:
    try:
        with open("/proc/self/uid_map", "rb") as file:
            return file.read().split() == [b"0", b"0", b"4294967295"]
    except OSError as error:
        raise RemainrootError(
            f"cannot read /proc/self/uid_map: {error.strerror}; remainroot needs /proc mounted"
        ) from None


def _write(path: str, text: str) -> None:
    with open(path, "wb", buffering=0) as file:
        file.write(text.encode())


# ---------------------------------------------------------------- descriptors


def occupy_standard_fds() -> None:
    """Open what is closed of 0, 1 and 2, until exec: nothing of ours may come to stand there."""
    while (fd := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) < _STANDARD_FDS:
        pass
    os.close(fd)


def inherited_fds() -> list[int]:
    """The descriptors that are the caller's and CMD's; ours are all close-on-exec."""
    fds = []
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        try:
            if fd < _STANDARD_FDS or os.get_inheritable(fd):
                fds.append(fd)
        except OSError:  # the directory's own
            continue
    return fds


def _silence(*fds: int) -> None:
    """Let the standard descriptors `fds` lead nowhere."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in fds:
        os.dup2(null, fd, inheritable=False)
    os.close(null)


# ---------------------------------------------------------------- CMD


def become(command: list[str], mask: Iterable[int]) -> NoReturn:
    """Turn this process into `command`, with the caller's signal `mask`; or end it, 126 or 127."""
    status = EXIT_NOT_EXECUTABLE
    try:
        # Python ignores these two from its start; what the caller had is not known any more.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        reason = os.strerror(_execute(command))
    except OSError as error:
        if error.errno == errno.ENOENT:
            status = EXIT_NOT_FOUND
        reason = "command not found" if status == EXIT_NOT_FOUND else str(error.strerror)
    except BaseException as error:  # noqa: BLE001  # nothing may return from here into the supervisor's code
        reason = f"{type(error).__name__}: {error}"
    _complain(f"{command[0]}: {reason}")
    os._exit(status)


def _execute(command: list[str]) -> int:
    """execvp(3): an errno, or OSError(ENOENT) if there is no such file, if it returns at all.

    As there, a file without an interpreter line is a script for /bin/sh; but only one that looks like text.
    """
    name = command[0]
    if "/" in name:
        return _execute_file(name, command)
    failure = 0
    for directory in os.environ.get("PATH", os.defpath).split(":"):
        try:
            return _execute_file(f"{directory}/{name}" if directory else name, command)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError:
            failure = errno.EACCES
    if failure:
        return failure
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _execute_file(path: str, command: list[str]) -> int:
    try:
        os.execve(path, command, os.environ)  # noqa: S606
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
    with open(path, "rb") as file:
        head = file.read(256)
    if head and b"\0" not in head:
        os.execve("/bin/sh", ["sh", path, *command[1:]], os.environ)  # noqa: S606
    return errno.ENOEXEC


def _complain(text: str) -> None:
    os.write(2, f"remainroot: {text}\n".encode(errors="surrogateescape"))


# ---------------------------------------------------------------- the supervisor's process


class _Caller:
    """The supervisor's end of what ties it to front: tells it of CMD, stops and continues it as CMD does."""

    __slots__ = ("front", "inherited", "keep_stderr", "sender")

    def __init__(self, front: int, sender: int, inherited: list[int], *, keep_stderr: bool) -> None:
        self.front = front
        self.sender = sender
        self.inherited = inherited
        self.keep_stderr = keep_stderr

    def started(self, pid: int) -> None:
        """CMD runs as `pid`: let go of all that is the caller's, but for standard error while CMD lasts."""
        self._tell(f"pid {pid}")
        os.setsid()
        _silence(0, 1)
        for fd in self.inherited:
            if fd >= _STANDARD_FDS:
                os.close(fd)
        os.chdir("/")
        _lift_limits()

    def stopped(self, signo: int) -> None:
        """CMD was stopped by `signo`."""
        del signo  # front must not be able to miss it, as it could SIGTSTP
        self._signal(signal.SIGSTOP)

    def continued(self) -> None:
        """CMD goes on after a stop."""
        self._signal(signal.SIGCONT)

    def ended(self, status: int) -> None:
        """CMD ended with this wait status."""
        self._tell(f"ended {status}")
        self._signal(signal.SIGCONT)
        if not self.keep_stderr:
            _silence(2)

    def failed(self, status: int, text: str) -> None:
        """Nothing can be done for CMD any more."""
        self._tell(f"error {status} {' '.join(text.split())}")

    def _tell(self, message: str) -> None:
        try:
            os.write(self.sender, message.encode(errors="surrogateescape") + b"\n")
        except BrokenPipeError:  # front was killed
            pass

    def _signal(self, signo: int) -> None:
        try:
            signal.pidfd_send_signal(self.front, signo)
        except ProcessLookupError:
            pass


def _supervisor(settings: Settings, command: list[str], mask: Iterable[int], caller: _Caller) -> NoReturn:
    """Life of the supervisor's process: to the end of the last task."""
    status = EXIT_OURS
    try:
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        supervise(settings, caller, lambda: become(command, mask), caller.started)
        status = 0
    except RemainrootError as error:
        caller.failed(error.status, str(error))
    except BaseException as error:  # whatever it was, the user hears of it, and from one place
        if settings.log is not None:
            settings.log.exception("supervisor failed")
        caller.failed(EXIT_OURS, f"internal error: {type(error).__name__}: {error}{_where(error)}")
    finally:
        os._exit(status)


def _lift_limits() -> None:
    """Raise our soft limits to the hard ones: the caller set them for CMD."""
    import resource

    for limit in (
        resource.RLIMIT_NOFILE,
        resource.RLIMIT_FSIZE,
        resource.RLIMIT_CPU,
        resource.RLIMIT_AS,
        resource.RLIMIT_DATA,
    ):
        hard = resource.getrlimit(limit)[1]
        resource.setrlimit(limit, (hard, hard))


def _where(error: BaseException) -> str:
    """The place an exception was raised, in words."""
    trace = error.__traceback__
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f" (in {trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno})"


# ---------------------------------------------------------------- front


class _Front:
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
    )

    def __init__(self, supervisor: int, receiver: int, *, linger: bool) -> None:
        self.supervisor = supervisor
        self.receiver = receiver
        self.linger = linger
        """Wait for the supervisor's end, too."""
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
            info = signal.sigwaitinfo(_EVERY)
            self.receive()
            signo = info.si_signo
            if signo == signal.SIGCHLD:
                self.reap()
            elif self.status >= 0:
                if signo not in _HARMLESS:
                    leave(self.status)
            elif self.is_for_command(signo, info.si_code, info.si_pid):
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
                _complain(text)
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
                _complain(f"the supervisor {reason} while CMD was running; CMD is on its own, unsupervised")
                os._exit(EXIT_OURS)

    # -- signals

    def is_for_command(self, signo: int, code: int, sender: int) -> bool:
        """Whether CMD has not got this signal yet: `code` says how it was sent, `sender` by whom."""
        if code <= 0:  # by a process
            if self.is_ours(sender):
                return False
            # A shell continues the whole group, CMD with it.
            return signo != signal.SIGCONT or self.command < 0 or _process(self.command_pid)[0] in "Tt"
        if code != _SI_KERNEL:
            return False  # our own pipe
        # A hang-up of the terminal is told to the session's leader alone, and that would be CMD if we were
        # not here. While CMD is not known it may have been forked after the terminal's signal, or it has the
        # signal pending: twice is once then.
        return signo not in _FROM_TERMINAL or self.command < 0 or (self.leader and signo == signal.SIGHUP)

    def is_ours(self, pid: int) -> bool:
        """Whether `pid` is the supervisor or of CMD's tree, all of which descends from it."""
        while pid > 1:
            if pid == self.supervisor:
                return True
            pid = _process(pid)[1]
        return False

    def forward(self, signo: int) -> None:
        """Send CMD `signo`, once CMD is known."""
        if self.command < 0:
            self.early.append(signo)
            return
        try:
            signal.pidfd_send_signal(self.command, signo)
        except ProcessLookupError:  # it has ended; the supervisor will say so
            pass


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
