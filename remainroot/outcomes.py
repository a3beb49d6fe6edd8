# SPDX-License-Identifier: GPL-2.0-or-later
"""What may become of a caught call: a closed set, which every engine delivers."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from remainroot.tasks import State

    Have = Callable[..., int]
    """Has a task make a call, by number and arguments: its result, a negative errno where it fails."""


class Continue:
    """The kernel answers: the call runs as the task made it."""

    __slots__ = ()


class Return:
    """The call does not run; it succeeds with `value`."""

    __slots__ = ("value",)

    def __init__(self, value: int = 0) -> None:
        self.value = value


class Fail:
    """The call does not run; it fails with `errno` (a positive number)."""

    __slots__ = ("errno",)

    def __init__(self, errno: int) -> None:
        self.errno = errno


class Judge:
    """Is shown each call of a task that was given a file, as it enters, until it is `over`."""

    over = False

    def enters(self, tid: int, arch: int, nr: int, args: tuple[int, ...]) -> int:
        """The errno that the call is to fail with, without being made; 0: the kernel makes it."""
        raise NotImplementedError

    def child(self) -> Judge:
        """Who is shown the calls of a task that this one's task makes now, and that has the file, too."""
        raise NotImplementedError


class InstallFd:
    """The call does not run; the task gets a duplicate of the supervisor's `fd` and its number as the result.

    The engine closes `fd` afterwards, whatever happened. With a `judge` it has that asked about the calls that the task
    makes next, and the tasks that it makes (`Judge.child`), if it can: not where somebody else traces the task.
    """

    __slots__ = ("cloexec", "fd", "judge")

    def __init__(self, fd: int, *, cloexec: bool, judge: Judge | None = None) -> None:
        self.fd = fd
        self.cloexec = cloexec
        self.judge = judge


class Replace:
    """The call does not run; it succeeds with `value`, and the task's descriptor `number` is now one of our `fd`.

    `cloexec` is the new descriptor's close-on-exec flag. The engine closes `fd` afterwards, whatever happened. Where
    the exchange fails the task keeps its descriptor, and the call succeeds all the same.
    """

    __slots__ = ("cloexec", "fd", "number", "value")

    def __init__(self, number: int, fd: int, *, cloexec: bool, value: int = 0) -> None:
        self.number = number
        self.fd = fd
        self.cloexec = cloexec
        self.value = value


class Instead:
    """The call does not run; the task makes the call `number` with `args` in its place, one that nobody catches.

    If that succeeds the result is `value`, else its errno. The result is `value`, too, where the task cannot be made
    to: somebody inside traces it, or it has seccomp filters of its own, which may kill it for the call.
    """

    __slots__ = ("args", "number", "value")

    def __init__(self, number: int, args: tuple[int, ...], value: int) -> None:
        self.number = number
        self.args = args
        self.value = value


class Exec:
    """The kernel runs this execve; if it succeeds the task is `state` from then on, in every thread that remains.

    The engine then calls `World.executed`, before the new program's first instruction. None: it stays what it is.
    `stack` is the RLIMIT_STACK that the task has had to lend for it (`remainroot.readers`; None: it has not), which
    `World.executed` gives back, and `World.not_executed` if the call fails. `endings`: the engine then has the task end
    its parent-death signal (`remainroot.engines.endings`).
    """

    __slots__ = ("endings", "secure", "stack", "state")

    def __init__(
        self, state: State | None, *, secure: bool, stack: tuple[int, int] | None = None, endings: bool = False
    ) -> None:
        self.endings = endings
        self.state = state
        self.secure = secure
        self.stack = stack


class Lend:
    """The kernel runs this call, and finds in the task's memory what the handler has put there for it.

    When the call is over, before the task goes on, the engine has `World.give_back` put back what was there: `kept`, by
    address. Where it cannot see that it says so by `World.owe`. `waits`: the call may take long; it must not be
    interrupted for that.
    """

    __slots__ = ("kept", "waits")

    def __init__(self, kept: dict[int, bytes], *, waits: bool) -> None:
        self.kept = kept
        self.waits = waits


class Letter:
    """A signal to the task `tid`, and what siginfo is to say of it: its code, its sender's pid and user id.

    `whole`: it is for the process, whose first thread `tid` is. `own`: what the process and the task are called by
    themselves. `magic` is the sixth argument of a call that is ours, by which the filter knows it.
    """

    __slots__ = ("code", "own", "pid", "signo", "tid", "uid", "whole")

    magic = 0x52524F54

    def __init__(
        self, tid: int, signo: int, code: int, pid: int, uid: int, *, own: tuple[int, int], whole: bool
    ) -> None:
        self.tid = tid
        self.signo = signo
        self.code = code
        self.pid = pid
        self.uid = uid
        self.own = own
        self.whole = whole


class Post:
    """The call does not run; whom the `letters` are to, each queues itself its signal, one after the other.

    For nobody else may say who has sent it: rt_sigqueueinfo(2). The result is 0. `alone`: there is one receiver. If
    that cannot be made to (somebody inside traces it, it has seccomp filters of its own, it is stopped, or does not
    wake up) the call runs as it is, and if the signal cannot be queued the result is the errno. Of several, who cannot
    is sent the signal by us. The caller itself, if it is one of them, comes last.
    """

    __slots__ = ("alone", "letters")

    def __init__(self, letters: tuple[Letter, ...], *, alone: bool) -> None:
        self.letters = letters
        self.alone = alone


def _nothing() -> None:
    pass


class Attend:
    """The kernel runs this call (its number is `number`) with another `value` of the argument `index`.

    `first` is the argument 0 of the call as it was made: where the result takes its register it is nowhere else.

    When it has succeeded, before the task goes on, the engine calls `finish` with the result, which may have the task
    make other calls, ones that nobody catches; what that returns is the result. None: the call is to be made again, as
    the task made it. Where it has failed, or was interrupted, the task gets to know nothing of this. It runs as it is
    where that cannot be done: somebody inside traces the task, or it has seccomp filters of its own; then `miss` is
    called before.
    """

    __slots__ = ("finish", "first", "index", "miss", "number", "value")

    def __init__(
        self,
        number: int,
        first: int,
        index: int,
        value: int,
        finish: Callable[[Have, int], int | None],
        miss: Callable[[], None] = _nothing,
    ) -> None:
        self.miss = miss
        self.number = number
        self.first = first
        self.index = index
        self.value = value
        self.finish = finish


class Pair(Attend):
    """As Attend, of a call that makes two descriptors and puts their numbers, two ints, at `address`.

    An engine to which that is cheaper may have `make` make them here, gives them to the task, `cloexec` or not, and
    closes them; the result is 0. Where `make` raises OSError it attends the call.
    """

    __slots__ = ("address", "cloexec", "make")

    def __init__(
        self, attend: Attend, make: Callable[[], tuple[int, int]], address: int, *, cloexec: bool
    ) -> None:
        super().__init__(attend.number, attend.first, attend.index, attend.value, attend.finish, attend.miss)
        self.make = make
        self.address = address
        self.cloexec = cloexec


Outcome = Continue | Return | Fail | InstallFd | Replace | Instead | Exec | Lend | Post | Attend

CONTINUE: Final = Continue()
DONE: Final = Return(0)
