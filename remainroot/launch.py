# SPDX-License-Identifier: GPL-2.0-or-later
"""Three processes that look like one command: exit status, signals, terminal, descriptors.

- front: the process the caller started. Stands for CMD towards the caller, and waits.
- supervisor: front's child. Answers the calls of the tree, in a session of its own where no terminal signals
  it.
- CMD: the supervisor's child, with the caller's session, process group, descriptors, signal mask and so on.

CMD is the supervisor's child because only an ancestor may look into a task where ptrace is restricted. Front
is apart from the supervisor because the caller wants CMD's end at once, while a daemon that CMD left behind
needs answers for longer.

The supervisor stops front when CMD stops and continues it when CMD goes on, so that the caller's shell sees
both. Nobody can catch SIGKILL or SIGSTOP: such a signal to front leaves CMD running, supervised as before.
"""

from __future__ import annotations

import errno
import fcntl
import os

from remainroot import kernel
from remainroot.errors import EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, EXIT_OURS, RemainrootError
from remainroot.front import EVERY_SIGNAL, MESSAGE, Front, complain
from remainroot.supervisor import joined, prepare, supervise

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Final, NoReturn

    from remainroot.engines.base import Watcher
    from remainroot.settings import Settings

    Signals = tuple[set[int | signal.Signals], bool]
    """The signal mask, and whether SIGCHLD was ignored (then children vanish unwaited)."""
else:
    import _signal as signal  # what the module of that name wraps, without its 8 ms of enum

_STANDARD_FDS: Final = 3

_CLONE_NEWUSER: Final = 0x1000_0000


class Place:
    """Where CMD runs and who serves it; this one is here, under the shim. Others are made in remainroot.containers."""

    joins = True
    """Inside another remainroot there is nothing to do but to run CMD."""
    lingers = False
    """Front ends only when the supervisor does: nothing of this place outlives CMD."""

    def enter(self, settings: Settings, *, anyway: bool) -> None:
        """See to it that this process, front, has the user namespace that CMD is to have."""
        enter_namespace(settings, anyway=anyway)

    def serve(
        self, settings: Settings, watcher: Watcher, become: Callable[[], NoReturn], started: Callable[[int], None]
    ) -> None:
        """In the supervisor's process: start CMD (a child that calls `become`) and serve it, as `supervise` does."""
        supervise(settings, watcher, become, started)

    def execute(self, command: list[str]) -> int:
        """In CMD's process: execvp(3). An errno, or OSError(ENOENT) if there is no such program, if it returns."""
        return _execute(command)


def launch(
    settings: Settings, command: list[str], *, anyway: bool, keep_stderr: bool, place: Place | None = None
) -> NoReturn:
    """Run `command` as `settings` say, at `place` (here, if None), and end as it ends.

    `anyway` lifts the refusal to run as real root; `keep_stderr` lets the supervisor write to standard error
    after CMD's end, too, which keeps a reader of it waiting for daemons. Raises RemainrootError, with nothing
    started, where it cannot be done.
    """
    place = place or Place()
    before = hold_signals()
    if place.joins and joined():
        # An outer remainroot answers for us: there is nothing to set up, and it answers these three as well.
        if settings.uid or settings.gid:
            _switch_user(settings)
        become(command, before)
    place.enter(settings, anyway=anyway)
    if settings.engine == "kernel":
        _without_supervisor()
        become(command, before)
    check_proc()
    occupy_standard_fds()
    inherited = inherited_fds()
    prepare(settings)
    receiver, sender = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    fcntl.fcntl(receiver, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(receiver, fcntl.F_SETSIG, MESSAGE)
    fcntl.fcntl(receiver, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
    front = os.pidfd_open(os.getpid())
    try:
        pid = os.fork()
    except OSError as error:
        raise RemainrootError(f"cannot start the supervisor: fork: {error.strerror}") from None
    if pid == 0:
        os.close(receiver)
        caller = _Caller(front, sender, inherited, keep_stderr=keep_stderr)
        _supervisor(settings, caller, place, lambda: become(command, before, place.execute))
    os.close(sender)
    os.close(front)
    Front(pid, receiver, linger=settings.stats or place.lingers, survives=not place.lingers).wait()


def _without_supervisor() -> None:
    """Have a filter say that what would fail has succeeded; nobody stays to remember it."""
    from remainroot.engines import kernel_only

    try:
        kernel_only.load()
    except OSError as error:
        raise RemainrootError(
            f"engine kernel does not work here: seccomp refuses a filter ({error.strerror}); "
            "the kernel or the container's profile forbids it"
        ) from None


# ---------------------------------------------------------------- where and who we are


def check_proc() -> None:
    """RemainrootError unless /proc numbers processes as we do: another's numbers would name the wrong tasks' files."""
    try:
        own = int(os.readlink("/proc/self"))
    except (OSError, ValueError) as error:
        raise RemainrootError(f"cannot read /proc/self: {error}; {_NO_PROC}") from None
    if own != os.getpid():
        raise RemainrootError(
            "/proc shows the processes of another pid namespace: mount this one's "
            "(mount -t proc proc /proc, or unshare --mount-proc)"
        )


def _switch_user(settings: Settings) -> None:
    try:
        os.setgroups(settings.groups)
        os.setresgid(settings.gid, settings.gid, settings.gid)
        os.setresuid(settings.uid, settings.uid, settings.uid)
    except OSError as error:
        raise RemainrootError(f"cannot become {settings.uid}:{settings.gid}: {error.strerror}") from None


def enter_namespace(settings: Settings, *, anyway: bool) -> None:
    """See to it that this process is root where one uid and one gid are mapped.

    Root of a user namespace already is. Real root is refused (RemainrootError) unless `anyway`: there is
    nothing to mend for it, and a faked answer could only mislead a real system. Any other user gets a
    namespace with the mapping 0 -> own ids; or, where none can be had, keeps its ids and has them shown as root's
    (settings.whole_identity).
    """
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        if not anyway and _everything_is_mapped():
            raise RemainrootError(
                "refused: this is real root with every id mapped, which needs no faking; "
                "run it as a plain user or inside a rootless container (--anyway insists)"
            )
        return
    settings.outer = (uid, gid)
    try:
        kernel.unshare(_CLONE_NEWUSER)
    except OSError as error:
        if settings.log is not None:
            settings.log.info("no user namespace", reason=error.strerror)
        settings.whole_identity = True
        return
    try:
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"0 {uid} 1")
        _write("/proc/self/gid_map", f"0 {gid} 1")
    except OSError as error:
        raise RemainrootError(
            f"cannot map {uid}:{gid} to root in a user namespace: {error}; {_NO_NAMESPACE}"
        ) from None


_NO_PROC: Final = "remainroot needs /proc mounted"
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
        raise RemainrootError(f"cannot read /proc/self/uid_map: {error.strerror}; {_NO_PROC}") from None


def _write(path: str, text: str) -> None:
    with open(path, "wb", buffering=0) as file:
        file.write(text.encode())


# ---------------------------------------------------------------- signals


def hold_signals() -> Signals:
    """Block every signal and see to it that children can be waited for; return what was before."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, EVERY_SIGNAL)
    ignored = signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN
    if ignored:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return mask, ignored


def release_signals(before: Signals) -> None:
    """Leave the signals to CMD as the caller had them."""
    mask, ignored = before
    if ignored:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # Python ignores these two from its start; what the caller had is not known any more.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


# ---------------------------------------------------------------- descriptors


def occupy_standard_fds() -> None:
    """Open what is closed of 0, 1 and 2, until exec: nothing of ours may come to stand there."""
    while (fd := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) < _STANDARD_FDS:
        pass
    os.close(fd)


def inherited_fds() -> list[int]:
    """The descriptors that are the caller's and CMD's; ours are all close-on-exec."""
    try:
        names = os.listdir("/proc/self/fd")
    except OSError as error:
        raise RemainrootError(f"cannot read /proc/self/fd: {error.strerror}; {_NO_PROC}") from None
    fds = []
    for name in names:
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


def become(
    command: list[str], before: Signals, execute: Callable[[list[str]], int] | None = None
) -> NoReturn:
    """Turn this process into `command`, with the signals as `before`; or end it, 126 or 127."""
    status = EXIT_NOT_EXECUTABLE
    try:
        release_signals(before)
        reason = os.strerror((execute or _execute)(command))
    except OSError as error:
        if error.errno == errno.ENOENT:
            status = EXIT_NOT_FOUND
        reason = "command not found" if status == EXIT_NOT_FOUND else str(error.strerror)
    except BaseException as error:  # noqa: BLE001  # nothing may return from here into the supervisor's code
        reason = f"{type(error).__name__}: {error}"
    complain(f"{command[0]}: {reason}")
    os._exit(status)


def _execute(command: list[str]) -> int:
    """execvp(3): an errno, or OSError(ENOENT) if there is no such file, if it returns at all.

    As there, a file without an interpreter line is a script for /bin/sh; but only one that looks like text.
    """
    name = command[0]
    if not name:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
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
    # An execve is caught, such an open is not, and a PATH leads to many places where there is nothing.
    os.close(os.open(path, os.O_PATH | os.O_CLOEXEC))
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


def _supervisor(settings: Settings, caller: _Caller, place: Place, become: Callable[[], NoReturn]) -> NoReturn:
    """Life of the supervisor's process: to the end of the last task."""
    status = EXIT_OURS
    try:
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        place.serve(settings, caller, become, caller.started)
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
    for limit in (
        kernel.RLIMIT_NOFILE,
        kernel.RLIMIT_FSIZE,
        kernel.RLIMIT_CPU,
        kernel.RLIMIT_AS,
        kernel.RLIMIT_DATA,
    ):
        hard = kernel.prlimit(0, limit)[1]
        kernel.prlimit(0, limit, (hard, hard))


def _where(error: BaseException) -> str:
    """The place an exception was raised, in words."""
    trace = error.__traceback__
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f" (in {trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno})"
