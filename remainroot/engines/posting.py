# SPDX-License-Identifier: GPL-2.0-or-later
"""Having a stopped task queue itself a signal, as another would have sent it (`remainroot.outcomes.Post`).

The kernel lets a task say of a signal to itself what it likes (rt_sigqueueinfo(2)), and of nobody else's. The task may
have been stopped anywhere:

- in user mode: it makes the call with an instruction of the vDSO's (vdso(7)), unless it is within a restartable
  sequence, which would have to begin again (rseq(2));
- in a call: that was interrupted, and when all registers are as they were the kernel itself makes it again, or lets it
  fail with EINTR if a handler runs first. Some calls (signal(7): epoll_wait(2), semop(2), sigtimedwait(2)) know nothing
  of being made again and have failed with EINTR already; these are given the result of those that do. If they have a
  timeout, it begins anew.
- at the entry of a call, with the engines that stop it there: it makes that call afterwards.

All signals are blocked until the call has been entered, so that no handler runs before. Then the mask is the task's own
again, for the kernel looks at it to choose the thread that takes the signal.
"""

from __future__ import annotations

import ctypes
import os
from errno import EINTR
from struct import Struct

from remainroot.engines import ptracing as pt
from remainroot.engines.gates import CS, MODES, NoWayError, gate, mode
from remainroot.engines.inject import LostError, Puppet, is_confined
from remainroot.kernel import read_memory, write_memory
from remainroot.outcomes import CONTINUE, DONE, Fail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from signal import pidfd_send_signal
    from typing import Final

    from remainroot.outcomes import Continue, Letter, Post, Return
else:
    from _signal import pidfd_send_signal  # without the module's 8 ms of enum

# rt_sigqueueinfo, rt_tgsigqueueinfo
_NUMBERS: Final[dict[int, tuple[int, int]]] = {pt.X86_64: (129, 297), pt.I386: (178, 335)}
_SIGINFO64: Final = Struct("=iii4xiI24x")
_SIGINFO32: Final = Struct("=iiiiI108x")
_RED_ZONE: Final = 128

_RAX, _ORIG_RAX, _RIP = 10, 15, 16

_ERESTARTNOHAND: Final = 514
"""The result by which the kernel makes a call again unless a handler runs."""
_NOT_AGAIN: Final = {pt.X86_64: (3, 42), pt.I386: (6, 362)}
"""close(2), connect(2): what is made again is not the same."""

_GET_RSEQ: Final = 0x420F
_rseq: Final = ctypes.create_string_buffer(24)
_RSEQ: Final = Struct("=QIIII")
_SEQUENCE: Final = Struct("=IIQQQ")


def _in_sequence(tid: int, ip: int) -> bool:
    """Whether the task, stopped in user mode, is within a restartable sequence."""
    if pt.request(_GET_RSEQ, tid, ctypes.c_long(len(_rseq)), _rseq) < 0:
        return False  # before Linux 5.13
    area = _RSEQ.unpack_from(_rseq)[0]
    if not area:
        return False
    sequence = int.from_bytes(read_memory(tid, area + 8, 8), "little")
    if not sequence:
        return False
    _, _, start, length, _ = _SEQUENCE.unpack(read_memory(tid, sequence, _SEQUENCE.size))
    return bool(start <= ip < start + length)


class _Receiver(Puppet):
    """A task that queues itself a signal. `entered`: it stands at the entry of a call."""

    def __init__(self, tid: int, wait: Callable[[int], int], *, entered: bool) -> None:
        self.arch = mode(tid)
        self.gate = 0 if entered else gate(tid, self.arch)
        super().__init__(tid, self.arch, wait, entered=entered)

    def queue(self, letter: Letter) -> int:
        """0, or a negative errno. LostError, or OSError(ESRCH): the task is gone."""
        wide = self.arch == pt.X86_64
        form = _SIGINFO64 if wide else _SIGINFO32
        numbers = (letter.signo, 0, letter.code, letter.pid, letter.uid)
        place = (self.sp - _RED_ZONE - form.size) & ~15
        kept = read_memory(self.tid, place, form.size)
        write_memory(self.tid, place, form.pack(*numbers))
        process, thread = _NUMBERS[self.arch]
        rest = (0,) * (2 if letter.whole else 1)
        if self.entered:
            pt.set_signal_mask(self.tid, self.mask)
        if letter.whole:
            result = self.call(process, letter.own[0], letter.signo, place, *rest, letter.magic)
        else:
            result = self.call(thread, *letter.own, letter.signo, place, *rest, letter.magic)
        write_memory(self.tid, place, kept)
        return result

    def start(self) -> int:
        """Where the instruction is that makes the call."""
        return self.gate

    def _at_exit(self, status: int) -> bool:
        if super()._at_exit(status):
            return True
        if status == pt.SYSCALL_STOP:  # in the call: nothing is delivered before its end any more
            pt.set_signal_mask(self.tid, self.mask)
        return False

    def go_on(self, *, entering: bool) -> None:
        """Put everything back as it was before; the task stays stopped. `entering`: at the entry of a call."""
        registers, layout = self.registers, self.layout
        assert layout.entered is not None
        registers.restore(self.saved)
        if entering:
            registers.make_again(self.saved[layout.entered])
        registers.write()
        if not entering:
            spare(self.tid)
        pt.set_signal_mask(self.tid, self.mask)
        if self.to_stop:
            os.kill(self.tid, 19)
        # So that it looks for signals on its way out, and at the result of the call that was interrupted.
        pt.demand(pt.INTERRUPT, self.tid)


def spare(tid: int) -> None:
    """The task was interrupted by us: where a call has failed for that alone it is made again, if no handler runs.

    OSError(ESRCH): it is gone.
    """
    if pt.MACHINE == "x86_64" and pt.peek_user(tid, _RAX) == -EINTR:
        not_again = _NOT_AGAIN.get(MODES.get(pt.peek_user(tid, CS), 0))
        number = pt.peek_user(tid, _ORIG_RAX)
        if number >= 0 and not_again is not None and number not in not_again:
            pt.demand(pt.POKEUSER, tid, _RAX * 8, -_ERESTARTNOHAND)


def can_be_made_to(tid: int, filters: int) -> bool:
    """Whether we know how to have it make calls, and none of its own filters may kill it for one."""
    return pt.MACHINE == "x86_64" and not is_confined(tid, filters)


def is_in_state(tid: int, letters: bytes) -> bool:
    """Whether the task is in one of these states (proc_pid_stat(5)).

    One that has ended, is stopped, or in an uninterruptible sleep, will not stop when it is told to.
    """
    try:
        with open(f"/proc/{tid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return False
    return text[text.rindex(b")") + 2 :][:1] in letters


def queue(letter: Letter, wait: Callable[[int], int], *, entering: bool) -> int | None:
    """Have the stopped task of a letter queue itself that signal, and leave no trace; None: it cannot be made to.

    It was interrupted, or (`entering`) stands at the entry of a call. It stays stopped. LostError, or OSError: it is
    gone. `wait`: as of `Puppet`.
    """
    tid = letter.tid
    try:
        if not entering and pt.peek_user(tid, _ORIG_RAX) < 0 and _in_sequence(tid, pt.peek_user(tid, _RIP)):
            return None
        receiver = _Receiver(tid, wait, entered=entering)
    except NoWayError:
        return None
    result: int | None
    try:
        result = receiver.queue(letter)
    except OSError:
        result = None
    receiver.go_on(entering=entering)
    return result


def queue_own(letter: Letter, wait: Callable[[int], int], *, entered: bool) -> None:
    """As `queue`, of the caller itself, at the entry of the call that does not run, or (not `entered`) as it leaves it.

    The call has its result by then.
    """
    puppet: Puppet
    try:
        puppet = receiver = _Receiver(letter.tid, wait, entered=entered)
        result = receiver.queue(letter)
    except (NoWayError, OSError):
        puppet = Puppet(letter.tid, pt.X86_64, wait, entered=entered)
        result = 0
        _send(letter)
    puppet.release(result)


def post(
    tid: int, outcome: Post, own: Callable[[Letter], bool], queued: Callable[[Letter], int | None]
) -> Continue | Return | Fail | None:
    """Have each receiver queue itself its signal; what becomes of the call of `tid` then, None if it has ended.

    `own` is to have `tid` itself do it as its call ends, and says whether it did; `queued` is to have another: 0, a
    negative errno, or None if it cannot be made to.
    """
    result: int | None = 0
    for letter in outcome.letters:
        if letter.tid == tid:
            if own(letter):
                return None
            result = None
        else:
            result = queued(letter)
        if result is None and not outcome.alone:
            _send(letter)
    if outcome.alone and result is None:
        return CONTINUE
    return Fail(-result) if outcome.alone and result else DONE


def _send(letter: Letter) -> None:
    """Send the signal ourselves."""
    try:
        pidfd = os.pidfd_open(letter.tid)
    except OSError:
        return
    try:
        pidfd_send_signal(pidfd, letter.signo)
    except OSError:
        pass
    finally:
        os.close(pidfd)


__all__ = ["LostError", "can_be_made_to", "is_in_state", "post", "queue", "queue_own", "spare"]
