# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls that a signal interrupted while they waited for us: made again, for the kernel never interrupts them.

With seccomp user notification a call waits for the supervisor to take it, and until then a signal can interrupt it.
Where the signal's handler was installed with SA_RESTART (signal(7)), the kernel makes the call again by itself. Where
it was not, the call fails with EINTR: a stat(2), a chown(2), which no program expects. The last moment to mend that
is the return from the handler: the interrupted registers lie on the stack (sigreturn(2)), with EINTR as the call's
result. If the instruction before them is one that made a call we catch, the result is put back to the call's number
and the instruction pointer to the instruction.

The number itself is lost by then; it is read from the code (`remainroot/callsites.py`). Where it cannot be told, EINTR
stays. No signal interrupts the stops of the ptrace engines, and they do not catch the return.
"""

from __future__ import annotations

import os
from errno import EAGAIN, EINTR
from stat import S_ISFIFO

from remainroot import callsites, quick
from remainroot.dispatch import CONTINUE, build_table, handles
from remainroot.handlers.paths import Unresolved, find
from remainroot.kernel import AT_FDCWD, read_string

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call, Outcome

_INTERRUPTIBLE: Final = frozenset(
    (
        "connect", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg", "accept", "accept4", "socketcall", "waitid", "ioctl",
        "semop", "semtimedop", "semtimedop_time64", "msgsnd", "msgrcv", "ipc",
    )
)  # fmt: skip
"""Declared calls that may block by themselves: EINTR can be the kernel's own answer. (fcntl(2) is not caught where it
waits, for a lock.)"""
_OPENS: Final[dict[str, tuple[int | None, int]]] = {"open": (None, 0), "creat": (None, 0), "openat": (0, 1)}
"""Opening a FIFO blocks, too: where the path is, by argument (dirfd, path)."""

_PATIENCE: Final = 1000


class _Frame:
    """Where a signal frame keeps the registers, from the stack pointer that sigreturn is called with.

    `registers` are the offsets of the six argument registers, in order.
    """

    __slots__ = ("ip", "registers", "result", "size", "stack", "word")

    def __init__(self, word: int, result: int, stack: int, ip: int, registers: tuple[int, ...]) -> None:
        self.word = word
        self.result = result
        self.stack = stack
        self.ip = ip
        self.registers = registers
        self.size = max(result, ip, *registers) + word


_FRAMES: Final = {
    # struct ucontext: flags, link, stack, then r8 to r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip
    ("x86_64", "rt_sigreturn"): _Frame(8, 144, 160, 168, (104, 112, 136, 56, 40, 48)),
    # struct sigcontext_32: gs, fs, es, ds, edi, esi, ebp, esp, ebx, edx, ecx, eax, trapno, err, eip;
    # in a frame with siginfo 160 bytes further on
    ("i386", "sigreturn"): _Frame(4, 44, 28, 56, (32, 40, 36, 20, 16, 24)),
    ("i386", "rt_sigreturn"): _Frame(4, 204, 188, 216, (192, 200, 196, 180, 176, 184)),
}


def _results(name: str) -> quick.Quick:
    return quick.end_of_handler(**{abi: frame.result for (abi, call), frame in _FRAMES.items() if call == name})


@handles("rt_sigreturn", quick=_results("rt_sigreturn"), waits=True)
@handles("sigreturn", quick=_results("sigreturn"), waits=True)
def sigreturn(call: Call) -> Outcome:
    """sigreturn(2): back from a signal handler, to where the signal came."""
    frame = _FRAMES.get((call.abi.name, call.name))
    if frame is not None:
        try:
            _mend(call, frame)
        except OSError:
            pass  # gone, or a frame that is none: the kernel will say so
    return CONTINUE


def _stack_pointer(tid: int) -> int:
    """The stack pointer of a task that waits for us; OSError(EAGAIN) if it does not come to rest."""
    for _ in range(_PATIENCE):
        with open(f"/proc/{tid}/syscall", "rb") as file:
            words = file.read().split()
        if len(words) > 2:  # not "running": it is asleep at last
            return int(words[-2], 16)
        os.sched_yield()
    raise OSError(EAGAIN, os.strerror(EAGAIN))


def _mend(call: Call, frame: _Frame) -> None:
    stack = _stack_pointer(call.tid)
    data = call.read(stack, frame.size)

    def register(at: int) -> int:
        return int.from_bytes(data[at : at + frame.word], "little")

    if register(frame.result) != (-EINTR & call.abi.word_mask):
        return
    ip = register(frame.ip)
    number = callsites.number(call.read, ip, register(frame.stack), frame.word)
    row = build_table(strict=call.world.settings.strict)[call.abi.audit_arch].get(number)
    if row is None or row.name in _INTERRUPTIBLE:
        return
    args = tuple(register(at) for at in frame.registers)
    if not row.passes(args) or (row.name in _OPENS and _opens_fifo(call, row.name, args)):
        return
    call.write(stack + frame.result, row.nr.to_bytes(frame.word, "little"))
    call.write(stack + frame.ip, (ip - 2).to_bytes(frame.word, "little"))


def _opens_fifo(call: Call, name: str, args: tuple[int, ...]) -> bool:
    dirfd_at, path_at = _OPENS[name]
    dirfd = AT_FDCWD
    if dirfd_at is not None:
        low = args[dirfd_at] & 0xFFFF_FFFF
        dirfd = low - 0x1_0000_0000 if low & 0x8000_0000 else low
    try:
        fd, st = find(call, dirfd, read_string(call.tid, args[path_at]))
    except Unresolved:
        return False
    os.close(fd)
    return S_ISFIFO(st.st_mode)
