# SPDX-License-Identifier: GPL-2.0-or-later
"""Having a stopped task make calls that we want: to give it a descriptor, or to do what only it can do.

To receive one, the task stands at the entry of a call that is not to run. In its place it makes a socket pair; we
take a duplicate of one end with pidfd_getfd(2) and send the descriptor through it; the task closes that end (the
lower number, so the lowest free one), receives the descriptor (which gets that number, as the call it made
would have given it) and closes the other end. Its registers, its signal mask and the few bytes of stack
that were used are put back. All its signals are blocked meanwhile, so that no handler runs in between.

The memory used lies below the stack pointer and its red zone and is as small as can be (an empty datagram
needs no data and no iovec): Go's stacks, for one, are small and end where another thread's may begin.
"""

from __future__ import annotations

import os
from _socket import SCM_RIGHTS, SOL_SOCKET, socket
from errno import EFAULT, EINVAL, EMFILE, ENOSYS
from struct import Struct, pack

from remainroot.engines import ptracing as pt
from remainroot.kernel import pidfd_getfd, read_memory, write_memory
from remainroot.tasks import thread_group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from remainroot.outcomes import Instead, Replace

# socketpair, recvmsg, close. A task of the x32 ABI may make x86_64's calls as well.
_NUMBERS: Final[dict[int, tuple[int, int, int]]] = {
    pt.X86_64: (53, 47, 3),
    pt.I386: (360, 372, 6),
    pt.AARCH64: (199, 212, 57),
    pt.ARM: (288, 297, 6),
}
_DUP3: Final[dict[int, int]] = {pt.X86_64: 292, pt.I386: 330, pt.AARCH64: 24, pt.ARM: 358}
_WIDE: Final = (pt.X86_64, pt.AARCH64)
_MSGHDR64: Final = Struct("=QIxxxxQQQQixxxx")
_MSGHDR32: Final = Struct("=IIIIIIi")

_RED_ZONE: Final = 128
_CONTROL: Final = 24
"""Room for a control message with one descriptor: 20 bytes, 16 for 32-bit tasks, in whole words."""
_AREA: Final = _CONTROL + 56

_SIGSTOP: Final = 19
_AF_UNIX: Final = 1
_SOCK_DGRAM_CLOEXEC: Final = 0o2000002
_MSG_DONTWAIT: Final = 0x40
_MSG_CMSG_CLOEXEC: Final = 0x4000_0000
_PIDFD_THREAD: Final = os.O_EXCL
_ALL_SIGNALS: Final = (1 << 64) - 1


def filters_of(pid: int) -> int:
    """How many seccomp filters a task has; 0 if it is gone, or before Linux 5.9."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith(b"Seccomp_filters:"):
                    return int(line[16:])
    except OSError:
        pass
    return 0


def is_confined(tid: int, filters: int) -> bool:
    """Whether the task has put itself into a sandbox: has more seccomp filters than ours and the engine's `filters`.

    It may be killed for the calls we would have it make.
    """
    return filters_of(tid) > filters_of(os.getpid()) + filters


class LostError(Exception):
    """The task ended, or its process ran another program, while it was our puppet: its wait status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Puppet:
    """A task at the entry of a call that will not run, which makes the calls we want instead.

    Or, where it has not `entered`, on its way out of one. `wait` returns the next wait status of the task.
    OSError(ESRCH) from any method: the task was killed.
    """

    def __init__(self, tid: int, arch: int, wait: Callable[[int], int], *, entered: bool = True) -> None:
        self.tid = tid
        self.wait = wait
        self.registers = pt.Registers(tid, arch)
        self.saved = self.registers.snapshot()
        self.layout = self.registers.layout
        self.sp = self.saved[self.layout.sp]
        self.mask = pt.signal_mask(tid)
        self.entered = entered
        self.to_stop = False
        self.interrupted = False
        pt.set_signal_mask(tid, _ALL_SIGNALS)

    def call(self, nr: int, *args: int) -> int:
        """The task makes the call `nr`; its result, a negative errno where it fails."""
        registers, layout = self.registers, self.layout
        registers.restore(self.saved)
        for index, value in zip(layout.args, args, strict=False):
            registers[index] = value
        if self.entered:
            # Still inside the call that is not to run: this one takes its place.
            registers.enter_instead(nr)
            self.entered = False
        else:
            registers.make_again(nr)
            registers[layout.ip] = self.start()
        registers.write()
        while True:
            pt.demand(pt.SYSCALL, self.tid, 0, self.signal())
            if self._at_exit(self.wait(self.tid)):
                return pt.exit_value()

    def start(self) -> int:
        """Where the instruction is that makes the call."""
        return self.saved[self.layout.ip] - self.registers.step

    def signal(self) -> int:
        """The signal to go on with. A stop that came in between (`to_stop`) is taken afterwards, or here."""
        return 0

    def _at_exit(self, status: int) -> bool:
        if status & 0xFF != 0x7F:
            raise LostError(status)
        event = status >> 16
        if status == pt.SYSCALL_STOP:
            pt.demand(pt.GET_SYSCALL_INFO, self.tid, pt.INFO_SIZE.value, pt.INFO_ADDRESS)
            return pt.call_info()[0] == pt.OP_EXIT
        if event == pt.EVENT_EXEC:
            raise LostError(status)
        if event == pt.EVENT_STOP:
            self.interrupted = True
        elif event == 0 and status >> 8 == _SIGSTOP:
            self.to_stop = True
        return False

    def make_again(self, nr: int) -> None:
        """Put everything back, but the task makes its call, `nr`, once more. It stays stopped."""
        self.registers.restore(self.saved)
        self.registers.make_again(nr)
        self._leave()

    def release(self, result: int) -> None:
        """Put everything back, with `result` as that of the call that did not run. The task stays stopped."""
        self.registers.restore(self.saved)
        if self.layout.entered is not None:
            self.registers[self.layout.entered] = -1
        self.registers[self.layout.result] = result
        if self.entered:
            self.registers.enter_instead(-1)
        self._leave()

    def _leave(self) -> None:
        self.registers.write()
        pt.set_signal_mask(self.tid, self.mask)
        # A stop that came in between is not lost: the task takes it once it goes on.
        if self.to_stop:
            os.kill(self.tid, _SIGSTOP)
        if self.interrupted:
            pt.demand(pt.INTERRUPT, self.tid)


def _task_fd(tid: int, fd: int) -> int:
    """A duplicate of the task's descriptor."""
    try:
        pidfd = os.pidfd_open(tid, _PIDFD_THREAD)
    except OSError as error:
        if error.errno != EINVAL:
            raise
        # Linux before 6.9: only whole processes, which share their descriptors.
        pidfd = os.pidfd_open(thread_group(tid))
    try:
        return pidfd_getfd(pidfd, fd)
    finally:
        os.close(pidfd)


def _send(through: int, fd: int) -> None:
    channel = socket(fileno=through)
    try:
        channel.sendmsg([], [(SOL_SOCKET, SCM_RIGHTS, pack("i", fd))])
    finally:
        channel.close()


def _receive(puppet: Puppet, arch: int, fd: int, flags: int) -> int:
    """The task receives `fd`; its number, or a negative errno."""
    tid = puppet.tid
    socketpair, recvmsg, close = _NUMBERS[arch]
    wide = arch in _WIDE
    area = (puppet.sp - _RED_ZONE - _AREA) & ~15
    # The first call writes the lowest address, so it is the task that grows its stack where that is needed.
    result = puppet.call(socketpair, _AF_UNIX, _SOCK_DGRAM_CLOEXEC, 0, area)
    if result < 0:
        return result
    ours, theirs = Struct("=ii").unpack(read_memory(tid, area, 8))
    control = area + 56
    try:
        _send(_task_fd(tid, ours), fd)
        if wide:
            write_memory(tid, area, _MSGHDR64.pack(0, 0, 0, 0, control, _CONTROL, 0))
        else:
            write_memory(tid, area, _MSGHDR32.pack(0, 0, 0, 0, control, 16, 0))
    except OSError as error:
        result = -(error.errno or EFAULT)
    puppet.call(close, ours)
    if result == 0:
        result = puppet.call(recvmsg, theirs, area, flags | _MSG_DONTWAIT)
    puppet.call(close, theirs)
    if result < 0:
        return result
    header = 16 if wide else 12
    size, number = Struct("=I").unpack(read_memory(tid, control, 4))[0], read_memory(tid, control + header, 4)
    # A control message that is missing: there was no free descriptor any more.
    return Struct("=i").unpack(number)[0] if size >= header + 4 else -EMFILE


def install_fd(tid: int, arch: int, fd: int, wait: Callable[[int], int], *, cloexec: bool) -> int:
    """Give `tid`, at the entry of a call, a duplicate of `fd` as that call's result.

    Returns its number, or a negative errno; the task is left stopped, past the call. LostError or
    OSError(ESRCH): it is gone.
    """
    flags = _MSG_CMSG_CLOEXEC if cloexec else 0
    return _perform(tid, arch, wait, lambda puppet: _receive(puppet, arch, fd, flags))


def replace_fd(tid: int, arch: int, outcome: Replace, wait: Callable[[int], int]) -> int:
    """As install_fd, of an outcome Replace: the descriptor takes the place of another, and the result is told."""

    def act(puppet: Puppet) -> int:
        received = _receive(puppet, arch, outcome.fd, _MSG_CMSG_CLOEXEC)
        if received >= 0:
            puppet.call(_DUP3[arch], received, outcome.number, os.O_CLOEXEC if outcome.cloexec else 0)
            puppet.call(_NUMBERS[arch][2], received)
        return outcome.value

    return _perform(tid, arch, wait, act)


def make_instead(
    tid: int, arch: int, outcome: Instead, wait: Callable[[int], int], *, entered: bool = True
) -> None:
    """Have `tid` make the call of an outcome Instead; as `Puppet`, and the task is left stopped.

    LostError or OSError(ESRCH): it is gone.
    """
    puppet = Puppet(tid, arch, wait, entered=entered)
    puppet.release(min(puppet.call(outcome.number, *outcome.args), 0) or outcome.value)


def take_back(tid: int, arch: int, numbers: list[int], errno: int, wait: Callable[[int], int]) -> None:
    """Have `tid`, on its way out of a call, close these descriptors; the call fails with `errno`. It is left stopped.

    LostError or OSError(ESRCH): it is gone.
    """
    puppet = Puppet(tid, arch, wait, entered=False)
    for number in numbers:
        puppet.call(_NUMBERS[arch][2], number)
    puppet.release(-errno)


def _perform(tid: int, arch: int, wait: Callable[[int], int], act: Callable[[Puppet], int]) -> int:
    """Have the task do `act` instead of the call it stands at, and leave no trace but the result."""
    if arch not in _NUMBERS:
        return -ENOSYS
    puppet = Puppet(tid, arch, wait)
    if arch not in _WIDE and puppet.sp >> 32:
        # A 64-bit program making a 32-bit call: its stack cannot be named to it.
        puppet.release(-EFAULT)
        return -EFAULT
    bottom = (puppet.sp - _RED_ZONE - _AREA) & ~15
    try:
        memory = read_memory(tid, bottom, _AREA)
    except OSError:
        memory = b""  # not there yet: nothing to keep
    try:
        result = act(puppet)
    except OSError as error:
        result = -(error.errno or EFAULT)
    if memory:
        write_memory(tid, bottom, memory)
    puppet.release(result)
    return result
